"""Frames in an array, made by the plain definition, for tests of kernels."""

import numpy as np

from bitdex.formats import frame

IDENTITY = 4711
SEED = np.uint32(frame.seed(IDENTITY))


def u64(values):
    """Return an array of keys or words."""
    return np.array(list(values), np.uint64)


def packed(payloads):
    """Return payloads as packed bytes and offsets."""
    offsets = np.zeros(len(payloads) + 1, np.int64)
    np.cumsum([len(one) for one in payloads], out=offsets[1:])
    return np.frombuffer(b"".join(payloads), np.uint8).copy(), offsets


def frames_at(operations, start=0):
    """Return an array with the frames of (key, payload, order word) from `start` on, and their places."""
    parts = [frame.encode(key, payload, word, IDENTITY) for key, payload, word in operations]
    places = start + np.cumsum([0, *map(len, parts)])[:-1].astype(np.int64)
    return np.frombuffer(bytes(start) + b"".join(parts), np.uint8).copy(), places.astype(np.int64)


def read_frames(data, start, end):
    """Return (kind, payload) of the frames in a range, checking key and checksum of each."""
    found, at = [], start
    while at < end:
        size = int(data[at + 4 : at + 8].view("<u4")[0])
        key, word = (int(one) for one in data[at + 8 : at + 24].copy().view("<u8"))
        payload = data[at + 24 : at + 24 + size].tobytes()
        whole = frame.encode(key, payload, word, IDENTITY)
        assert data[at : at + 24 + size].tobytes() == whole[: 24 + size]
        found.append((key, word & frame.KIND_MASK, payload))
        at += len(whole)
    return found
