"""Every kernel does the same compiled, compiled with bounds checks, and as plain Python.

Calls are recorded while random work runs in this process, compiled; then they are repeated, from
the same arguments, in processes of the other two kinds, and compared bit for bit.
"""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitdex import filesystem
from bitdex.kernels import jit
from tests.kernels.recorded import KERNELS, Recorder, differences
from tests.kernels.workloads import work
from tests.scale import scale, seeds

ROOT = Path(__file__).parents[2]
MODES = {"bounds-checked": {"NUMBA_BOUNDSCHECK": "1"}, "plain": {"NUMBA_DISABLE_JIT": "1"}}
BATCHES = seeds(scale(1, 100))  # each `ROUNDS` rounds of work, of which up to `KEPT` calls a kernel are kept
ROUNDS, KEPT, DIRECT = scale((2, 20, 10), (12, 200, 20))
REPEAT = """if True:
    import json, sys
    from pathlib import Path
    from bitdex.warming import warmup
    from tests.kernels.recorded import differences
    warmup()
    json.dump(differences(Path(sys.argv[1])), sys.stdout)
"""


def record(seed, directory):
    """Return the recorder of some rounds of random work."""
    with Recorder(KEPT, seed) as recorder:
        for number in range(ROUNDS):
            below = directory / f"{seed}-{number}"
            below.mkdir()
            work(ROUNDS * seed + number, below, DIRECT)
    return recorder


def repeat(mode, path):
    """Repeat the recorded calls in a process of another mode; return what came out differently."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | MODES[mode]
    command = [sys.executable, "-c", REPEAT, str(path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else [f"exit code {done.returncode}"]


@pytest.mark.timeout(scale(300, 12 * 3600))
def test_compiled_bounds_checked_and_plain_kernels_do_the_same(tmp_path):
    counts = dict.fromkeys(KERNELS, 0)
    for seed in BATCHES:
        recorder, path = record(seed, tmp_path), tmp_path / f"{seed}.calls"
        recorder.save(path)
        with ThreadPoolExecutor(len(MODES)) as pool:
            found = dict(zip(MODES, pool.map(repeat, MODES, [path] * len(MODES))))
        assert found == {mode: [] for mode in MODES}, f"BITDEX_SEED={seed} repeats it"
        path.unlink()
        for name, calls in recorder.calls.items():
            counts[name] += len(calls)
    assert not [name for name, count in counts.items() if count == 0], "not reached by the work"
    print(
        f"\ntorture: {sum(counts.values()):,} calls of {len(counts)} kernels, of each at least "
        f"{min(counts.values()):,}, are the same compiled, bounds-checked and plain"
    )


def test_a_wrong_result_a_wrong_byte_and_an_exception_are_told(tmp_path):
    with Recorder(1, 0) as recorder:
        KERNELS["checksum.crc32c_range"](np.zeros(9, np.uint8), 0, 9, np.uint32(0))
        KERNELS["frames.place_frames"](np.array([0, 3]), 0, np.zeros(2, np.int64))
        KERNELS["csv_rows.find_row_end"](np.zeros(5, np.uint8), 0, 5, np.uint8(44))
    assert differences(saved(recorder, tmp_path)) == []
    crc, row, placed = (kept[0] for kept in recorder.calls.values() if kept)
    wrong = [replace(crc, result=1), replace(row, given=row.given[:-1]), replace(placed, left=placed.given)]
    recorder.calls = {"all": wrong}
    told = "".join(differences(saved(recorder, tmp_path)))
    for part in ("crc32c_range: returns", "find_row_end: TypeError", "place_frames: argument 2 is"):
        assert told.count(part) == 1


def saved(recorder, directory):
    """Return the file of a recorder's calls."""
    recorder.save(directory / "calls")
    return directory / "calls"


def test_recording_changes_nothing_and_ends():
    plain_call = jit.Kernel.__call__
    with Recorder(1, 0) as recorder:
        for size in range(5):
            KERNELS["checksum.crc32c_range"](np.zeros(9, np.uint8), 0, size, np.uint32(0))
    assert jit.Kernel.__call__ is plain_call
    assert recorder.seen["checksum.crc32c_range"] == 5 and len(recorder.calls["checksum.crc32c_range"]) == 1


def test_what_another_thread_writes_to_a_mapped_file_is_not_taken_for_the_work_of_a_kernel(tmp_path):
    """Merges of two threads were told as different: one wrote its frames while a call of the other's ran."""
    descriptor = filesystem.open_write(tmp_path / "file")
    filesystem.write_at(descriptor, b"before", 0)
    mapped, plain_write = filesystem.map_open(descriptor, 6), filesystem.write_at
    with Recorder(1, 0) as recorder:
        with recorder.turn:
            other = threading.Thread(target=filesystem.write_at, args=(descriptor, b"behind", 0))
            other.start()
            other.join(0.05)
            assert bytes(mapped) == b"before"
        other.join()
        assert bytes(mapped) == b"behind"
    assert filesystem.write_at is plain_write
    filesystem.close(descriptor)
