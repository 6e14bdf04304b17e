"""Pile: the sheets of a batch, found by slot without a look at all of them.

Of a small sheet each slot is kept, in a dict; there are few large ones, and each is asked.
"""

from collections.abc import Iterator

from pyroaring import BitMap

from bitdex.live.sheet import Sheet

SMALL = 1024  # documents of a sheet whose slots are kept one by one


class Pile:
    """Sheets of which no two have a slot.

    Attributes
    ----------
    there, gone : BitMap
        The slots of documents that there are to be, and of those that there are not to be. Not to be changed.
    """

    def __init__(self) -> None:
        self.there, self.gone = BitMap(), BitMap()
        self._sheets: dict[int, Sheet] = {}  # by number
        self._owners: dict[int, int] = {}  # number of the small sheet by slot
        self._small = BitMap()  # the slots in it
        self._large: dict[int, BitMap] = {}
        self._next = 0

    def __iter__(self) -> Iterator[Sheet]:
        return iter(self._sheets.values())

    def add(self, sheet: Sheet) -> None:
        """Put a sheet on it, with slots that none has; an empty one is left out."""
        if not len(sheet):
            return
        number, members = self._next, sheet.members
        self._next += 1
        self._sheets[number] = sheet
        if len(sheet) <= SMALL:
            self._owners.update(dict.fromkeys(sheet.slots.tolist(), number))
            self._small |= members
        else:
            self._large[number] = members
        if sheet.exist:
            self.there |= members
        else:
            self.gone |= members

    def remove(self, slots: BitMap) -> None:
        """Take some slots out of all sheets."""
        for number in self._having(slots):
            sheet, members = self._sheets.pop(number), self._large.pop(number, None)
            if members is None:
                members = sheet.members
                self._small -= members
                for slot in sheet.slots.tolist():
                    del self._owners[slot]
            self.there -= members
            self.gone -= members
            self.add(sheet.without(slots))

    def within(self, slots: BitMap) -> list[Sheet]:
        """Return the parts of sheets that have some slots."""
        return [self._sheets[number].within(slots) for number in self._having(slots)]

    def find(self, slot: int) -> Sheet | None:
        """Return the sheet that has a slot, or None."""
        number = self._owners.get(slot)
        if number is None:
            number = next((one for one, members in self._large.items() if slot in members), None)
        return None if number is None else self._sheets[number]

    def _having(self, slots: BitMap) -> list[int]:
        """Return the numbers of the sheets that have some of the slots, ascending."""
        found = {self._owners[slot] for slot in slots & self._small}
        found |= {number for number, members in self._large.items() if not members.isdisjoint(slots)}
        return sorted(found)
