"""An answer that is kept of a query: one record of the silo in ``cache/``.

::

    offset  size  field
    0       u64   total     documents that match
    8       u32   question  bytes of it
    12      u32   rows      slots that are kept
    16      u64   zero
    24      ...   question  UTF-8: JSON of the filter, as it is bound, and the sort
            ...   zeros     to a multiple of 8
            u64   words     of each row: its sort value, order-preserving (`formats.bitmap`), or 0
            u32   slots     of each row, in order
            u8    valued    of each row: whether it has a sort value, 1 or 0

The silo's frames carry checksums; a payload that holds and does not fit this is refused all the same.
"""

import struct
from typing import NamedTuple

import numpy as np

from bitdex.errors import CorruptError

HEAD = struct.Struct("<QIIQ")


class Answer(NamedTuple):
    """A question, how many documents answer it, and the first of them in order with their sort values.

    `valued` tells which rows have one.
    """

    question: str
    total: int
    slots: np.ndarray
    words: np.ndarray
    valued: np.ndarray


def encode(answer: Answer) -> bytes:
    """Return the payload of an answer."""
    question = answer.question.encode()
    head = HEAD.pack(answer.total, len(question), len(answer.slots), 0)
    padding = bytes(-len(question) % 8)
    words, slots = answer.words.astype("<u8"), answer.slots.astype("<u4")
    valued = answer.valued.astype("u1")
    return b"".join((head, question, padding, words.tobytes(), slots.tobytes(), valued.tobytes()))


def decode(payload: bytes, name: str) -> Answer:
    """Return the answer in a payload, or refuse it."""
    if len(payload) < HEAD.size:
        raise CorruptError.at(name, 0, f"expected {HEAD.size} bytes or more, found {len(payload)}")
    total, length, rows, zero = HEAD.unpack_from(payload)
    first = HEAD.size + length + -length % 8
    if first + 13 * rows != len(payload) or zero or rows > total:
        raise CorruptError.at(
            name,
            0,
            f"expected an answer of {len(payload)} bytes, found the head of one with "
            f"{total} documents, {rows} rows and {length} bytes of question",
        )
    try:
        question = payload[HEAD.size : HEAD.size + length].decode()
    except UnicodeDecodeError as error:
        raise CorruptError.at(name, HEAD.size, f"expected UTF-8, found {error}") from None
    if any(payload[HEAD.size + length : first]):
        raise CorruptError.at(name, HEAD.size + length, "expected zeros, found other bytes")
    words = np.frombuffer(payload, "<u8", rows, first)
    slots = np.frombuffer(payload, "<u4", rows, first + 8 * rows)
    valued = np.frombuffer(payload, "u1", rows, first + 12 * rows)
    if valued.max(initial=0) > 1:
        raise CorruptError.at(name, first + 12 * rows, f"expected 1 or 0, found {valued.max()}")
    return Answer(question, total, slots, words, valued.astype(np.bool_))
