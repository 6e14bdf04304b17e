"""Unaligned little-endian loads, stores, copies and prefetches on byte arrays, and eight additions at once.

These are single machine instructions without a bounds check: a caller that parses
bytes from outside checks lengths against the array first. With NUMBA_BOUNDSCHECK=1
they raise IndexError like any other access, so that a run proves the checks of its
callers. With the JIT off the same names are plain Python, just as strict.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from bitdex.kernels.jit import JIT_ENABLED, config


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, size: Any = None) -> Any:
    """Return the address of an element; `size` bytes from there on are going to be used."""
    made = context.make_array(array_type)(context, builder, array)
    as_bytes = builder.bitcast(made.data, ir.IntType(8).as_pointer())
    item = ir.Constant(index.type, array_type.dtype.bitwidth // 8)
    step = builder.mul(index, item)
    if config.BOUNDSCHECK and size is not None:
        whole, one = builder.mul(made.nitems, item), ir.Constant(index.type, 1)
        last = builder.sub(whole, size)
        for place, stop in ((index, made.nitems), (size, whole), (step, last)):
            cgutils.do_boundscheck(context, builder, place, builder.add(stop, one))
    return builder.gep(as_bytes, [step])


def _loader(bits: int, result: Any) -> Any:
    def typer(typingctx: Any, array: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
            size = ir.Constant(arguments[1].type, bits // 8)
            where = _pointer(context, builder, sig.args[0], arguments[0], arguments[1], size)
            where = builder.bitcast(where, ir.IntType(bits).as_pointer())
            return builder.load(where, align=1)

        return result(array, types.int64), codegen

    return intrinsic(typer)


def _storer(bits: int, value_type: Any) -> Any:
    def typer(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
            size = ir.Constant(arguments[1].type, bits // 8)
            where = _pointer(context, builder, sig.args[0], arguments[0], arguments[1], size)
            where = builder.bitcast(where, ir.IntType(bits).as_pointer())
            builder.store(arguments[2], where, align=1)
            return context.get_dummy_value()

        return types.void(array, types.int64, value_type), codegen

    return intrinsic(typer)


def _copy_typer(typingctx: Any, out: Any, at: Any, source: Any, start: Any, size: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        size = arguments[4]
        target = _pointer(context, builder, sig.args[0], arguments[0], arguments[1], size)
        origin = _pointer(context, builder, sig.args[2], arguments[2], arguments[3], size)
        cgutils.raw_memcpy(builder, target, origin, size, 1)
        return context.get_dummy_value()

    return types.void(out, types.int64, source, types.int64, types.int64), codegen


def _prefetch_typer(typingctx: Any, array: Any, index: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        where = _pointer(context, builder, sig.args[0], arguments[0], arguments[1])
        word, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        signature = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
        flags = [ir.Constant(word, flag) for flag in (0, 3, 1)]  # read, keep, data
        builder.call(function, [where, *flags])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen


def _add8_typer(typingctx: Any, source: Any, start: Any, number: Any, out: Any, at: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        size = ir.Constant(arguments[1].type, 32)
        vector = ir.VectorType(ir.IntType(32), 8)
        origin = _pointer(context, builder, sig.args[0], arguments[0], arguments[1], size)
        target = _pointer(context, builder, sig.args[3], arguments[3], arguments[4], size)
        held = builder.load(builder.bitcast(origin, vector.as_pointer()), align=1)
        lanes = ir.Constant(vector, ir.Undefined)
        for lane in range(8):
            lanes = builder.insert_element(lanes, arguments[2], ir.Constant(ir.IntType(32), lane))
        total = builder.add(held, lanes)
        builder.store(total, builder.bitcast(target, vector.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(source, types.int64, types.uint32, out, types.int64), codegen


if JIT_ENABLED:
    load16 = _loader(16, types.uint16)
    load32 = _loader(32, types.uint32)
    load64 = _loader(64, types.uint64)
    store16 = _storer(16, types.uint16)
    store32 = _storer(32, types.uint32)
    store64 = _storer(64, types.uint64)
    copy: Any = intrinsic(_copy_typer)
    prefetch: Any = intrinsic(_prefetch_typer)
    add8: Any = intrinsic(_add8_typer)
else:

    def _bytes(array: np.ndarray, index: int, size: int) -> np.ndarray:
        start, size = int(index) * array.itemsize, int(size)
        if start < 0 or size < 0 or start + size > array.nbytes:
            raise IndexError(f"bytes {start} to {start + size} of {array.nbytes}")
        return array.view(np.uint8)[start : start + size]

    def load16(array: np.ndarray, index: int) -> np.uint16:
        return np.frombuffer(_bytes(array, index, 2).tobytes(), "<u2")[0]

    def load32(array: np.ndarray, index: int) -> np.uint32:
        return np.frombuffer(_bytes(array, index, 4).tobytes(), "<u4")[0]

    def load64(array: np.ndarray, index: int) -> np.uint64:
        return np.frombuffer(_bytes(array, index, 8).tobytes(), "<u8")[0]

    def store16(array: np.ndarray, index: int, value: int) -> None:
        _bytes(array, index, 2)[:] = np.array([int(value) & 0xFFFF], "<u2").view(np.uint8)

    def store32(array: np.ndarray, index: int, value: int) -> None:
        _bytes(array, index, 4)[:] = np.array([int(value) & 0xFFFFFFFF], "<u4").view(np.uint8)

    def store64(array: np.ndarray, index: int, value: int) -> None:
        word = int(value) & 0xFFFFFFFFFFFFFFFF
        _bytes(array, index, 8)[:] = np.array([word], "<u8").view(np.uint8)

    def copy(out: np.ndarray, at: int, source: np.ndarray, start: int, size: int) -> None:
        _bytes(out, at, size)[:] = _bytes(source, start, size)

    def prefetch(array: np.ndarray, index: int) -> None:
        pass

    def add8(source: np.ndarray, start: int, number: int, out: np.ndarray, at: int) -> None:
        held = np.frombuffer(_bytes(source, start, 32).tobytes(), "<u4") + np.uint32(number)
        _bytes(out, at, 32)[:] = held.view(np.uint8)
