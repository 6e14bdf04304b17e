"""An answer that is kept of a query: one record of the silo in ``cache/``.

::

    offset  size  field
    0       u64   total     documents that match
    8       u32   question  bytes of it
    12      u32   rows      slots that are kept
    16      u32   valued    consecutive rows that have a sort value
    20      u32   lead      rows without one that come before those
    24      ...   question  UTF-8: JSON of the filter, as it is bound, and the sort
            ...   zeros     to a multiple of 8
            u64   words     of each row that has a sort value, order-preserving (`formats.bitmap`)
            u32   slots     of each row, in order

The silo's frames carry checksums; a payload that holds and does not fit this is refused all the same.
"""

import struct
from typing import NamedTuple

import numpy as np

from bitdex.errors import CorruptError

HEAD = struct.Struct("<QIIII")


class Answer(NamedTuple):
    """A question, how many documents answer it, and the first of them in order with their sort values."""

    question: str
    total: int
    slots: np.ndarray
    words: np.ndarray
    lead: int = 0


def encode(answer: Answer) -> bytes:
    """Return the payload of an answer."""
    question = answer.question.encode()
    head = HEAD.pack(answer.total, len(question), len(answer.slots), len(answer.words), answer.lead)
    padding = bytes(-len(question) % 8)
    words, slots = answer.words.astype("<u8"), answer.slots.astype("<u4")
    return b"".join((head, question, padding, words.tobytes(), slots.tobytes()))


def decode(payload: bytes, name: str) -> Answer:
    """Return the answer in a payload, or refuse it."""
    if len(payload) < HEAD.size:
        raise CorruptError(f"{name}: offset 0: expected {HEAD.size} bytes or more, found {len(payload)}")
    total, length, rows, valued, lead = HEAD.unpack_from(payload)
    first = HEAD.size + length + -length % 8
    stop = first + 8 * valued + 4 * rows
    if stop != len(payload) or not lead + valued <= rows <= total:
        raise CorruptError(
            f"{name}: offset 0: expected an answer of {len(payload)} bytes, found the head of one with "
            f"{total} documents, {rows} rows, {valued} values and {length} bytes of question"
        )
    try:
        question = payload[HEAD.size : HEAD.size + length].decode()
    except UnicodeDecodeError as error:
        raise CorruptError(f"{name}: offset {HEAD.size}: expected UTF-8, found {error}") from None
    if any(payload[HEAD.size + length : first]):
        raise CorruptError(f"{name}: offset {HEAD.size + length}: expected zeros, found other bytes")
    words = np.frombuffer(payload, "<u8", valued, first)
    return Answer(question, total, np.frombuffer(payload, "<u4", rows, first + 8 * valued), words, lead)
