"""How much the long tests do: a short form in `make test`, the long one in `make torture`.

BITDEX_TORTURE=1 asks for the long forms, BITDEX_TORTURE=3/20 for the third of twenty shares of them
(`make torture SHARE=3/20`). A share has seeds and cases of its own; all together are the long forms.
"""

import os

_ASKED = os.environ.get("BITDEX_TORTURE", "") or "0"
TORTURE = _ASKED != "0"
SHARE, SHARES = map(int, _ASKED.split("/")) if "/" in _ASKED else (1, 1)
assert 1 <= SHARE <= SHARES, f"BITDEX_TORTURE: expected 1, or a share like 3/20, found {_ASKED!r}"
FIRST_SEED = int(os.environ.get("BITDEX_SEED", "20260101")) + SHARE - 1


def scale(short, long):
    """Return what the test does in `make test`, or what it does in `make torture`."""
    return long if TORTURE else short


def seeds(count):
    """Return the seeds of this share out of `count`; BITDEX_SEED repeats a failure that named its seed."""
    return range(FIRST_SEED, FIRST_SEED + count, SHARES)


def share(count):
    """Return how many of `count` that follow from one seed are in this share."""
    return -(-count // SHARES)


def portion(cases):
    """Return the cases of a sequence that are in this share."""
    return cases[SHARE - 1 :: SHARES]
