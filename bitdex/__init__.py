"""BitDex: an embedded bitmap-index document engine."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Cursor": "bitdex.query.cursor",
    "Index": "bitdex.index",
    "Page": "bitdex.page",
    "Schema": "bitdex.schema",
    "Silo": "bitdex.silo.silo",
    "Values": "bitdex.silo.values",
}

_RENAMED = {
    "check": ("bitdex.findings", "check"),
    "create": ("bitdex.index", "create"),
    "open": ("bitdex.index", "open_index"),
    "field": ("bitdex.query.expression", "field"),
    "repair": ("bitdex.repair", "repair"),
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


class _Package(ModuleType):
    """This package: a function keeps its name when the module of that name is loaded."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _RENAMED or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
