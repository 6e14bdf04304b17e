"""Before: documents as they are stored, in columns that are read when somebody asks for them."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from bitdex.columns import ARROW, decode_columns
from bitdex.documents import column_kind
from bitdex.live.writer import Writer


class Before:
    """The documents of slots (u32, ascending and distinct).

    Attributes
    ----------
    stored : Values
        Their bytes.
    """

    def __init__(self, writer: Writer, slots: np.ndarray):
        self._writer, self._slots = writer, slots
        self.stored = writer.store.documents.silo.get_many(slots.astype(np.uint64))
        self._columns: dict[int, pa.Array] = {}

    def read(self, numbers: Iterable[int]) -> None:
        """Read columns in one pass over the documents."""
        kinds = [(number, column_kind(self._writer.fields[number])) for number in numbers]
        columns = decode_columns(self.stored.data, self.stored.offsets, kinds)
        self._columns.update(zip((number for number, _ in kinds), columns))

    def column(self, number: int) -> pa.Array:
        """Return the values of a field, also of one that only bitmaps hold; null where there is none."""
        if number not in self._columns:
            bits = self._writer.bits
            if number in bits.fields:
                held = bits.values_of(number, self._slots.tolist())
                kind = ARROW[column_kind(bits.fields[number])]
                self._columns[number] = pa.array(map(held.get, self._slots.tolist()), kind)
            else:
                self.read([number])
        return self._columns[number]
