"""The compiler: the decorator of every kernel, its options and types.

No other module decides how a kernel is compiled. A kernel declares one signature; it
is compiled (or read from the cache) when it is first called, never at import. Array
inputs are declared read-only, which accepts read-only and writable arrays alike, so
that memory maps, Arrow buffers and pandas columns pass without a copy.

The compiler is not to be left half-way: an interrupt waits until the kernel is there (`whole`).

Machine code is kept in `kernels.cache`.
"""

import ctypes
import functools
import os
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite.binding import ffi as llvm
from numba import types
from numba.core import config as numba_config

from bitdex.kernels.cache import cache_of
from bitdex.uninterrupted import uninterrupted

Result = TypeVar("Result")
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
_forked = False


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
        return whole(self._compile)

    def _compile(self) -> Callable:
        if self._compiled is None:
            serial = self.parallel and _forked
            dispatcher = numba.njit(parallel=self.parallel and not serial, **_OPTIONS)(self.python)
            dispatcher._cache = cache_of(self.python, serial) or dispatcher._cache
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


def whole(work: Callable[[], Result]) -> Result:
    """Use the compiler: no fork inherits it half-way, and what interrupts it is raised behind its end."""
    with _compile_lock:
        return uninterrupted(work)


prange = numba.prange
