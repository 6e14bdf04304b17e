"""``data.bin``: regions one after the other, each holding the frames of one record.

::

    file    | header 64 | region | region | ...
    region  | allocated u4 | check u4 | frame | frame | headroom ... |

`allocated` counts the bytes behind the 8-byte region header; the next region starts
right after them. `check` is the CRC-32C of the region's offset (u8) and `allocated`,
continued from the store's identity. Regions start at multiples of the silo's alignment;
with 32 the first payload of a region is 32-byte aligned (8 + 24 bytes of header).

A merge writes its frame into the headroom; the committed length of the record, kept in
the index, says where the headroom begins. Bytes behind it have no meaning yet. A frame
there belongs to a batch that is not committed, or that was given up: the store meta
lists the sequences given up.

What a rebuild of the index does: walk the regions up to the committed end, in file
order; in each, take frames while their checksum and key hold and their sequence is
committed; the last region of a key wins; a record ending in DELETE is gone. A region
whose frames are none of this (a dead or filler region) is stepped over.
"""

import numpy as np

from bitdex.formats import header

MAGIC = b"BDXDATA"
VERSION = 1
REGION = np.dtype([("allocated", "<u4"), ("check", "<u4")])
REGION_SIZE = 8
FIRST_REGION = header.SIZE
MAX_ALLOCATED = (1 << 32) - 64


def encode_header(identity: int, generation: int) -> bytes:
    """Return the header of an empty data file."""
    return header.encode(MAGIC, VERSION, identity, generation)


def decode_header(data: np.ndarray, name: str = "data.bin") -> np.void:
    """Return the header of a data file, or refuse it."""
    return header.decode(data, MAGIC, VERSION, name)
