"""Ctrl-C: the index stays as it was before the phase, and the program ends at once."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bitdex
from bitdex.dump import text_source
from bitdex.sample import NOW, generate, sample_phases, sample_schema
from tests.index.conftest import Indexes
from tests.index.test_rerun import ALL, FILES, NOON, ROWS, SCHEMA, TAGS, state

LOADER = """
import sys, bitdex
from bitdex.sample import NOW, sample_phases
index = bitdex.open(sys.argv[1], "w", sync="none")
def show(phase, rows, size, total):
    print(phase, rows, flush=True)
index.dump(sample_phases(), source=sys.argv[2], only=["images", "tags"], now=NOW, progress=show)
"""


@pytest.mark.parametrize("phase", [ROWS, TAGS])
def test_interrupt_between_blocks(indexes: Indexes, monkeypatch: pytest.MonkeyPatch, phase: dict) -> None:
    monkeypatch.setattr(text_source, "BLOCK", 10)
    index = indexes.load(SCHEMA, ALL, FILES, NOON)
    before, seen = state(index), []

    def interrupt(name: str, rows: int, size: int, total: int) -> None:
        seen.append((name, rows))
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        index.dump(phase, source=indexes.root / "index-files", now=NOON, progress=interrupt)
    assert len(seen) == 1 and seen[0][1] < 6  # it was in the middle
    assert state(index) == before
    assert state(indexes.reopen(index)) == before


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    generate(tmp_path / "files", 60_000)
    with bitdex.create(tmp_path / "index", sample_schema(), sync="none") as index:
        index.dump(sample_phases(), source=tmp_path / "files", only=["images"], now=NOW)
    return tmp_path


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("phase", ["images", "tags"])
def test_a_program_that_is_stopped(sample: Path, stop: signal.Signals, phase: str) -> None:
    with bitdex.open(sample / "index") as index:
        before = index.get(int(index.ids()[0]))
        count = len(index)
    arguments = [sys.executable, "-c", LOADER, str(sample / "index"), str(sample / "files")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith(phase):
            assert process.poll() is None, process.stderr
        clock = time.monotonic()
        process.send_signal(stop)
        process.communicate(timeout=60)
        assert time.monotonic() - clock < 10
    assert process.returncode != 0
    with bitdex.open(sample / "index", "w", sync="none") as index:
        assert len(index) == count
        assert index.get(before["id"]) == before
        assert [run.name for run in index.phases] == ["images"]
        assert index.check().empty
        index.dump(sample_phases(), source=sample / "files", only=["images", "tags"], now=NOW)
        assert len(index) == count and [run.name for run in index.phases] == ["images", "tags"]
