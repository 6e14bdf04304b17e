"""Histories of benchmarks: results of asv as a DataFrame, and where they change."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from asv_benchmarks.history import COLUMNS, changes, read
from tests.notebooks import ROOT

FIELDS = ["result", "params", "version", "started_at", "duration", "stats_q_25", "stats_q_75"]


def measured(folder: Path, commit: str, date: int, results: dict[str, list[Any]]) -> None:
    """Write a file as asv writes it."""
    told = {
        "commit_hash": commit * 8,
        "env_name": "virtualenv-py3.11",
        "date": date * 1000,
        "params": {"machine": "box", "python": "3.11"},
        "result_columns": FIELDS,
        "results": results,
        "version": 2,
    }
    (folder / "box").mkdir(exist_ok=True)
    (folder / "box" / "machine.json").write_text('{"machine": "box", "version": 1}')
    (folder / "box" / f"{told['commit_hash'][:8]}-virtualenv-py3.11.json").write_text(json.dumps(told))


def once(value: float, low: float, high: float) -> list[Any]:
    return [[value], [], "v1", 0, 1.0, [low], [high]]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    units = {name: {"unit": "seconds"} for name in ("a.time", "b.time")} | {"version": 2}
    (tmp_path / "benchmarks.json").write_text(json.dumps(units | {"m.peakmem": {"unit": "bytes"}}))
    measured(tmp_path, "bb", 200, {"a.time": once(2.0, 1.9, 2.1), "m.peakmem": [[7], [], "v1"]})
    many = [
        [1.0, None, 3.0],
        [["'x'"], ["1", "2", "3"]],
        "v1",
        0,
        1.0,
        [0.5, None, 2.5],
        [1.5, None, 3.5],
    ]
    measured(tmp_path, "aa", 100, {"a.time": once(1.0, 0.9, 1.1), "b.time": many, "c.gone": [None, [], "v1"]})
    measured(tmp_path, "cc", 300, {"a.time": once(2.1, 2.0, 2.2)})
    measured(tmp_path, "dd", 400, {"a.time": once(1.0, 0.2, 2.05)})
    measured(tmp_path, "ee", 500, {"a.time": [[None], [], "v1", 0, 1.0, [None], [None]]})
    measured(tmp_path, "ff", 600, {"a.time": once(0.1, 0.09, 0.11)})
    return tmp_path


def test_a_row_for_each_benchmark_parameters_and_commit(results: Path) -> None:
    history = read(results)
    assert history.columns.tolist() == COLUMNS
    rows = history.set_index(["benchmark", "parameters", "commit"])["value"]
    assert rows["a.time", "", "bbbbbbbb"] == 2.0
    assert rows["m.peakmem", "", "bbbbbbbb"] == 7
    assert rows["b.time", "'x', 3", "aaaaaaaa"] == 3.0
    assert rows.isna().sum() == 3  # one of three parameters, all of c.gone, and a.time at e
    assert len(rows) == 3 + 6 + 1 + 1


def test_rows_are_in_the_order_of_commits_with_units(results: Path) -> None:
    history = read(results).query("benchmark == 'a.time'")
    assert history["commit"].str[0].tolist() == list("abcdef")
    assert history["date"].iloc[0] == pd.Timestamp("1970-01-01 00:01:40", tz="UTC")
    assert set(history["unit"]) == {"seconds"}
    assert set(history["machine"]) == {"box"}


def test_quartiles_are_those_of_their_parameters(results: Path) -> None:
    found = read(results).query("benchmark == 'b.time'").set_index("parameters")[["low", "high"]]
    assert found.loc["'x', 3"].tolist() == [2.5, 3.5]
    assert found.loc["'x', 2"].isna().all()


def test_a_change_is_great_enough_and_apart(results: Path) -> None:
    found = changes(read(results))
    assert found["commit"].str[0].tolist() == ["f", "b"]  # c is 5% slower, d is too uncertain, e failed
    assert found["times"].tolist() == pytest.approx([0.1, 2.0])
    assert found[["before", "after"]].to_numpy().tolist() == [[1.0, 0.1], [1.0, 2.0]]
    assert changes(read(results), least=3.0)["commit"].str[0].tolist() == ["f"]


def test_a_folder_without_results_says_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make bench"):
        read(tmp_path)


def test_the_stored_history_names_its_commits() -> None:
    history = read(ROOT / "examples" / "asv-results")
    commits = pd.read_csv(ROOT / "examples" / "asv-results" / "commits.csv")
    assert set(history["commit"]) == set(commits["commit"])
    assert len(commits) >= 5
    assert history["value"].notna().mean() > 0.5
