"""Newest: the snapshot of the newest commit of an index, made when somebody asks for it.

::

    commit --> put off --+
    commit --> put off --+--> asked for: one snapshot that follows by all of them

A writer that nobody looks at does not pay for snapshots. It needs to know which documents there are, though,
visible or waiting: a commit that alters this is shown at once, and so is one of many alterations.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from bitdex.bitmaps import BitmapSilo
from bitdex.documents import DocSilo
from bitdex.formats import bitmap as format_
from bitdex.locks import lock_of
from bitdex.query.line import Altering
from bitdex.query.snapshot import Commit, Snapshot

MOST = 16  # commits that are put off: whoever shows them all waits for that


class Committed(Protocol):
    """What a commit shows (`store.Committed`)."""

    @property
    def documents(self) -> DocSilo: ...

    @property
    def bitmaps(self) -> BitmapSilo: ...


class Newest:
    """One thread commits; any number of threads ask.

    Parameters
    ----------
    committed : callable
        Returns what is committed now.
    committing : callable
        Tells whether a batch is under way; what it commits is told by `follow`.
    begin : callable
        Called with the first snapshot.

    Attributes
    ----------
    shown : Snapshot or None
        The one that was made last; None as long as nobody has asked.
    """

    def __init__(
        self,
        committed: Callable[[], Committed],
        committing: Callable[[], bool],
        begin: Callable[[Snapshot], None],
    ):
        self._committed, self._committing, self._begin = committed, committing, begin
        self.shown: Snapshot | None = None
        self._later: deque[Commit] = deque()  # commits behind the one that is shown
        self._lock = lock_of(self)

    def get(self) -> Snapshot:
        """Return the newest snapshot; while a batch is under way that of the commit before."""
        shown = self.shown
        if (
            shown is not None
            and not self._later
            and not shown.is_over()
            and (self._committing() or shown.documents is self._committed().documents)
        ):
            return shown
        with self._lock:
            return self._make()

    def standing(self) -> Snapshot:
        """Return one that shows the documents that there are now, and that may be behind in their values."""
        shown, later = self.shown, list(self._later)  # another thread may show them all at any time
        if shown is None or not later or shown.is_over() or later[-1][0] is not self._committed().documents:
            return self.get()
        return shown

    def follow(self, altered: Altering | None) -> None:
        """Follow the commit of a batch; None if the snapshot is to be made anew."""
        committed = self._committed()
        if altered is None:
            with self._lock:
                self._later.clear()
                documents = committed.documents
                self.shown = Snapshot(documents.schema, documents, committed.bitmaps)
            return
        self._later.append((committed.documents, committed.bitmaps, altered))
        states = (altered.get(key) for key in (format_.alive_key(), format_.deferred_key()))
        if len(self._later) >= MOST or not altered.few or any(one is not None for one in states):
            with self._lock:
                self._catch_up()

    def reaches(self, commit: Committed) -> bool:
        """Tell whether the snapshot shows a commit, with what is put off: then the next can be followed."""
        shown, later = self.shown, list(self._later)
        last = later[-1][0] if later else shown and shown.documents
        return last is commit.documents

    def _make(self) -> Snapshot:
        while True:
            committed, committing = self._committed(), self._committing()  # in this order: see below
            self._catch_up()
            shown = self.shown
            if shown is not None and committing and not shown.is_over():
                return shown
            if committed is self._committed():  # what was committed has been followed, no batch was under way
                break
        documents = committed.documents
        self.shown = Snapshot.of(documents.schema, documents, committed.bitmaps, shown)
        if shown is None:
            self._begin(self.shown)
        return self.shown

    def _catch_up(self) -> None:
        """Show the commits that were put off."""
        later, shown = list(self._later), self.shown
        if shown is not None:
            behind = [one for one in later if one[0].source.sequence > shown.sequence]
            if behind:
                self.shown = shown.after(behind)
        for _ in later:  # not before: who is interrupted does it all again
            self._later.popleft()
