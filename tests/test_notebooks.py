"""Notebooks: they run, and what is stored of them is what they show."""

from pathlib import Path

import pytest

from tests import notebooks
from tests.notebooks import NOTEBOOKS, ROOT, SIZE
from tests.test_docs import LINK

SMALL = {"million_images": "100000"}  # images here; `make notebooks` takes as many as its name says


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_is_stored(path: Path) -> None:
    images = SMALL.get(path.stem)
    fresh = notebooks.execute(path, **({SIZE: images} if images else {}))
    assert notebooks.problems(fresh) == []
    for cell, stored in zip(notebooks.code_cells(fresh), notebooks.code_cells(notebooks.read(path))):
        assert notebooks.kinds(cell) == notebooks.kinds(stored), cell["source"]
        if not images and not notebooks.varies(cell):
            assert notebooks.shown(cell) == notebooks.shown(stored), cell["source"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_of_these_sources_and_of_no_machine(path: Path) -> None:
    notebook = notebooks.read(path)
    assert notebook["metadata"]["bitdex"]["sources"] == notebooks.digest(notebook), "run `make notebooks`"
    assert notebooks.problems(notebook) == []
    counts = [cell["execution_count"] for cell in notebooks.code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_a_notebook_lead_to_files(path: Path) -> None:
    text = "\n".join(cell["source"] for cell in notebooks.read(path)["cells"])
    links = [link for link in LINK.findall(text) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_readme_names_every_notebook() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [path.name for path in NOTEBOOKS if f"examples/{path.name}" not in readme] == []


def test_what_must_not_be_stored_is_found() -> None:
    def of(**output: object) -> dict:
        cell = {"cell_type": "code", "id": "1", "metadata": {}, "source": "", "outputs": [output]}
        return {"cells": [cell]}

    assert notebooks.problems(of(output_type="stream", name="stdout", text="12 documents")) == []
    for text in ("in /tmp/abc/images", "at 2026-01-02T03:04:05+00:00"):
        assert notebooks.problems(of(output_type="stream", name="stdout", text=text))
        assert notebooks.problems(of(output_type="execute_result", data={"text/html": text}))
    assert notebooks.problems(of(output_type="stream", name="stderr", text="UserWarning: x"))
    assert notebooks.problems(of(output_type="error", evalue="x"))
