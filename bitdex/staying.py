"""Staying: what belongs to an open store is neither pickled nor copied; the error says what to do instead."""

from typing import Any, NoReturn

from bitdex.errors import InvalidError


class Staying:
    """Has files, locks or maps of this process behind it, which would not go along."""

    __slots__ = ()

    def _instead(self) -> tuple[str, str]:
        """Return what this is, and what to hand on in its place."""
        return f"a {type(self).__name__.lower()}", "hand on the path of the store and open it there"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        what, remedy = self._instead()
        raise InvalidError(f"{what} belongs to this process and cannot be pickled or copied; {remedy}")
