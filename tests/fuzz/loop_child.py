"""A process that runs the loop of one format, and dies of a timer where inputs take too long."""

import json
import signal
import sys

import numpy as np

from tests.fuzz.loops import LOOPS, Loop

SLICE = 10_000  # inputs between two settings of the timer
SECONDS = 2.0  # of computing, for a slice that takes a tenth of that at most; without a compiler for an input


def main(place, name, seed, count):
    """Run a loop; print how many of the inputs were taken."""
    place, loop = np.memmap(place, np.int64, "r+", shape=(1,)), Loop(*LOOPS[name])
    taken, step = loop.run(seed, 0, 1, place), SLICE if loop.compiled else 1
    for first in range(1, count, step):
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        taken += loop.run(seed, first, min(first + step, count), place)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    print(json.dumps(taken))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
