"""CRC-32C (Castagnoli), the checksum of every frame and file header.

x86-64 and aarch64 compute eight bytes an instruction; elsewhere a table does one
byte a step. The polynomial and test vectors are those of RFC 3720, appendix B.4.

A CRC is linear. With S(x) for the state, begun with 0, after all bytes before x, the state
after the bytes a to b that was begun with s is ``advance(s ^ S(a), b - a) ^ S(b)``: where S is
known at every `STRIDE`-th byte, the checksum of any stretch costs no more than a short one.
"""

import platform
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from bitdex.kernels.jit import JIT_ENABLED, device, i64, kernel, r_u8, u32, w_u32
from bitdex.kernels.memory import load64

POLYNOMIAL = 0x82F63B78  # reflected


def _make_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(POLYNOMIAL), table >> 1)
    return table.astype(np.uint32)


TABLE = _make_table()
_INTEGERS: list[int] = TABLE.tolist()

_X86 = {8: "llvm.x86.sse42.crc32.32.8", 64: "llvm.x86.sse42.crc32.64.64"}
_ARM = {8: "llvm.aarch64.crc32cb", 64: "llvm.aarch64.crc32cx"}


def _instructions() -> dict[int, str] | None:
    machine = platform.machine().lower()
    features = numba.core.codegen.get_host_cpu_features()
    if machine in ("x86_64", "amd64") and "+sse4.2" in features:
        return _X86
    if machine in ("aarch64", "arm64") and "+crc" in features:
        return _ARM
    return None


def _step(bits: int, name: str, value_type: Any) -> Any:
    wide = bits == 64 and name.startswith("llvm.x86")  # this one takes and gives 64 bits
    operand = ir.IntType(32 if bits == 8 and name.startswith("llvm.aarch64") else bits)
    state = ir.IntType(64 if wide else 32)

    def typer(typingctx: Any, crc: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
            crc, value = arguments
            signature = ir.FunctionType(state, [state, operand])
            function = cgutils.get_or_insert_function(builder.module, signature, name)
            if wide:
                crc = builder.zext(crc, state)
            if operand.width > value.type.width:
                value = builder.zext(value, operand)
            result = builder.call(function, [crc, value])
            return builder.trunc(result, ir.IntType(32)) if wide else result

        return types.uint32(types.uint32, value_type), codegen

    return intrinsic(typer)


def _table_byte(crc: Any, value: Any) -> Any:
    return TABLE[(crc ^ np.uint32(value)) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))


def _table_word(crc: Any, value: Any) -> Any:
    crc = np.uint32(crc)
    for shift in range(0, 64, 8):
        byte = np.uint32((value >> np.uint64(shift)) & np.uint64(0xFF))
        crc = TABLE[(crc ^ byte) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return crc


HARDWARE = _instructions() if JIT_ENABLED else None
if HARDWARE:
    crc_byte = _step(8, HARDWARE[8], types.uint8)
    crc_word = _step(64, HARDWARE[64], types.uint64)
else:
    crc_byte = device(_table_byte)
    crc_word = device(_table_word)


def _update(crc: Any, data: Any, start: Any, size: Any) -> Any:
    """Continue an inverted CRC state over ``data[start:start + size]``."""
    at = start
    stop = start + size
    while at + 8 <= stop:
        crc = crc_word(crc, load64(data, at))
        at += 8
    while at < stop:
        crc = crc_byte(crc, data[at])
        at += 1
    return crc


def _update_plainly(crc: Any, data: Any, start: Any, size: Any) -> Any:
    """As `_update`; without a compiler NumPy's integers would take fifty times as long as Python's."""
    state, stop = int(crc), int(start + size)
    if not 0 <= start <= stop <= len(data):
        raise IndexError(f"bytes {start} to {stop} of {len(data)}")
    for at in range(int(start), stop, 1 << 16):
        for byte in data[at : min(at + (1 << 16), stop)].tolist():
            state = _INTEGERS[(state ^ byte) & 0xFF] ^ (state >> 8)
    return np.uint32(state)


crc_update: Any = device(_update) if JIT_ENABLED else _update_plainly


@kernel(r_u8, i64, i64, u32, returns=u32)
def crc32c_range(data: Any, start: Any, size: Any, seed: Any) -> Any:
    """Return the CRC-32C of ``data[start:start + size]``, continuing from ``seed`` (0 to begin)."""
    return np.uint32(~crc_update(np.uint32(~seed), data, start, size))


def _multiply(one: Any, other: Any) -> Any:
    """Multiply two polynomials modulo that of the checksum; the highest bit is the coefficient of 1."""
    product = one ^ one
    for bit in range(31, -1, -1):
        product ^= other * ((one >> np.uint32(bit)) & np.uint32(1))
        other = (other >> np.uint32(1)) ^ np.uint32(POLYNOMIAL) * (other & np.uint32(1))
    return product


def _make_powers() -> np.ndarray:
    powers = [np.uint32(1 << 23)]  # x**8: one byte
    for _ in range(47):
        powers.append(_multiply(powers[-1], powers[-1]))
    return np.array(powers)


STRIDE = 1024
POWERS = _make_powers()  # x**(8 * 2**k)
multiply = device(_multiply)


@device
def advance(state: Any, size: Any) -> Any:
    """Return a CRC state after `size` zero bytes."""
    power = 0
    while size > 0:
        if size & 1:
            state = multiply(POWERS[power], state)
        size >>= 1
        power += 1
    return state


@kernel(r_u8, i64, i64, w_u32)
def crc_states(data: Any, start: Any, end: Any, out: Any) -> None:
    """Fill `out` with the states, begun with 0, at `start` and every `STRIDE` bytes from there."""
    state = np.uint32(0)
    for i in range(len(out)):
        out[i] = state
        state = crc_update(state, data, start + i * STRIDE, min(STRIDE, end - start - i * STRIDE))


@device
def crc_state_at(data: Any, start: Any, at: Any, states: Any) -> Any:
    """Return the state, begun with 0 at `start`, of the bytes before `at`."""
    nearest = (at - start) // STRIDE
    return crc_update(states[nearest], data, start + nearest * STRIDE, (at - start) % STRIDE)


def crc32c(data: bytes | np.ndarray, seed: int = 0) -> int:
    """Return the CRC-32C of a bytes-like object.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    array = np.frombuffer(data, np.uint8) if not isinstance(data, np.ndarray) else data
    return int(crc32c_range(array, 0, len(array), np.uint32(seed)))
