"""The dictionaries of an index: label <-> number for every low-cardinality field.

Matching ignores case unless the field says otherwise; the spelling seen first is shown.
Numbers are given in order of first appearance, so the same files give the same numbers.
"""

import threading
from pathlib import Path

import numpy as np

from bitdex import filesystem
from bitdex.errors import CorruptError
from bitdex.formats import dictionary as format_
from bitdex.locks import lock_of

NOTHING: np.ndarray = np.zeros(1, np.int64)
SECTIONS = 4096  # that are appended before the file is written anew: each costs those who open it
GROWTH = 50  # per cent of room for integers that come


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
        self._texts: dict[int, dict[int, str]] = {}
        self._numbers: dict[int, dict[str, int]] = {}
        self._integers: dict[int, np.ndarray] = {}
        self._lock = lock_of(self, threading.RLock)  # no map of numbers is to lack a label added meanwhile
        if not filesystem.exists(path):
            raise CorruptError.at(path, 0, "expected the labels of fields, found no file")
        content = filesystem.read(path)
        held = format_.decode_held(content, least, identity, str(path))
        for label in held.labels:
            self._texts.setdefault(label.field, {})[label.label] = label.text
        self.count = sum(map(len, self._texts.values()))
        self._new: list[format_.Label] = []
        self._sections, self._end = held.sections, held.end
        self._sound = held.end == len(content)  # else there is what a writer did not finish

    @staticmethod
    def create(path: Path, identity: int) -> None:
        """Write dictionaries without labels."""
        filesystem.write_whole(path, format_.encode([], identity))

    def find(self, field: int, text: str, case_sensitive: bool = False) -> int | None:
        """Return the number of a label, or None."""
        return self._numbers_of(field, case_sensitive).get(text if case_sensitive else text.lower())

    def ensure(self, field: int, texts: list[str], case_sensitive: bool = False) -> list[int]:
        """Return the numbers of labels, giving new ones to those not seen before."""
        out = []
        with self._lock:
            numbers = self._numbers_of(field, case_sensitive)
            shown = self._texts.setdefault(field, {})
            for text in texts:
                key = text if case_sensitive else text.lower()
                number = numbers.get(key)
                if number is None:  # in this order: an interrupt between two leaves no number without a label
                    number = len(shown) + 1
                    self._new.append(format_.Label(field, number, text))
                    shown[number] = text
                    self.count += 1
                    numbers[key] = number
                out.append(number)
        return out

    @property
    def saved(self) -> int:
        """How many are on the device: what a commit may tell."""
        return self.count - len(self._new)

    def labels(self, field: int) -> dict[int, str]:
        """Return the labels of a field by number; not to be changed.

        New ones appear in what was returned: whoever looks at all of them copies it first.
        """
        return self._texts.setdefault(field, {})

    def integers(self, field: int) -> np.ndarray:
        """Return what the labels of a field spell as integers (int64), by number; 0 where there is none."""
        known, texts = self._integers.get(field, NOTHING), self._texts.get(field, {})
        if len(known) <= len(texts):
            with self._lock:
                known, stop = self._integers.get(field, NOTHING), len(texts) + 1
                new = [int(texts.get(number) or 0) for number in range(len(known), stop)]
                room = known.base if known.base is not None else known
                if len(room) < stop:
                    room = np.concatenate([known, np.zeros(stop + GROWTH * stop // 100, np.int64)])
                room[len(known) : stop] = new  # where nobody looks yet
                known = self._integers[field] = room[:stop]
        return known

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
            for field, texts in sorted(self._texts.items())
            for number, text in texts.items()
        ]

    def _numbers_of(self, field: int, case_sensitive: bool) -> dict[str, int]:
        numbers = self._numbers.get(field)
        if numbers is None:
            with self._lock:
                texts = self._texts.get(field, {})
                made = {text if case_sensitive else text.lower(): number for number, text in texts.items()}
                numbers = self._numbers.setdefault(field, made)
        return numbers
