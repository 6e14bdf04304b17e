"""The modes of syncing: when a write is acknowledged (`silo.logs`)."""

from bitdex.errors import InvalidError

SYNC_MODES = ("always", "batch", "none")


def check_sync(sync: str) -> None:
    """Raise `InvalidError` for what is no mode of syncing."""
    if sync not in SYNC_MODES:
        raise InvalidError(f"sync: {sync!r} is unknown; use one of {', '.join(SYNC_MODES)}")
