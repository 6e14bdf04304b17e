"""Parsers in loops: in `make test` as plain Python, in `make torture` compiled, by the hundred million."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.fuzz.loops import LOOPS, Loop
from tests.fuzz.test_fuzz import MODES, ROOT
from tests.scale import FIRST_SEED, scale, share

MODE, COUNT = scale(("plain", 150), ("bounds-checked", share(100_000_000)))


@pytest.mark.timeout(scale(300, 12 * 3600))
@pytest.mark.parametrize("name", LOOPS)
def test_loop_takes_or_refuses(name, tmp_path):
    taken = run(name, FIRST_SEED, COUNT, tmp_path)
    assert 0 < taken < COUNT
    print(f"\ntorture: {COUNT:,} inputs of {name} in a loop, {taken:,} taken")


def run(name, seed, count, directory, mode=MODE):
    """Run a loop in a process of its own; return how many inputs it took, or fail with the input."""
    place = directory / "place"
    np.zeros(1, np.int64).tofile(place)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(directory)} | MODES[mode]
    command = [sys.executable, "-m", "tests.fuzz.loop_child", str(place), name, str(seed), str(count)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(describe(name, seed, int(np.fromfile(place, np.int64)[0]), done))
    return json.loads(done.stdout)


def describe(name, seed, number, done):
    """Say on which input a loop ended; a hang is one of the 10,000 inputs from there on."""
    data = Loop(*LOOPS[name]).input(seed, number).tobytes().hex()
    said = "a hang" if done.returncode == -signal.SIGVTALRM else f"exit code {done.returncode}"
    return f"{name}, seed {seed}, input {number}: {said}\n{data}\n{done.stderr[-2000:]}"
