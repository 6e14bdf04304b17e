"""Work on a silo that is killed again and again, and what the silo may hold after it.

Each of up to three writers owns some keys, one of which holds the number of its newest put; merges append
also (writer, number) to a journal that all share. A batch that is lost, doubled, torn, or out of order shows.
"""

import random
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path

import numpy as np

from bitdex.kernels.jit import JIT_ENABLED
from bitdex.silo.silo import Silo
from tests.crash.campaign import Victim, traced
from tests.crash.killing import AtLongWrite, Survive

JOURNAL = 1 << 40
ENTRY = struct.Struct("<BI")
POOLS = {
    writer: [writer, (1 << 64) - 1 - writer, *random.Random(writer).sample(range(1 << 50, 1 << 63), 14)]
    for writer in range(3)
}
BATCHES = ["put"] * 4 + ["merge"] * 5 + ["delete"]
UPKEEP = ["compact"] * 3 + ["rewrite", "phase", "phase"]
TOUR = ["put", "compact", "merge", "delete", "compact", "phase", "merge", "phase", "rewrite", "put"]
HUGE = 5 << 20 if JIT_ENABLED else 1 << 12  # bytes: more than the store writes in one call
PART = 2_200_000 if JIT_ENABLED else 1 << 12  # bytes: two of three go into one call


@dataclass(frozen=True)
class Batch:
    """One call of a writer; `phase` is a merge writer with `parts`."""

    kind: str
    keys: tuple = ()
    values: tuple = ()
    parts: tuple = ()

    def write(self, silo):
        """Do it; return its sequence, or 0 where nothing was written."""
        if self.kind in ("compact", "rewrite"):
            getattr(silo, self.kind)()
            return 0
        if self.kind != "phase":
            return self._into(silo)
        with silo.merge_writer() as writer:
            for part in self.parts:
                part._into(writer)
        return writer.sequence

    def _into(self, target):
        keys = np.array(self.keys, np.uint64)
        values = () if self.kind == "delete" else (list(self.values),)
        return getattr(target, f"{self.kind}_many")(keys, *values)

    def apply(self, content):
        """Do to a dict what it does to the silo."""
        for part in self.parts:
            part.apply(content)
        for key, value in zip(self.keys, self.values):
            content[key] = value if self.kind == "put" else content.get(key, b"") + value
        if self.kind == "delete":
            for key in self.keys:
                content.pop(key, None)

    def __str__(self):
        inside = ", ".join(map(str, self.parts)) or len(self.keys) or ""
        return f"{self.kind}({inside})"


class Plan(list):
    """What each writer is to do, as a list of batches."""

    def __str__(self):
        return " | ".join(" ".join(map(str, batches)) for batches in self if batches)


class Drawing:
    """Draws batches of one writer, numbered from `number` on."""

    def __init__(self, draw, writer, number):
        self._draw, self._writer, self._number = draw, writer, number
        self._pool = POOLS[writer]

    def some(self, kinds, length):
        """Return so many batches of these kinds."""
        return self.batches(self._draw.choices(kinds, k=length))

    def batches(self, kinds):
        """Return a batch of each kind."""
        return [self._batch(kind) for kind in kinds]

    def _batch(self, kind):
        self._number += 1
        if kind in ("compact", "rewrite"):
            return Batch(kind)
        if kind == "phase":
            parts = [self._part(self._draw.choice(BATCHES)) for _ in range(self._draw.randint(1, 3))]
            return Batch(kind, parts=(*parts, self._part("merge")))
        return self._part(kind)

    def _part(self, kind):
        keys = self._draw.sample(self._pool[1:], self._draw.randint(1, 12))
        if kind == "delete":
            return Batch(kind, tuple(keys))
        values = [self._draw.randbytes(self._size()) for _ in keys]
        key, value = (self._pool[0], b"%d" % self._number) if kind == "put" else (JOURNAL, self._entry())
        where = self._draw.randint(0, len(keys))
        return Batch(kind, (*keys[:where], key, *keys[where:]), (*values[:where], value, *values[where:]))

    def _entry(self):
        return ENTRY.pack(self._writer, self._number)

    def _size(self):
        sizes = [0, self._draw.randint(1, 60), self._draw.randint(1, 60), self._draw.randint(60, 2000)]
        return HUGE if self._draw.random() < 0.0003 else self._draw.choice(sizes)


class Model:
    """What the silo holds: the keys of each writer, the journal, and how many batches each has written."""

    def __init__(self):
        self.own = [{} for _ in POOLS]
        self.journal = b""
        self.counts = [0 for _ in POOLS]

    def settle(self, found, plans, said):
        """Find the prefix of each writer's plan that the silo holds: all acknowledged, at most one more."""
        journal = found.pop(JOURNAL, b"")
        assert journal.startswith(self.journal), "the journal of earlier batches has changed"
        added = list(ENTRY.iter_unpack(journal[len(self.journal) :]))
        acknowledged = [[int(words[1]) for words in said if words[0] == str(writer)] for writer in range(3)]
        self._check_order(added, acknowledged, plans)
        for writer, plan in enumerate(plans):
            own = {key: found.pop(key) for key in POOLS[writer] if key in found}
            own[JOURNAL] = b"".join(ENTRY.pack(*entry) for entry in added if entry[0] == writer)
            self._settle_writer(writer, plan, own, len(acknowledged[writer]))
        assert not found, f"keys that nobody wrote: {list(found)}"
        self.journal = journal

    def _settle_writer(self, writer, plan, own, acknowledged):
        content = self.own[writer] | {JOURNAL: b""}
        states = [dict(content)]
        for batch in plan:
            batch.apply(content)
            states.append(dict(content))
        equal = [number for number, state in enumerate(states) if state == own]
        wanted = [number for number in equal if number in (acknowledged, acknowledged + 1)]
        assert wanted, (
            f"writer {writer}: {acknowledged} of {len(plan)} batches are acknowledged, the silo holds those "
            f"of prefix {equal or 'that do not exist: ' + _difference(own, states[acknowledged])}"
        )
        del own[JOURNAL]
        self.own[writer] = own
        self.counts[writer] += len(plan)

    def _check_order(self, added, acknowledged, plans):
        """Check that acknowledged merges stand in the journal in the order of their sequences."""
        sequences = {}
        for writer in range(len(plans)):
            numbers = count(self.counts[writer] + 1)
            for number, sequence in zip(numbers, acknowledged[writer]):
                sequences[writer, number] = sequence
        known = [sequences[entry] for entry in added if entry in sequences]
        assert known == sorted(known), f"merged in the order of sequences {known}"


def _difference(found, expected):
    keys = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
    values = [(key, _short(found.get(key)), _short(expected.get(key))) for key in keys[:5]]
    return "; ".join(f"key {key}: {value} for {wanted}" for key, value, wanted in values)


def _short(value):
    return value if value is None or len(value) < 60 else f"{value[:30]!r}... ({len(value)} bytes)"


class KilledSilo(Victim):
    """A silo that one thread writes, or two beside one that compacts, rewrites and merges in place."""

    nothing = Plan([[], [], []])
    lives = 40
    pace = 0.004

    def __init__(self, path, draw, sync, threads=False, **geometry):
        super().__init__(path, sync)
        self.model = Model()
        self._threads = threads
        drawn = {
            "headroom": draw.choice([1.0, 1.25, 2.0, 4.0]),
            "minimum": draw.choice([0, 64]),
            "alignment": draw.choice([8, 16, 32]),
            "reclaim": draw.choice([0.25, 1.0]),  # the latter leaves dead frames for a rebuild to find
        }
        self._geometry = drawn | geometry

    def plan(self, draw):
        length = draw.randint(1, 30)
        one, other, keeper = (Drawing(draw, writer, self.model.counts[writer]) for writer in range(3))
        if self._threads:
            batches = [drawing.some(BATCHES, length) for drawing in (one, other)]
            plans = [*batches, keeper.some(UPKEEP, 1 + length // 4)]
        else:
            plans = [one.some(BATCHES * 2 + UPKEEP, length), [], []]
        return Plan(plans), sum(map(len, plans))

    def tour(self, draw):
        one, *_, keeper = (Drawing(draw, writer, self.model.counts[writer]) for writer in range(3))
        return Plan([one.batches(TOUR), [], keeper.some(UPKEEP, 3) if self._threads else []])

    def sequel(self, draw):
        return Plan([Drawing(draw, 0, self.model.counts[0]).batches(["put", "compact"]), [], []])

    def open(self, mode):
        return Silo.open(self.path, mode, "concatenate", sync=self.sync, **self._geometry)

    def work(self, store, plan, say):
        busy = [writer for writer, batches in enumerate(plan) if batches]
        if len(busy) < 2:
            return [_write(store, writer, plan[writer], say) for writer in busy]
        with ThreadPoolExecutor(len(busy)) as threads:
            running = [threads.submit(_write, store, writer, plan[writer], say) for writer in busy]
            return [one.result() for one in running]

    def found(self, store):
        keys = store.keys()
        errors = [one for one in store.check() if one.severity == "error"]
        return dict(zip(keys.tolist(), store.get_many(keys))), errors

    def settle(self, found, plan, said):
        self.model.settle(found, plan, said)


def _write(silo, writer, batches, say):
    for batch in batches:
        say(writer, batch.write(silo))


class HastySilo(KilledSilo):
    """A silo whose children say that a batch is written before it is: a campaign has to find that out."""

    def work(self, store, plan, say):
        for writer, batches in enumerate(plan):
            for batch in batches:
                say(writer, 0)
                batch.write(store)


def tear_twice(directory):
    """Kill two writers, one after the other, in the middle of a batch that two threads write the parts of."""
    KilledSilo(Path(directory, "warm"), random.Random(0), "none").warm(random.Random(0))
    for first, second in product(range(3), repeat=2):
        silo = KilledSilo(Path(directory, f"{first} {second}"), random.Random(0), "none")
        silo.live(silo.nothing, Survive())
        with traced(silo, "torn twice"):
            for number, byte in ((first, b"a"), (second, b"b")):
                batch = Batch("put", tuple(POOLS[0][:3]), (byte * PART,) * 3)
                silo.live(Plan([[batch], [], []]), AtLongWrite(number, "late"))
        silo.remove()
