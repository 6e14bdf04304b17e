"""The compiler: the decorator of every kernel, its options, types and disk cache.

No other module decides how a kernel is compiled. A kernel declares one signature; it
is compiled (or read from the cache) when it is first called, never at import. Array
inputs are declared read-only, which accepts read-only and writable arrays alike, so
that memory maps, Arrow buffers and pandas columns pass without a copy.

The cache holds machine code in pickles and has to be trusted like the package itself:
it lives in a directory of the user's own (mode 0700), its name binds the versions and
a digest of the kernel sources, and every entry carries a SHA-256 so that a damaged one
is compiled again and never executed.
"""

import ctypes
import functools
import hashlib
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite.binding import ffi as llvm
from numba import types
from numba.core import caching
from numba.core import config as numba_config

config: Any = numba_config  # its settings are made at run time
JIT_ENABLED = not config.DISABLE_JIT

i64, u64, u32, u8, f64, boolean, void = (
    types.int64,
    types.uint64,
    types.uint32,
    types.uint8,
    types.float64,
    types.boolean,
    types.void,
)


def _array(item: Any, readonly: bool) -> Any:
    return types.Array(item, 1, "C", readonly=readonly)


r_u8, r_u16, r_u32, r_u64 = (_array(t, True) for t in (types.uint8, types.uint16, u32, u64))
r_i32, r_i64, r_f64, r_bool = (_array(t, True) for t in (types.int32, i64, f64, boolean))
w_u8, w_u16, w_u32, w_u64 = (_array(t, False) for t in (types.uint8, types.uint16, u32, u64))
w_i32, w_i64, w_f64, w_bool = (_array(t, False) for t in (types.int32, i64, f64, boolean))

THREADS = max(1, min(os.cpu_count() or 1, config.NUMBA_NUM_THREADS))

# Kernels allocate nothing, so arrays need no reference counts, whose atomic instructions cost
# up to two thirds of the time of a kernel that hands arrays to device functions.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}

registry: list["Kernel"] = []
_compile_lock = threading.RLock()
_parallel_lock = threading.RLock()
_announced = False
_forked = False


@functools.cache
def cache_directory() -> Path:
    """Return the directory of compiled kernels for this user, these versions and these sources."""
    digest = hashlib.sha256()
    package = Path(__file__).parent.parent  # kernels take constants from formats
    for source in sorted([*package.glob("kernels/*.py"), *package.glob("formats/*.py")]):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    flags = f"{config.BOUNDSCHECK}|{sys.implementation.cache_tag}"
    name = f"numba-{numba.__version__}-numpy-{np.__version__}-{digest.hexdigest()[:16]}"
    root = os.environ.get("BITDEX_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "bitdex"
    )
    return Path(root) / f"{name}-{hashlib.sha256(flags.encode()).hexdigest()[:8]}"


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
        return cache_directory().name

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
            _announce()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            print(f"bitdex: kernels are not cached: {error}", file=sys.stderr)


class _SerialCache(_Cache):
    _impl_class = _SerialImplementation


def _announce() -> None:
    global _announced
    if not _announced:
        _announced = True
        print(
            "bitdex: compiling kernels, once per machine (`bitdex warmup` compiles all)",
            file=sys.stderr,
        )


class Kernel:
    """A function on arrays with one signature, compiled at its first call.

    Kernels release the GIL. A kernel marked parallel starts a team of threads; teams
    take turns, because not every Numba threading layer allows two at once. A fork has no
    team, and OpenMP would end it: there the kernel is compiled again, for one thread.
    """

    def __init__(self, function: Callable, signature: Any, parallel: bool):
        functools.update_wrapper(self, function)
        self.python = function
        self.signature = signature
        self.parallel = parallel
        self._compiled: Callable | None = None
        self._of_parent: Callable | None = None
        registry.append(self)

    def compile(self) -> Callable:
        """Compile this kernel, or read it from the cache, and return the compiled function."""
        with _compile_lock:
            if self._compiled is None:
                serial = self.parallel and _forked
                dispatcher = numba.njit(parallel=self.parallel and not serial, **_OPTIONS)(self.python)
                dispatcher._cache = _SerialCache(self.python) if serial else _Cache(self.python)
                dispatcher.compile(self.signature)
                dispatcher.disable_compile()
                self._compiled = dispatcher
        return self._compiled

    def __call__(self, *arguments: Any) -> Any:
        if not JIT_ENABLED:
            with np.errstate(all="ignore"):
                return self.python(*arguments)
        compiled = self._compiled or self.compile()
        if self.parallel:
            with _parallel_lock:
                return compiled(*arguments)
        return compiled(*arguments)


def _forget_threads() -> None:
    """Let a fork compile its parallel kernels anew, and take no lock that a thread it lacks has held."""
    global _forked, _compile_lock, _parallel_lock
    _forked, _compile_lock, _parallel_lock = True, threading.RLock(), threading.RLock()
    for one in registry:
        if one.parallel:
            one._of_parent, one._compiled = one._compiled, None  # which is not to be freed here


def _hold_compiler() -> None:
    """Wait until no thread is in the compiler: a fork would inherit its locks, held for ever."""
    _compile_lock.acquire()
    _llvm_lock.__enter__()  # taken outside of compilations too, where machine code is freed
    if _find_frames is not None:
        _find_frames(None, ctypes.create_string_buffer(64))


def _let_go() -> None:
    _llvm_lock.__exit__(None, None, None)
    _compile_lock.release()


def _begin_anew() -> None:
    _llvm_lock.__exit__(None, None, None)
    _forget_threads()


def _frame_finder() -> Any:
    """Return a function that takes the lock under which the code of kernels is registered, for a moment.

    A thread that ends takes it as well (it unwinds its stack), and in a fork at that moment the next kernel
    would be waited for without end. Who has had the lock just before the fork meets nobody in it, or hardly.
    """
    try:
        found = ctypes.PyDLL("libgcc_s.so.1")._Unwind_Find_FDE
    except (OSError, AttributeError):
        return None  # another C library
    found.argtypes, found.restype = [ctypes.c_void_p, ctypes.c_char_p], ctypes.c_void_p
    return found


_find_frames = _frame_finder()
_llvm_lock: Any = getattr(getattr(llvm, "lib", None), "_lock", nullcontext())
os.register_at_fork(before=_hold_compiler, after_in_parent=_let_go, after_in_child=_begin_anew)


def kernel(*arguments: Any, returns: Any = void, parallel: bool = False) -> Callable:
    """Declare the signature of a kernel."""

    def decorate(function: Callable) -> Kernel:
        return Kernel(function, returns(*arguments), parallel)

    return decorate


def device(function: Callable) -> Callable:
    """Declare a function that only kernels call; it is compiled into them."""
    return numba.njit(**_OPTIONS)(function)


def foreign(function: Callable) -> Any:
    """Let Numba compile what somebody else wrote when it is called, for whatever types, and cache nothing."""
    return numba.njit(nogil=True, error_model="numpy")(function)


@contextmanager
def compiling() -> Iterator[None]:
    """Hold the compiler, so that no fork inherits it half-way."""
    with _compile_lock:
        yield


prange = numba.prange
