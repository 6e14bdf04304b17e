"""The errors a caller can meet, one leaf per remedy.

Every error is a `BitdexError` and also the built-in a reader would expect, so
``except KeyError`` and ``except BitdexError`` both work.
"""


class BitdexError(Exception):
    """Base of every error raised on purpose by BitDex."""

    def __str__(self) -> str:  # KeyError would quote its message
        return " ".join(str(argument) for argument in self.args)


class NotFoundError(BitdexError, KeyError):
    """The named index, document, field, phase or file does not exist."""


class InvalidError(BitdexError, ValueError):
    """An argument, configuration or input row cannot be used; the message says what is accepted."""


class CorruptError(BitdexError, OSError):
    """Bytes on disk are not what was written; the message names file, offset, expected and found.

    Attributes
    ----------
    file : str or None
        The file as the message names it, where it tells of a place in one.
    offset : int
        The place in bytes.
    """

    file: str | None = None
    offset: int = 0

    @classmethod
    def at(cls, file: object, offset: int, what: str) -> "CorruptError":
        """Return the error of a place in a file."""
        error = cls(f"{file}: offset {offset}: {what}")
        error.file, error.offset = str(file), int(offset)
        return error


class VersionError(BitdexError, NotImplementedError):
    """The file was written by a format version that this package does not read."""


class LockedError(BitdexError, PermissionError):
    """The store is read-only here, or another writer holds it."""


class WriteFailedError(BitdexError, OSError):
    """The system could not write or sync a file of the store, which takes no more writes until it is
    opened again; everything acknowledged before is kept. ``errno`` and ``filename`` say what and where."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror} (errno {self.errno})"


class MissingError(BitdexError, ImportError):
    """A package that this needs is not installed; the message says how to install it."""


class ClosedError(BitdexError, RuntimeError):
    """The object was closed and can no longer be used."""
