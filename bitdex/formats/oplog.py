"""``ops_a.log`` and ``ops_b.log``: frames one after the other behind a header.

::

    | header 64 | frame | frame | ... | frame with COMMIT | frame | ...

The header's `generation` is the sequence below which the log holds nothing. A log is
read from its start: frames are taken batch by batch, a batch counting when all its
frames hold up to the one with the COMMIT flag, and when the store's commit covers its
sequence. What follows the last such batch is the torn tail of a writer that died, and
is overwritten by the next one: zeros take its place before anything is appended.

After a power cut any part of what was not synced may be missing, so later batches may stand
behind a torn one; they are cut off with it. But when a frame that does not hold is followed,
anywhere behind it, by the first frame of a later batch with the SYNCED flag, which says that
all before it was on the device, then bytes in the middle are damaged: that is an error and
never cut. So is a sequence that goes down, and a batch that is there twice. Damage in the
last batch is an error too if the commit record says that the log reaches further (`floor`).
"""

import numpy as np

from bitdex.formats import header

MAGIC = b"BDXOPLOG"
VERSION = 1
START = header.SIZE


def encode_header(identity: int, generation: int) -> bytes:
    """Return the header of an empty log."""
    return header.encode(MAGIC, VERSION, identity, generation)


def decode_header(data: np.ndarray, name: str) -> np.void:
    """Return the header of a log, or refuse it."""
    return header.decode(data, MAGIC, VERSION, name)
