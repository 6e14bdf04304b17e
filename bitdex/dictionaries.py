"""The dictionaries of an index: label <-> number for every low-cardinality field.

Matching ignores case unless the field says otherwise; the spelling seen first is shown.
Numbers are given in order of first appearance, so the same files give the same numbers.

Labels that are read lie packed (`dictionaries_packed`) until somebody asks for all of a field. Single ones
are found there, and kept; those that come later stand beside them.
"""

import threading
from pathlib import Path

import numpy as np

from bitdex import filesystem
from bitdex.dictionaries_packed import PackedLabels, packed_fields
from bitdex.errors import CorruptError
from bitdex.formats import dictionary as format_
from bitdex.formats import header
from bitdex.locks import lock_of

NOTHING: np.ndarray = np.zeros(1, np.int64)
SECTIONS = 4096  # that are appended before the file is written anew: each costs those who open it
GROWTH = 50  # per cent of room for integers that come
MANY = 1000  # labels that are looked for in packed ones, until all are decoded


class Dictionaries:
    """Labels of all fields; saved before the commit that first uses them. Any thread may ask for them.

    Parameters
    ----------
    path : Path
    identity : int
    least : int
        How many labels there must be, as the commit tells.

    Attributes
    ----------
    count : int
        How many there are; none is ever lost, or gets another number.
    """

    def __init__(self, path: Path, identity: int, least: int = 0):
        self._path = path
        self.identity = identity
        self._packed: dict[int, PackedLabels] = {}
        self._texts: dict[int, dict[int, str]] = {}  # of a field with packed ones those behind them
        self._shown: dict[int, dict[int, str]] = {}  # of packed ones: those that were asked for
        self._numbers: dict[int, dict[str, int]] = {}  # all of a field
        self._found: dict[int, dict[str, int]] = {}  # of packed ones those that were looked for, and new ones
        self._sensitive: dict[int, bool] = {}  # the fields that have one of the last two, or both
        self._integers: dict[int, np.ndarray] = {}
        self._lock = lock_of(self, threading.RLock)  # no map of numbers is to lack a label added meanwhile
        if not filesystem.exists(path):
            raise CorruptError.at(path, 0, "expected the labels of fields, found no file")
        content = filesystem.read(path)
        held = format_.decode_columns(content, least, identity, str(path))
        for field, labels in packed_fields(held.fields, held.numbers, held.data, held.offsets).items():
            if isinstance(labels, PackedLabels):
                self._packed[field] = labels
            else:
                self._texts[field] = labels
        self.count = len(held)
        self._new: list[format_.Label] = []
        self._sections, self._end = held.sections, held.end
        self._sound = held.end == len(content)  # else there is what a writer did not finish
        self._begin, self._last = content[: header.SIZE], held.last
        self._mark = content[held.last : held.last + format_.SECTION.itemsize]

    def follow(self, least: int) -> bool:
        """Take what was appended since, and nothing else is read; return False where that cannot be.

        For those who add no labels themselves. The file has to begin as it did, and so has its last section,
        whose checksum covers it.
        """
        size, place, identity = format_.SECTION.itemsize, self._last, self.identity
        with self._lock:
            begin, mark, content = filesystem.read_parts(
                self._path, (0, header.SIZE), (place, size), (self._end - 1, None)
            )
            if (begin, mark) != (self._begin, self._mark) or not content:
                return False
            content = content[1:]
            try:
                more = format_.decode_more(content, self._end, identity, str(self._path))
            except CorruptError:
                return False  # who reads it whole tells what it is
            if self.count + len(more) < least:
                return False
            for field, number, text in more.labels():
                self._add(field, number, text)
            self._sections, self._sound = self._sections + more.sections, more.end == self._end + len(content)
            if more.sections:
                self._last, first = more.last, more.last - self._end
                self._mark, self._end = content[first : first + size], more.end
            return True

    @staticmethod
    def create(path: Path, identity: int) -> None:
        """Write dictionaries without labels."""
        filesystem.write_whole(path, format_.encode([], identity))

    def find(self, field: int, text: str, case_sensitive: bool = False) -> int | None:
        """Return the number of a label, or None."""
        key, numbers = text if case_sensitive else text.lower(), self._numbers.get(field)
        return self._find(field, key, case_sensitive) if numbers is None else numbers.get(key)

    def ensure(self, field: int, texts: list[str], case_sensitive: bool = False) -> list[int]:
        """Return the numbers of labels, giving new ones to those not seen before."""
        out = []
        with self._lock:
            numbers = self._numbers.get(field)
            if numbers is None and len(texts) >= MANY:
                numbers = self._numbers_of(field, case_sensitive)
            for text in texts:
                key = text if case_sensitive else text.lower()
                number = self._find(field, key, case_sensitive) if numbers is None else numbers.get(key)
                if number is None:  # in this order: an interrupt between two leaves no number without a label
                    number = self._count(field) + 1
                    self._new.append(format_.Label(field, number, text))
                    self._add(field, number, text)
                out.append(number)
        return out

    def _count(self, field: int) -> int:
        """Return how many labels a field has."""
        return len(self._packed.get(field, ())) + len(self._texts.get(field, ()))

    def _add(self, field: int, number: int, text: str) -> None:
        """Take a label that comes behind the others of its field; it counts when it can be found."""
        self._texts.setdefault(field, {})[number] = text
        if field in self._sensitive:
            key = text if self._sensitive[field] else text.lower()
            for known in (self._numbers, self._found):
                if field in known:
                    known[field].setdefault(key, number)
        self.count += 1  # last: what is bound meanwhile holds for the labels before (`query.bindings`)

    def _find(self, field: int, key: str, case_sensitive: bool) -> int | None:
        """Return the number of a label among packed ones, and those behind them, or None."""
        number = self._found.get(field, {}).get(key)
        if number is not None:
            return number
        with self._lock:
            packed = self._packed.get(field)
            if packed is None or packed.found >= MANY:
                return self._numbers_of(field, case_sensitive).get(key)
            if field not in self._found:
                texts = self._texts.get(field, {})
                self._sensitive[field] = case_sensitive
                self._found[field] = _inverse(texts, case_sensitive)
            number = self._found[field].get(key)
            if number is None:
                try:
                    number = packed.find(key, case_sensitive)
                except OverflowError:
                    return self._numbers_of(field, case_sensitive).get(key)
                if number is not None:
                    self._found[field][key] = number
            return number

    @property
    def saved(self) -> int:
        """How many are on the device: what a commit may tell."""
        return self.count - len(self._new)

    def labels(self, field: int) -> dict[int, str]:
        """Return the labels of a field by number; not to be changed.

        New ones appear in what was returned: whoever looks at all of them copies it first.
        """
        if field in self._packed:
            with self._lock:
                packed = self._packed.get(field)
                if packed is not None:
                    self._texts[field] = packed.texts() | self._texts.get(field, {})
                    del self._packed[field]
        return self._texts.setdefault(field, {})

    def shown(self, field: int) -> dict[int, str]:
        """Return the labels of a field that were asked for by number, or all; `text` has the others."""
        if field in self._packed:
            return self._shown.setdefault(field, {})
        return self.labels(field)

    def text(self, field: int, number: int) -> str | None:
        """Return the label of a number, or None; `shown` has it from then on."""
        packed, text = self._packed.get(field), self._texts.get(field, {}).get(number)
        if text is None and packed is not None:
            text = packed.text(number)
        if text is not None and packed is not None:
            self._shown.setdefault(field, {})[number] = text
        return text

    def texts_of(self, field: int, numbers: list[int]) -> dict[int, str]:
        """Return labels by number: those of these numbers, others may be among them."""
        if field not in self._packed or len(numbers) >= MANY:
            return self.labels(field)
        return {number: text for number in numbers if (text := self.text(field, number)) is not None}

    def integers(self, field: int) -> np.ndarray:
        """Return what the labels of a field spell as integers (int64), by number; 0 where there is none."""
        known = self._integers.get(field, NOTHING)
        if len(known) <= self._count(field):
            with self._lock:
                known, stop = self._integers.get(field, NOTHING), self._count(field) + 1
                new = self._spelled(field, len(known), stop)
                room = known.base if known.base is not None else known
                if len(room) < stop:
                    room = np.concatenate([known, np.zeros(stop + GROWTH * stop // 100, np.int64)])
                room[len(known) : stop] = new  # where nobody looks yet
                known = self._integers[field] = room[:stop]
        return known

    def _spelled(self, field: int, first: int, stop: int) -> np.ndarray:
        """Return the integers that the labels with numbers from first to stop spell."""
        packed = self._packed.get(field)
        found = packed.integers() if packed is not None and first == 1 else None
        begun = np.empty(0, np.int64) if found is None else found
        texts = self.labels(field) if found is None else self._texts.get(field, {})
        rest = [int(texts.get(number) or 0) for number in range(first + len(begun), stop)]
        return np.concatenate((begun, np.array(rest, np.int64)))

    def save(self) -> None:
        """Append the labels that were added since; they are on the device when this returns.

        What a writer did not finish goes, and so do many sections: the file is written anew then.
        """
        new = self._new[:]
        if not new:
            return
        if self._sound and self._sections < SECTIONS:
            section = format_.encode_section(new, self.identity, self._end)
            self._sound = False  # until it is whole
            self._append(section)
            self._sections, self._end = self._sections + 1, self._end + len(section)
        else:
            content = format_.encode(self._all(), self.identity)
            filesystem.write_whole(self._path, content)
            self._sections, self._end = 0, len(content)
        self._sound = True
        del self._new[: len(new)]

    def _append(self, section: bytes) -> None:
        descriptor = filesystem.open_write(self._path)
        try:
            filesystem.write_at(descriptor, section, self._end)
            filesystem.sync(descriptor)
        finally:
            filesystem.close(descriptor)

    def _all(self) -> list[format_.Label]:
        return [
            format_.Label(field, number, text)
            for field in sorted(self._packed.keys() | self._texts.keys())
            for number, text in self.labels(field).items()
        ]

    def _numbers_of(self, field: int, case_sensitive: bool) -> dict[str, int]:
        numbers = self._numbers.get(field)
        if numbers is None:
            with self._lock:
                self._sensitive[field] = case_sensitive
                made = _inverse(self.labels(field), case_sensitive)
                numbers = self._numbers.setdefault(field, made)
        return numbers


def _inverse(texts: dict[int, str], case_sensitive: bool) -> dict[str, int]:
    """Return numbers by label, in lower case unless that matters."""
    return {text if case_sensitive else text.lower(): number for number, text in texts.items()}
