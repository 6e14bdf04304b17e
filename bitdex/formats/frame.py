"""The frame: one operation on one key, the same bytes in a log and in ``data.bin``.

::

    0      4        8     16      24             24+length
    | crc  | length | key | order | payload ...  | zero padding to 8 |

`order` is ``sequence << 8 | flags | kind``. The sequence numbers the batch that wrote
the frame; all frames of a batch carry the same one, the first of them in a log the BEGIN
flag and the last the COMMIT flag, without which the batch does not count. SYNCED, beside BEGIN, says that
all before the batch was on the device when it was written. `crc` is the CRC-32C of the bytes
from `length` to the end of the payload, continued from the store's identity.

A record is the frames of one key in order. PUT starts it anew, MERGE adds to it,
DELETE ends it. Because a frame is copied from log to data and never re-encoded, its
checksum covers the value from the call that wrote it to the call that reads it.

Limits: payload up to 2^32 - 96 bytes, sequence below 2^56.
"""

from collections.abc import Iterable
from operator import index
from struct import Struct
from typing import Any

import numpy as np

from bitdex.errors import InvalidError
from bitdex.kernels.checksum import crc32c

FRAME = np.dtype(
    [
        ("crc", "<u4"),  # 0   CRC-32C of bytes 4 .. 24 + length
        ("length", "<u4"),  # 4   payload bytes
        ("key", "<u8"),  # 8
        ("order", "<u8"),  # 16  sequence << 8 | flags | kind
    ]
)
SIZE = 24
assert FRAME.itemsize == SIZE

PUT, MERGE, DELETE = 1, 2, 3
KIND_MASK = 0x0F
COMMIT = 0x10  # flag: last frame of its batch
BEGIN = 0x20  # flag: first frame of its batch
SYNCED = 0x40  # flag, with BEGIN: what stands before it in the log was on the device when it was written
MAX_PAYLOAD = (1 << 32) - 96  # with its head it fits into a region (`formats.data`), at any alignment
SEQUENCES = 1 << 56

Operation = tuple[int, int, bytes]  # kind, key, payload
_HEAD = Struct("<IIQQ")  # FRAME
assert _HEAD.size == SIZE


def order(sequence: int, kind: int, begin: bool = False, commit: bool = False, synced: bool = False) -> int:
    """Return the order word of a frame."""
    flags = BEGIN * begin | COMMIT * commit | SYNCED * synced
    return sequence << 8 | flags | kind


def padded(length: Any) -> Any:
    """Return the bytes that a frame with `length` bytes of payload takes (scalar or array)."""
    return (SIZE + length + 7) & ~7


def pack(operations: Iterable[Operation], sequence: int) -> bytearray:
    """Return a batch as frames one behind the other, still without flags and checksums.

    >>> len(pack([(PUT, 7, b"seven"), (DELETE, 8, b"")], 1))
    56
    """
    out, base = bytearray(), sequence << 8
    try:
        for kind, key, value in operations:
            payload = value if type(value) is bytes else memoryview(value).tobytes()
            if not (PUT <= kind <= DELETE and 0 <= key < 1 << 64 and len(payload) <= MAX_PAYLOAD):
                raise InvalidError(
                    f"operations: expected a kind from 1 to 3, a key from 0 to 2^64-1 and at most "
                    f"{MAX_PAYLOAD} bytes, found {kind}, {key} and {len(payload)} bytes"
                )
            out += _HEAD.pack(0, len(payload), index(key), base | kind)
            out += payload
            out += bytes(-len(payload) & 7)
    except TypeError as error:
        raise InvalidError(f"operations: expected integers for kind and key, and bytes: {error}") from None
    return out


def seed(identity: int) -> int:
    """Return the checksum state from which the frames of a store continue."""
    return crc32c(int(identity).to_bytes(8, "little"))


def encode(key: int, payload: bytes, order_word: int, identity: int) -> bytes:
    """Return one frame, padding included; the plain definition of the kernels in `kernels.frames`."""
    head = np.zeros(1, FRAME)
    head["length"], head["key"], head["order"] = len(payload), key, order_word
    head["crc"] = crc32c(head.tobytes()[4:] + payload, seed(identity))
    return (head.tobytes() + payload).ljust(int(padded(len(payload))), b"\0")
