"""Compiled kernels on disk.

The cache holds machine code in pickles and has to be trusted like the package itself:
it lives in a directory of the user's own (mode 0700), its name binds the versions, the
processor and a digest of the kernel sources, and every entry carries a SHA-256 so that a damaged one
is compiled again and never executed.

The digest is taken when this module is imported: what a process runs is what it has imported, whatever
lies in the files by the time a kernel is compiled. Where there is no source to tell versions by, or no
directory of the user's, nothing is kept. What nobody uses any more is removed (`kernels.unused`).
"""

import functools
import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import caching
from numba.core import config as numba_config

from bitdex.kernels import unused

config: Any = numba_config  # its settings are made at run time


def _digest_of_sources() -> str | None:
    package = Path(__file__).parent.parent  # kernels take constants from formats
    sources = sorted([*package.glob("kernels/*.py"), *package.glob("formats/*.py")])
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16] if sources else None


SOURCES = _digest_of_sources()
COMPILING = "compiling kernels, once per machine (`bitdex warmup` compiles all)"
told: set[str] = set()


@functools.cache
def cache_directory() -> Path | None:
    """Return the directory of compiled kernels for this user, machine and version; None if there is none."""
    home = os.path.expanduser("~/.cache")
    root = os.environ.get("BITDEX_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or home
    if SOURCES is None:
        tell("kernels are not cached: the sources of this package are not there")
        return None
    if root.startswith("~"):
        tell("kernels are not cached: no home directory; BITDEX_CACHE_DIR can name another")
        return None
    flags = f"{config.BOUNDSCHECK}|{sys.implementation.cache_tag}|{_processor()}"
    name = f"numba-{numba.__version__}-numpy-{np.__version__}-{SOURCES}"
    below = "" if os.environ.get("BITDEX_CACHE_DIR") else "bitdex"
    return Path(root) / below / f"{name}-{hashlib.sha256(flags.encode()).hexdigest()[:8]}"


def _processor() -> str:
    """Return the processor that Numba compiles for: machines of different ones may share a home."""
    named = config.CPU_NAME, config.CPU_FEATURES
    try:
        return f"{named} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    except RuntimeError:  # not known for this kind
        return f"{named} {llvm.get_host_cpu_name()}"


def tell(what: str) -> None:
    """Write a line for the user, once in a process."""
    if what not in told:
        told.add(what)
        print(f"bitdex: {what}", file=sys.stderr)


class _SealedFile(caching.IndexDataCacheFile):
    """Numba's cache file, each pickle behind its SHA-256."""

    def _dump(self, obj: Any) -> bytes:
        body = super()._dump(obj)
        return hashlib.sha256(body).digest() + body

    def _unseal(self, path: str) -> Any:
        sealed = Path(path).read_bytes()
        if hashlib.sha256(sealed[32:]).digest() != sealed[:32]:
            raise ValueError("damaged cache entry")
        return pickle.loads(sealed[32:])

    def _load_index(self) -> dict:
        try:
            stamp, overloads = self._unseal(self._index_path)
        except (OSError, ValueError):
            return {}
        return overloads if stamp == self._source_stamp else {}

    def _save_index(self, overloads: dict) -> None:
        with self._open_for_write(self._index_path) as handle:
            handle.write(self._dump((self._source_stamp, overloads)))

    def _load_data(self, name: str) -> Any:
        try:
            return self._unseal(self._data_path(name))
        except ValueError:
            return None


class _Locator(caching._CacheLocator):
    def __init__(self, function: Callable):
        self._function = function

    def get_cache_path(self) -> str:
        return str(cache_directory())

    def get_source_stamp(self) -> str:
        return Path(self.get_cache_path()).name

    def get_disambiguator(self) -> str:
        return str(self._function.__code__.co_firstlineno)

    def ensure_cache_path(self) -> None:
        os.makedirs(self.get_cache_path(), mode=0o700, exist_ok=True)


class _Implementation(caching.CompileResultCacheImpl):
    def __init__(self, function: Callable):
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Locator(function)
        qualified = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        self._filename_base = self.get_filename_base(qualified, sys.abiflags)


class _SerialImplementation(_Implementation):
    """The place of a parallel kernel that was compiled without its threads."""

    def __init__(self, function: Callable):
        super().__init__(function)
        self._filename_base += "-serial"


class _Cache(caching.FunctionCache):
    """A function cache that treats every failure as a miss."""

    _impl_class = _Implementation

    def __init__(self, function: Callable):
        super().__init__(function)
        self._cache_file = _SealedFile(
            self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp()
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # a cache must never be worse than no cache
            found = None
        if found is None:
            tell(COMPILING)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
            unused.note_use(Path(self._cache_path))  # which may be new
        except OSError as error:
            tell(f"kernels are not cached: {error.strerror}: {cache_directory()}")


class _SerialCache(_Cache):
    _impl_class = _SerialImplementation


def cache_of(function: Callable, serial: bool) -> _Cache | None:
    """Return the cache of a kernel, or of one compiled without its threads; None if nothing is kept."""
    directory = cache_directory()
    if directory is None:
        return None
    unused.note_use(directory)
    return _SerialCache(function) if serial else _Cache(function)
