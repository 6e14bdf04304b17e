"""The documentation: every example runs as it is shown, every key of a configuration is explained.

Fenced blocks run from top to bottom in one namespace and an empty directory. ``python`` blocks are
doctests where they have prompts, else plain code; a ``console`` block holds commands and what they
print; a ``yaml`` or ``csv`` block that begins with ``# name`` is that file.
"""

import contextlib
import doctest
import io
import re
import runpy
import shlex
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest

import bitdex
from bitdex import cli, schema_yaml
from bitdex.dump import phases

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [one.name for one in walk_packages(bitdex.__path__, "bitdex.")]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_python(text: str, namespace: dict[str, Any], where: str) -> None:
    if ">>>" not in text:
        exec(compile(text, where, "exec"), namespace)
        return
    test = doctest.DocTestParser().get_doctest(text, {}, where, where, 0)
    test.globs = namespace
    said = io.StringIO()
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.write, clear_globs=False)
    assert not said.getvalue(), said.getvalue()


def run_console(text: str) -> None:
    for command, shown in re.findall(r"^\$ bitdex (.*)\n((?:(?!\$ ).*\n)*)", text, re.M):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as exit:
            cli.main(shlex.split(command))
        assert not exit.value.code, command
        assert doctest.OutputChecker().check_output(shown, said.getvalue(), FLAGS), (command, said.getvalue())


def write_file(text: str) -> None:
    name = re.match(r"# (\S+\.\w+)\n", text)
    if name:
        Path(name[1]).write_text(text[name.end() :])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_run_as_shown(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    namespace: dict[str, Any] = {}
    for language, text in FENCE.findall(page.read_text()):
        if language == "python":
            run_python(text, namespace, page.name)
        elif language == "console":
            run_console(text)
        elif language in ("yaml", "csv"):
            write_file(text)
    for value in namespace.values():
        if isinstance(value, bitdex.Index):
            value.close()
    namespace.clear()  # Numba keeps what it has compiled, and that its globals


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_can_be_found() -> None:
    linked = {(page.parent / link).resolve() for page in PAGES for link in LINK.findall(page.read_text())}
    assert [page.name for page in PAGES[2:] if page not in linked] == []


def explained(page: str, keys: Any) -> list[str]:
    """Return the keys that no table of a page has in its first column."""
    text = (ROOT / "docs" / page).read_text()
    rows = " ".join(line.split("|")[1] for line in text.splitlines() if line.startswith("|"))
    return [key for key in keys if f"`{key}`" not in rows]


def test_every_key_of_a_schema_is_explained() -> None:
    keys = {
        *schema_yaml.ROOT_KEYS,
        *schema_yaml.DATA_KEYS,
        *schema_yaml.CONFIG_KEYS,
        *schema_yaml.MAPPING_KEYS,
    }
    keys |= {
        *schema_yaml.FILTER_KEYS,
        *schema_yaml.SORT_KEYS,
        *schema_yaml.BUCKETS_KEYS,
        *schema_yaml.BUCKET_KEYS,
    }
    assert explained("schema.md", sorted(keys)) == []


def test_every_kind_and_source_type_is_explained() -> None:
    assert (
        explained("schema.md", [*schema_yaml.KINDS, *schema_yaml.SOURCE_BITS, *schema_yaml.FILTERED_KINDS])
        == []
    )


def test_every_key_of_a_phase_is_explained() -> None:
    assert explained("dumps.md", {*phases.PHASE_KEYS, *phases.LOOKUP_KEYS, *phases.FOREIGN_TOP}) == []


def test_tasks_that_are_named_exist() -> None:
    tasks = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {
        a or b
        for page in PAGES
        for a, b in re.findall(r"^ {4}make ([a-z-]+)|`make ([a-z-]+)`", page.read_text(), re.M)
    }
    assert named - tasks == set()
    assert {"test", "demo"} <= named


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_run(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(import_module(module), module):
        runner.run(test, out=said.write)
    assert not said.getvalue(), said.getvalue()


def test_the_demo_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["demo.py", "--rows", "3000"])
    runpy.run_path(str(ROOT / "examples" / "demo.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert "3,000" in shown
    assert "bitdex query demo-index" in shown


def test_the_demo_replaces_its_own_tables_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = runpy.run_path(str(ROOT / "examples" / "demo.py"))
    table = tmp_path / "tags.csv"
    table.write_text("mine")
    monkeypatch.setattr(sys, "argv", ["demo.py", "--data", str(tmp_path), "--index", str(tmp_path / "index")])
    with pytest.raises(SystemExit, match=r"tags\.csv is not a table of this demo; choose another --data"):
        demo["main"]()
    assert table.read_text() == "mine" and not (tmp_path / "index").exists()
    for _ in range(2):
        demo["check_tables"](tmp_path / "other")
        demo["make_tables"](tmp_path / "other", 10)


def test_the_demo_replaces_its_own_index_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It removed whatever directory it was given."""
    monkeypatch.chdir(tmp_path)
    demo = runpy.run_path(str(ROOT / "examples" / "demo.py"))
    mine, theirs, photos = (tmp_path / name for name in ("mine", "theirs", "photos"))
    photos.mkdir()
    (photos / "one.jpg").write_text("one")
    bitdex.create(theirs, {"name": "theirs"}).close()
    for target in (photos, theirs):
        monkeypatch.setattr(sys, "argv", ["demo.py", "--index", str(target)])
        with pytest.raises(SystemExit, match="choose another --index"):
            demo["main"]()
    assert (photos / "one.jpg").read_text() == "one" and capsys.readouterr().out == ""
    with bitdex.open(theirs, "r") as index:
        assert index.schema.name == "theirs"
    made_here = demo["made_here"]
    assert not made_here(mine) and not made_here(tmp_path / "demo-index")
    with bitdex.create(mine, {"name": demo["NAME"]}) as index:
        with pytest.raises(SystemExit, match=r"has it open for writing.*choose another"):
            made_here(mine)
        index.put({"id": 1}), index.count(), index.compact()
    assert made_here(mine)
    (mine / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit, match=r"notes\.txt, not the index of this demo"):
        made_here(mine)


def test_the_live_example_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It removed "live-index" in the current directory, whatever that was."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "live-index").mkdir()
    (tmp_path / "live-index" / "one.jpg").write_text("one")
    live = runpy.run_path(str(ROOT / "examples" / "live.py"))
    monkeypatch.setitem(live["show"].__globals__, "feed", lambda index, seconds: live["feed"](index, 0.2))
    live["main"]()
    assert [path.name for path in tmp_path.rglob("*")] == ["live-index", "one.jpg"]
