"""Ledger: entries in a silo such that one read of all its keys tells which committed state it has seen.

Step s of a book is one batch::

    3n - 2   put n under every key of one group
    3n - 1   merge n, in 8 bytes, into every key of another; each 100th time put it, so that they begin anew
    3n       put n under every key of a third, or delete them all where n is even

A book is written by one thread, batch by batch, or by a merge writer with three steps in a commit.
"""

import random

import numpy as np

KEYS = 5  # of a group
WIDE = 5_000  # keys read at once, so that several threads take part
RENEWED = 100
OTHERS = np.arange(WIDE, dtype=np.uint64)  # keys that nobody writes


class Book:
    """Three groups of keys, and what they hold after each step."""

    def __init__(self, name):
        draw = random.Random(name)
        self.keys = np.array([draw.getrandbits(64) for _ in range(3 * KEYS)], np.uint64)
        self.groups = self.keys.reshape(3, KEYS)

    def write(self, target, step):
        """Write one step into a silo or a merge writer."""
        number, kind = divmod(step + 2, 3)
        keys, values = self.groups[kind], [_packed(number)] * KEYS
        if kind == 2 and number % 2 == 0:
            target.delete_many(keys)
        elif kind == 1 and number % RENEWED:
            target.merge_many(keys, values)
        else:
            target.put_many(keys, values)

    def step_of(self, values):
        """Return the step that these values of all keys show, or complain."""
        groups = [set(values[i : i + KEYS]) for i in range(0, 3 * KEYS, KEYS)]
        assert all(len(group) == 1 for group in groups), f"half a batch: {groups}"
        shown = tuple(group.pop() for group in groups)
        number = 0 if shown[0] is None else _unpacked(shown[0])[0]
        candidates = [
            step for step in range(max(0, 3 * number - 2), 3 * number + 1) if state_at(step) == shown
        ]
        assert candidates, f"no state of the book: {[value and _unpacked(value) for value in shown]}"
        return candidates[0]


def state_at(step):
    """Return what a key of each group holds after a step."""
    put, merged, toggled = (step + 2) // 3, (step + 1) // 3, step // 3
    first = max(1, merged - merged % RENEWED)
    return (
        _packed(put) if put else None,
        b"".join(map(_packed, range(first, merged + 1))) if merged else None,
        _packed(toggled) if toggled % 2 else None,
    )


def _packed(number):
    return number.to_bytes(8, "little")


def _unpacked(value):
    return [int.from_bytes(value[i : i + 8], "little") for i in range(0, len(value), 8)]


BOOKS = {name: Book(name) for name in ("log", "phase")}
ALL = np.concatenate([book.keys for book in BOOKS.values()])


class Reading:
    """The steps of both books that one reader has seen last; they never go back."""

    def __init__(self):
        self.steps = dict.fromkeys(BOOKS, 0)

    def look(self, source, draw, least):
        """Read all keys at once, in any order; the steps are not below `least` nor below the last ones."""
        order = draw.sample(range(len(ALL)), len(ALL))
        keys = np.concatenate((ALL[order], OTHERS)) if draw.random() < 0.2 else ALL[order]
        found = source.get_many(keys)
        values = {int(key): found[i] for i, key in enumerate(ALL[order].tolist())}
        seen = {
            name: book.step_of([values[key] for key in book.keys.tolist()]) for name, book in BOOKS.items()
        }
        for name in BOOKS:
            assert seen[name] >= least[name], f"{name}: {seen[name]}, when {least[name]} was acknowledged"
            assert seen[name] >= self.steps[name], f"{name}: {seen[name]} after {self.steps[name]}"
        self.steps = seen
        return seen


class Writing:
    """What a writing and a compacting thread do; `acknowledged` holds the steps that others rely on."""

    def __init__(self, silo, acknowledged):
        self.silo, self.acknowledged = silo, acknowledged

    def write(self, draw):
        """Write one step of the log's book."""
        step = self.acknowledged["log"] + 1
        BOOKS["log"].write(self.silo, step)
        self.acknowledged["log"] = step

    def maintain(self, draw):
        """Compact, rewrite, or write three steps of the other book with a merge writer."""
        kind = draw.choice(["compact", "rewrite", "phase", "phase"])
        if kind != "phase":
            getattr(self.silo, kind)()
            return
        first = self.acknowledged["phase"] + 1
        with self.silo.merge_writer() as writer:
            for step in range(first, first + 3):
                BOOKS["phase"].write(writer, step)
        self.acknowledged["phase"] = first + 2
