"""BitDex: an embedded bitmap-index document engine."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Silo": "bitdex.silo.silo",
    "Values": "bitdex.silo.values",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'bitdex' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
