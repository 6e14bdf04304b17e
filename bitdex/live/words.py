"""Words: the sort value of each slot, of one field whose values lie in bitmaps only.

Slots and values are two arrays. What small commits alter is kept beside them by slot, and goes into them
when it has become much.
"""

import numpy as np

from bitdex.query.edited import Edits

FEW = 4096  # slots kept beside the arrays


class Words:
    """Made of the layers of a field, then altered as they are.

    Parameters
    ----------
    slots : ndarray of uint32, shape (n,)
        Ascending and distinct.
    words : ndarray of uint64, shape (n,)
        Order-preserving and unsigned.
    """

    def __init__(self, slots: np.ndarray, words: np.ndarray):
        self._slots, self._words = slots, words
        self._beside: dict[int, int | None] = {}

    def of(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the values (u64, 0 for none) of slots (u32), and which of them have one."""
        words, places = np.zeros(len(slots), np.uint64), np.searchsorted(self._slots, slots)
        inside = places < len(self._slots)
        inside[inside] = self._slots[places[inside]] == slots[inside]
        words[inside] = self._words[places[inside]]
        for at, slot in enumerate(slots.tolist()) if self._beside else ():
            if slot in self._beside:
                word = self._beside[slot]
                words[at], inside[at] = word or 0, word is not None
        return words, inside

    def note(self, edits: Edits) -> None:
        """Follow a commit."""
        if len(edits.slots) > FEW:
            self._settle()
            self._take(edits)
            return
        for slot, word, present in zip(edits.slots.tolist(), edits.words.tolist(), edits.present.tolist()):
            self._beside[slot] = word if present else None
        if len(self._beside) > FEW:
            self._settle()

    def _settle(self) -> None:
        """Take what is kept beside the arrays into them."""
        if self._beside:
            self._take(Edits.of(self._beside))
            self._beside = {}

    def _take(self, edits: Edits) -> None:
        stays = ~np.isin(self._slots, edits.slots)
        slots = np.concatenate((self._slots[stays], edits.slots[edits.present]))
        words = np.concatenate((self._words[stays], edits.words[edits.present]))
        order = np.argsort(slots, kind="stable")
        self._slots, self._words = slots[order], words[order]
