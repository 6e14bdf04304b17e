"""Every parser, fed with mutated bytes: it takes them or refuses them in words, in time, in bounds."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.directory_targets import DIRECTORIES
from tests.fuzz.targets import JITTED, PLAIN, TARGETS
from tests.scale import FIRST_SEED, scale, share

ROOT = Path(__file__).parents[2]
COUNTS = {one.name: scale(100_000, share(1_000_000)) for one in JITTED}  # more in `test_loops`
COUNTS |= {one.name: scale(20_000, share(1_000_000)) for one in PLAIN}
COUNTS |= {one.name: scale(60, share(10_000)) for one in DIRECTORIES}
GROUPS = [list(COUNTS)[first::4] for first in range(4)]
MODES = {"compiled": {}, "bounds-checked": {"NUMBA_BOUNDSCHECK": "1"}, "plain": {"NUMBA_DISABLE_JIT": "1"}}


def fuzz(jobs, directory, mode="bounds-checked"):
    """Do jobs of (target, seed, first, stop) in a process; return what it printed, or fail with the input."""
    place = directory / "place"
    np.zeros(2, np.int64).tofile(place)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(directory)} | MODES[mode]
    command = [sys.executable, "-m", "tests.fuzz.child", str(place), json.dumps(jobs)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(describe(jobs, *np.fromfile(place, np.int64).tolist(), done))
    return [json.loads(line) for line in done.stdout.splitlines()]


def describe(jobs, number, job, done):
    """Say on which input a process ended, and how to get there again."""
    name, seed, *_ = jobs[job]
    how = {-signal.SIGVTALRM: "a hang: more than a second", -signal.SIGSEGV: "an access outside of memory"}
    said = how.get(done.returncode, f"exit code {done.returncode}")
    target = TARGETS[name]()
    data = "none" if number < 0 else next(target.inputs(seed, number, number + 1)).tobytes().hex()
    target.close()
    return f"{name}, seed {seed}, input {number}: {said}\n{data}\n{done.stderr[-2000:]}"


@pytest.mark.timeout(scale(300, 12 * 3600))
@pytest.mark.parametrize("group", range(len(GROUPS)))
def test_parsers_take_or_refuse(group, tmp_path):
    for found in fuzz([(name, FIRST_SEED, 0, COUNTS[name]) for name in GROUPS[group]], tmp_path):
        name, count, refused = found["target"], found["inputs"], found["refused"]
        assert (0 < refused < count) == TARGETS[name].raises
        print(f"\ntorture: {count:,} inputs of {name}" + (f", {refused:,} refused" if refused else ""))


def test_compiled_bounds_checked_and_plain_parsers_agree(tmp_path):
    jobs = [(one.name, FIRST_SEED + 1, 0, scale(300, share(20_000))) for one in JITTED]
    found = [fuzz(jobs, tmp_path, mode) for mode in MODES]
    assert found[0] == found[1] == found[2]
