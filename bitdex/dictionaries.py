"""The dictionaries of an index: label <-> number for every low-cardinality field.

Matching ignores case unless the field says otherwise; the spelling seen first is shown.
Numbers are given in order of first appearance, so the same files give the same numbers.
"""

import threading
from pathlib import Path

from bitdex import filesystem
from bitdex.errors import CorruptError
from bitdex.formats import dictionary as format_


class Dictionaries:
    """Labels of all fields; saved before the commit that first uses them. Any thread may ask for them.

    Attributes
    ----------
    count : int
        How many there are; none is ever lost, or gets another number.
    """

    def __init__(self, path: Path, identity: int):
        self._path = path
        self.identity = identity
        self._texts: dict[int, dict[int, str]] = {}
        self._numbers: dict[int, dict[str, int]] = {}
        self._lock = threading.RLock()  # so that no map of numbers lacks a label that is added meanwhile
        self._dirty = False
        if not filesystem.exists(path):
            raise CorruptError(f"{path}: offset 0: expected the labels of fields, found no file")
        for label in format_.decode(filesystem.read(path), identity, str(path)):
            self._texts.setdefault(label.field, {})[label.label] = label.text
        self.count = sum(map(len, self._texts.values()))

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
                if number is None:
                    number = numbers[key] = len(shown) + 1
                    shown[number] = text
                    self.count += 1
                    self._dirty = True
                out.append(number)
        return out

    def text(self, field: int, number: int) -> str | None:
        """Return the label of a number, or None."""
        return self._texts.get(field, {}).get(number)

    def labels(self, field: int) -> dict[int, str]:
        """Return the labels of a field by number; not to be changed.

        New ones appear in what was returned: whoever looks at all of them copies it first.
        """
        return self._texts.setdefault(field, {})

    def save(self) -> None:
        """Write the file if labels were added since it was last written."""
        if self._dirty:
            labels = [
                format_.Label(field, number, text)
                for field, texts in sorted(self._texts.items())
                for number, text in texts.items()
            ]
            filesystem.write_whole(self._path, format_.encode(labels, self.identity))
            self._dirty = False

    def _numbers_of(self, field: int, case_sensitive: bool) -> dict[str, int]:
        numbers = self._numbers.get(field)
        if numbers is None:
            with self._lock:
                texts = self._texts.get(field, {})
                made = {text if case_sensitive else text.lower(): number for number, text in texts.items()}
                numbers = self._numbers.setdefault(field, made)
        return numbers
