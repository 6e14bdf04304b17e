"""A process that feeds targets, with bounds checks, a limit of memory, and a second for each input.

It writes to a shared file which input it is at, so that whoever started it knows that of a process
that was killed, by the timer or by the system. What it found out it prints as JSON.
"""

import json
import resource
import signal
import sys
import traceback
import zlib
from pathlib import Path

import numpy as np

from bitdex.warming import warmup
from tests.fuzz.targets import TARGETS

SECONDS = 1.0  # of computing, for one input; then the process dies of SIGVTALRM
MEMORY = 3 << 29  # bytes beyond what it has when it begins; reading a file asks for 1 << 30 at a time


def limit_memory():
    """Let an allocation fail that is out of proportion to any input."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def feed(target, seed, first, stop, place):
    """Feed inputs to a target; return how many it took and refused, and a checksum of all outcomes."""
    refused, digest = 0, 0
    for number, data in enumerate(target.inputs(seed, first, stop), first):
        place[0] = number
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            outcome = target.outcome(data)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        refused += isinstance(outcome, str) and outcome.endswith("Error")
        digest = zlib.crc32(repr(_plain(outcome)).encode(), digest)
    return {"inputs": stop - first, "refused": refused, "digest": digest}


def _plain(outcome):
    """Return an outcome without NumPy's and Python's own kinds of numbers, which compiling changes."""
    if isinstance(outcome, list | tuple):
        return [_plain(one) for one in outcome]
    return int(outcome) if isinstance(outcome, bool | int | np.integer | np.bool_) else outcome


def main(place, jobs):
    """Do jobs of (target, seed, first, stop); print a line of JSON for each."""
    place = np.memmap(place, np.int64, "r+", shape=(2,))
    warmup()
    targets = [TARGETS[name]() for name, *_ in jobs]
    for target in targets:
        feed(target, 0, 0, 20, place)  # what is imported late is imported before memory is limited
    limit_memory()
    for number, (target, (name, *job)) in enumerate(zip(targets, jobs)):
        place[:] = -1, number
        try:
            print(json.dumps({"target": name, **feed(target, *job, place)}), flush=True)
        except Exception:
            traceback.print_exc()
            sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
