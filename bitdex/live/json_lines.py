"""Lines of JSON, one object each: parsed into columns, or one by one.

Both ways take the same lines. Columns are made only of a block in which every line that is not blank begins
with ``{`` and gives one row: Arrow also takes values that share a line or spread over several, and ends the
process where a block begins with ``null``.
"""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json

from bitdex.errors import InvalidError

PIECE = 1 << 20  # bytes that are parsed at a time, at least
NEWLINE, BRACE = ord("\n"), ord("{")


def columns_of_lines(lines: bytes, types: pa.Schema) -> pa.Table | None:
    """Return lines as columns of these types, others left out; None where they take a look at each."""
    longest, objects = _measured(lines)
    if objects < 0:
        return None
    try:
        table = pa.json.read_json(
            io.BytesIO(lines),
            pa.json.ReadOptions(block_size=max(PIECE, longest + 1)),
            pa.json.ParseOptions(explicit_schema=types, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:
        return None
    return table if len(table) == objects else None


def _measured(lines: bytes) -> tuple[int, int]:
    """Return the bytes of the longest line and how many begin with ``{``; -1 where one does not."""
    try:
        lines.decode()
    except UnicodeDecodeError:
        return 0, -1
    text = np.frombuffer(lines, np.uint8)
    ends = np.append(np.flatnonzero(text == NEWLINE), len(text))
    starts = np.append(0, ends[:-1] + 1)
    filled = starts < ends
    starts, lengths = starts[filled], (ends - starts)[filled]
    begins = text[starts] == BRACE
    objects = int(begins.sum())
    for start, length in zip(starts[~begins].tolist(), lengths[~begins].tolist()):
        line = lines[start : start + length].lstrip()
        if line and line[0] != BRACE:
            return 0, -1
        objects += bool(line)
    return int(lengths.max(initial=0)), objects


def object_of(line: str | bytes) -> Mapping[str, Any]:
    """Return the object of one line.

    Raises
    ------
    InvalidError
        If it holds anything else.
    """
    try:
        record = json.loads(line)
    except (ValueError, TypeError) as error:
        raise InvalidError(f"no JSON: {line!r:.80}: {error}") from None
    except RecursionError:
        raise InvalidError(f"no JSON: {line!r:.80}: nested too deeply") from None
    if not isinstance(record, dict):
        raise InvalidError(f"no JSON object: {line!r:.80}")
    return record
