"""The notebooks of ``examples/``: executed, and stored with what they show.

``python -m tests.notebooks`` (``make notebooks``) executes all of them, at their full size, and stores
their outputs, for people who read them where nothing is executed. A notebook keeps the digest of the sources
that its outputs are of. Nothing of the machine is stored: neither paths nor moments, and a cell that warns is
refused.

A cell with the tag ``varies`` shows times, or where bytes lie, which threads decide: it is executed, but what
it shows is not compared.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
SIZE = "BITDEX_IMAGES"  # how many images million_images.ipynb generates
SECONDS = 280  # for one notebook; within the timeout of a test

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00|Z)")
DURATION = re.compile(r"\b\d+(?:\.\d+)? (?:us|µs|ms|s|min)\b")
OWN = re.compile(re.escape(tempfile.gettempdir()) + r"/tmp[a-z0-9_]{8}/")  # the directory a notebook works in
PLACE = re.compile(r"/(?:tmp|home|root|Users|var|work|private)/\S*")
EXPECTED = ("bitdex: compiling kernels", "Matplotlib is building the font cache")  # on a new machine

EXECUTE = """
import nbformat, sys
from nbclient import NotebookClient
source, target, seconds = sys.argv[1:]
notebook = nbformat.read(source, 4)
folder = {"metadata": {"path": str(__import__("pathlib").Path(source).parent)}}
NotebookClient(notebook, timeout=int(seconds), record_timing=False, resources=folder).execute()
nbformat.write(notebook, target)
"""


def read(path: Path) -> Any:
    import nbformat

    return nbformat.read(path, 4)


def execute(path: Path, **environment: str) -> Any:
    """Return a notebook as it is after all of its cells have run in a fresh kernel, in its own folder."""
    with tempfile.TemporaryDirectory() as place:
        target = Path(place) / path.name
        known = os.environ | {"PYTHONPATH": str(ROOT), "MPLCONFIGDIR": place, "MPLBACKEND": ""} | environment
        known.pop("MPLBACKEND")
        command = [sys.executable, "-c", EXECUTE, str(path), str(target), str(SECONDS)]
        done = subprocess.run(command, env=known, capture_output=True, text=True)
        assert not done.returncode, done.stderr[-6000:]
        notebook = read(target)
    for cell in code_cells(notebook):
        cell["outputs"] = [_without_notices(output) for output in cell["outputs"]]
        cell["outputs"] = [_without_moments(output) for output in cell["outputs"] if output]
        cell["outputs"] = [_without_place(output) for output in cell["outputs"]]
    return notebook


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def varies(cell: Any) -> bool:
    return "varies" in cell["metadata"].get("tags", ())


def digest(notebook: Any) -> str:
    """Return what the outputs of a notebook follow from."""
    sources = "\0".join(cell["source"] for cell in code_cells(notebook))
    return hashlib.sha256(sources.encode()).hexdigest()[:16]


def kinds(cell: Any) -> list[list[str]]:
    """Return of each output of a cell what it is: a stream, or the forms it comes in."""
    return [sorted(output.get("data", {output.get("name", ""): ""})) for output in cell["outputs"]]


def shown(cell: Any) -> str:
    """Return the text of all outputs of a cell, without durations."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell["outputs"]]
    return DURATION.sub("...", "\n".join(texts))


def everything(cell: Any) -> str:
    """Return all that is stored of the outputs of a cell, but for pictures."""
    forms = [output.get("data", {"text": output.get("text", "")}) for output in cell["outputs"]]
    return "\n".join(str(form[name]) for form in forms for name in form if not name.startswith("image/"))


def problems(notebook: Any) -> list[str]:
    """Return what must not be stored: errors, warnings, paths and moments of the machine."""
    found = []
    for cell in code_cells(notebook):
        for output in cell["outputs"]:
            if output["output_type"] == "error" or output.get("name") == "stderr":
                found.append(f"{cell['id']}: {output.get('text') or output.get('evalue')}")
        found += [f"{cell['id']}: {one}" for one in PLACE.findall(everything(cell))]
        found += [f"{cell['id']}: {one}" for one in MOMENT.findall(everything(cell))]
    return found


def store(path: Path) -> None:
    """Execute a notebook and store its outputs in it."""
    import nbformat

    notebook = execute(path)
    found = problems(notebook)
    assert not found, f"{path.name}: {found}"
    notebook["metadata"] = {
        "bitdex": {"sources": digest(notebook)},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    path.write_text(nbformat.writes(notebook) + "\n")


def _without_place(value: Any) -> Any:
    """Return an output in which files of the directory that the notebook works in have their names alone."""
    if isinstance(value, dict):
        for name in value:
            value[name] = _without_place(value[name])
    elif isinstance(value, list):
        value[:] = map(_without_place, value)
    return OWN.sub("", value) if isinstance(value, str) else value


def _without_notices(output: Any) -> Any:
    """Return an output without the lines that a new machine adds; None if nothing is left."""
    if output.get("name") != "stderr":
        return output
    lines = [line for line in output["text"].splitlines() if line and not line.startswith(EXPECTED)]
    return output | {"text": "\n".join(lines)} if lines else None


def _without_moments(output: Any) -> Any:
    for form in ("text/plain", "text/html"):
        if form in output.get("data", {}):
            output["data"][form] = MOMENT.sub("…", output["data"][form])
    return output


if __name__ == "__main__":
    for one in NOTEBOOKS:
        if len(sys.argv) == 1 or one.stem in sys.argv[1:]:
            clock = time.perf_counter()
            store(one)
            print(f"{one.name}: {time.perf_counter() - clock:.0f} s", flush=True)
