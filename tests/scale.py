"""How much the long tests do: a short form in `make test`, the long one in `make torture`."""

import os

TORTURE = os.environ.get("BITDEX_TORTURE", "") not in ("", "0")
FIRST_SEED = int(os.environ.get("BITDEX_SEED", "20260101"))


def scale(short, long):
    """Return what the test does in `make test`, or what it does in `make torture`."""
    return long if TORTURE else short


def seeds(count):
    """Return `count` seeds; BITDEX_SEED repeats a failure that named its seed."""
    return range(FIRST_SEED, FIRST_SEED + count)
