"""Packed labels: those of one field as they lie in ``dictionaries.bin``, decoded when somebody asks for them.

::

    text --> lower case of ASCII letters --> CRC-32C --> rows with that checksum --> the one with that text
    text in which lower case is more than that ------> a dict of such texts

The table of checksums is made when a label is first looked for, which takes less than to decode all.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bitdex.formats.dictionary import text_array
from bitdex.kernels.checksum import crc32c
from bitdex.kernels.labels import hash_texts

ALIKE = 64  # texts of one checksum, from which looking through them is no way to find one


class PackedLabels:
    """Labels with the numbers 1 to n; they never change.

    Parameters
    ----------
    array : LargeStringArray
        Their texts.

    Attributes
    ----------
    found : int
        How many were looked for and found.
    """

    def __init__(self, array: pa.LargeStringArray):
        self._array = array
        self._hashed: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None = None
        self._others: dict[str, int] = {}
        self.found = 0

    def __len__(self) -> int:
        return len(self._array)

    def text(self, number: int) -> str | None:
        """Return one label, or None."""
        return self._array[number - 1].as_py() if 1 <= number <= len(self._array) else None

    def texts(self) -> dict[int, str]:
        """Return all labels by number."""
        return dict(enumerate(self._array.to_pylist(), 1))

    def integers(self) -> np.ndarray | None:
        """Return what they spell as integers (int64); None if one of them spells none."""
        try:
            return np.asarray(self._array.cast(pa.int64()))
        except pa.ArrowInvalid:
            return None

    def find(self, key: str, case_sensitive: bool) -> int | None:
        """Return the number of a label, given in lower case unless that matters; or None.

        Raises
        ------
        OverflowError
            If too many are alike: who made them did so on purpose.
        """
        if self._hashed is None:
            self._hash(case_sensitive)
        assert self._hashed is not None
        data, offsets, checksums, order = self._hashed
        raw = key.encode("utf-8", "surrogatepass")
        checksum = np.uint32(crc32c(raw))
        first = int(np.searchsorted(checksums, checksum))
        for at in range(first, len(checksums)):
            if checksums[at] != checksum:
                break
            if at - first == ALIKE:
                raise OverflowError
            row = int(order[at])
            if data[offsets[row] : offsets[row + 1]].tobytes() == raw:
                self.found += 1
                return row + 1
        return self._others.get(key)

    def _hash(self, case_sensitive: bool) -> None:
        """Make the table; of texts beyond ASCII Python knows the lower case."""
        array, rows = self._array, np.empty(0, np.int64)
        if not case_sensitive:
            rows = np.flatnonzero(~np.asarray(pc.string_is_ascii(array)))
            array = pc.ascii_lower(array)
        _, offsets, data = array.buffers()
        ends = np.frombuffer(offsets, np.int64, len(array) + 1, 8 * array.offset)
        texts = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
        checksums = np.empty(len(array), np.uint32)
        hash_texts(texts, ends, checksums)
        order = np.argsort(checksums, kind="stable")
        beyond = self._array.take(pa.array(rows)).to_pylist()
        self._others = {text.lower(): row + 1 for text, row in zip(beyond, rows.tolist())}
        self._hashed = texts, ends, checksums[order], order


def packed_fields(fields: np.ndarray, numbers: np.ndarray, data: np.ndarray, offsets: np.ndarray) -> dict:
    """Return the labels of each field, by its number: packed, or as a dict where they are not 1 to n."""
    array, out = text_array(data, offsets), {}
    for field in np.unique(fields).tolist():
        rows = np.flatnonzero(fields == field)
        mine = array if len(rows) == len(array) else array.take(pa.array(rows))
        counted = np.array_equal(numbers[rows], np.arange(1, len(rows) + 1))
        out[field] = PackedLabels(mine) if counted else dict(zip(numbers[rows].tolist(), mine.to_pylist()))
    return out
