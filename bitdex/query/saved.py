"""Saved answers: questions as text, and of which state of an index answers are true.

A question is JSON: a bound filter in native form (`bitdex.query.json`), and the sort, or null for a count::

    [{"And": [{"Eq": ["nsfwLevel", 1]}, {"Gte": ["sortAt", 1700000000]}]}, "-reactionCount"]
"""

import hashlib
import json
from collections.abc import Hashable
from typing import Any

import numpy as np

from bitdex.errors import InvalidError
from bitdex.formats.answer import Answer
from bitdex.query.clauses import Between, Clause, Membership, Not, Presence
from bitdex.query.formats_json import read_native
from bitdex.query.rank import Rows, Sort
from bitdex.query.snapshot import Snapshot

_EMPTY = Rows.without_values(np.empty(0, np.uint32))


def state_of(snapshot: Snapshot) -> str:
    """Return what is the same only where the same documents are shown by the same schema."""
    schema = json.dumps(snapshot.schema.to_mapping(), sort_keys=True)
    content = schema.encode() + b"\0" + snapshot.activated.serialize()
    return f"{snapshot.sequence} {hashlib.blake2b(content, digest_size=16).hexdigest()}"


def to_answer(key: Any, value: Any) -> Answer:
    """Return what is kept under a key (`bitdex.query.answers`), to be saved."""
    clause, sort = key
    total, rows = (value, _EMPTY) if sort is None else value
    question = json.dumps([_native(clause), None if sort is None else str(sort)])
    return Answer(question, total, rows.slots, rows.words, rows.valued)


def from_answer(answer: Answer) -> tuple[Clause, Sort | None, Any]:
    """Return clause, sort and value of what was saved; `InvalidError` if it is no question."""
    try:
        clause, sort = json.loads(answer.question)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidError(f"a saved question is not JSON of a filter and a sort: {error}") from None
    if sort is None:
        return read_native(clause), None, answer.total
    return (
        read_native(clause),
        Sort.parse(sort),
        (answer.total, Rows(answer.slots, answer.words, answer.valued)),
    )


def _native(clause: Hashable) -> dict[str, Any]:
    """Return a clause, or what `dependence.key_of` makes of one, in the native form."""
    if isinstance(clause, tuple):
        kind, content = clause
        if kind is Not:
            return {"Not": _native(content)}
        return {kind.__name__: sorted(map(_native, content), key=repr)}
    one: Any = clause
    name = type(one).__name__
    if isinstance(one, Presence):
        return {name: one.field}
    if isinstance(one, Membership):
        return {name: [one.field, list(one.values)]}
    return {name: [one.field, one.low, one.high] if isinstance(one, Between) else [one.field, one.value]}
