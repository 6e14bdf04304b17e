"""Turn: a lock that knows its holder."""

import threading
from collections.abc import Iterator

from bitdex.errors import InvalidError
from bitdex.holding import holding


class Turn:
    """Held by one thread at a time; who asks again is refused, and does not wait for itself for ever.

    Parameters
    ----------
    refusal : str
        What the error says.
    """

    def __init__(self, refusal: str):
        self._refusal = refusal
        self._lock = threading.Lock()
        self._holder: int | None = None

    @property
    def mine(self) -> bool:
        """Whether this thread holds it."""
        return self._holder == threading.get_ident()

    def check(self) -> None:
        """Refuse a thread that holds it: before it waits for another, who may wait for this one."""
        if self.mine:
            raise InvalidError(self._refusal)

    @holding
    def taken(self) -> Iterator[None]:
        """Wait until nobody holds it, and hold it for the block."""
        self.check()
        with self._lock:
            self._holder = threading.get_ident()
            try:
                yield
            finally:
                self._holder = None

    @holding
    def awaited(self) -> Iterator[None]:
        """Let no other thread hold it during the block; this one may."""
        if self.mine:
            yield
        else:
            with self.taken():
                yield
