"""BitDex: an embedded bitmap-index document engine."""

from importlib import import_module
from typing import Any

try:
    import fcntl as _fcntl  # noqa: F401
except ImportError:
    raise ImportError(
        "BitDex needs a POSIX system, as Linux or macOS; on Windows it runs in the Subsystem for Linux (WSL)"
    ) from None

__version__ = "0.1.0"

_HOMES = {
    "Cursor": "bitdex.query.cursor",
    "Index": "bitdex.index",
    "Page": "bitdex.page",
    "Schema": "bitdex.schema",
    "Selection": "bitdex.selection",
    "Silo": "bitdex.silo.silo",
    "Values": "bitdex.silo.values",
}

_RENAMED = {
    "check": ("bitdex.findings", "check"),
    "create": ("bitdex.index", "create"),
    "open": ("bitdex.index", "open_index"),
    "jaccard": ("bitdex.analysis.overlap", "jaccard"),
    "overlap": ("bitdex.analysis.overlap", "overlap"),
    "field": ("bitdex.query.expression", "field"),
    "repair": ("bitdex.repairing", "repair"),
    "restore": ("bitdex.backup", "restore"),
    "warmup": ("bitdex.warming", "warmup"),
}

__all__ = sorted([*_HOMES, *_RENAMED])


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _RENAMED:
        module, attribute = _RENAMED[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'bitdex' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
