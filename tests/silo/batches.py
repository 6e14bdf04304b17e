"""Batches on a few keys, which a silo, a merge writer and a dict understand, and what any of them holds."""

from dataclasses import dataclass

import numpy as np

POOL = [0, 1, 2, 3, 5, 8, 300, 2**32, 2**63, 2**64 - 2, 2**64 - 1, 7 << 48 | 1, 7 << 48 | 2]
POOL_ARRAY = np.array(POOL, np.uint64)


@dataclass(frozen=True)
class Batch:
    """One call of a silo or a merge writer, which a dict understands too."""

    kind: str
    keys: list
    values: list

    def write(self, target):
        """Do it."""
        values = () if self.kind == "delete" else (self.values,)
        getattr(target, f"{self.kind}_many")(np.array(self.keys, np.uint64), *values)

    def apply(self, model, concatenates):
        """Do it to a dict."""
        for key, value in zip(self.keys, self.values):
            if self.kind == "delete":
                model.pop(key, None)
            else:
                old = model.get(key, b"") if self.kind == "merge" and concatenates else b""
                model[key] = old + value


def held(source):
    """Return what a silo or a pinned state holds, asked for in every way."""
    values = dict(zip(POOL, source.get_many(POOL_ARRAY)))
    found = {key: value for key, value in values.items() if value is not None}
    assert source.keys().tolist() == sorted(found) and len(source) == len(found)
    one = POOL[sum(map(len, found.values())) % len(POOL)]
    assert source.get(one) == values[one]
    return found
