"""Damaged keys: which document or bitmap a lost key is, what follows, and how it comes back."""

from dataclasses import replace
from pathlib import Path

from bitdex import registry_lost, registry_sets
from bitdex.documents import SLOTS
from bitdex.errors import CorruptError, InvalidError
from bitdex.formats import bitmap
from bitdex.registry import FieldRegistry
from bitdex.schema_versions import SchemaVersions
from bitdex.silo.remedies import NOTHING_LOST, UNTOUCHED, Repair

ANEW = (
    "restore a backup, or load all phases into a new index: loaded here again, this one cannot tell "
    "which of the old values are its own"
)
REBUILD = "nothing is lost: index.rebuild({}) makes the bitmaps anew from the documents; until then they lack"
TOLD_ANEW = "documents and phases tell it anew"
UNRECORDED = "no query finds the documents of which no record is left"


def field_names(path: Path, identity: int) -> dict[int, str]:
    """Return the names of the fields by number; none where the registry is damaged."""
    try:
        registry = FieldRegistry(path, identity)
    except CorruptError:
        return {}
    return {number: name for number in range(1, bitmap.FIELD_MAX + 1) if (name := registry.name(number))}


def rebuilt_fields(directory: Path, at: int, names: dict[int, str]) -> set[int]:
    """Return the fields, by number, whose bitmaps can be made anew from what documents hold."""
    try:
        fields = SchemaVersions(directory / "schema.json", at).last.schema.fields
    except (CorruptError, InvalidError):
        return set()  # which is told already
    rebuilt = {name for name, field in fields.items() if field.indexed and field.stored}
    return {number for number, name in names.items() if name in rebuilt}


def fields_of(one: Repair, made_anew: set[int]) -> set[int]:
    """Return the fields of which a damage of the bitmaps has taken some: all, where nobody knows which."""
    if one.severity != "error" or one.action == UNTOUCHED:
        return set()
    if one.key is None:
        return made_anew if Path(one.file).name.startswith("data.bin") else set()
    return made_anew & {bitmap.describe(one.key).field_id}


def states_of(one: Repair) -> set[str]:
    """Return of which bitmaps that say which documents there are a damage may have taken one."""
    if one.severity != "error" or one.action == UNTOUCHED:
        return set()
    if one.key is None:
        return set(registry_lost.STATES) if Path(one.file).name.startswith("data.bin") else set()
    return registry_lost.STATES.keys() & {bitmap.describe(one.key).kind}


def of_bitmaps(one: Repair, names: dict[int, str], made_anew: set[int]) -> Repair:
    """Say which bitmap a lost key of the bitmaps is, and how it comes back."""
    fields = fields_of(one, made_anew)
    if one.key is None:
        return replace(one, remedy=REBUILD.format("")) if fields else one
    parts = bitmap.describe(one.key)
    field = f" of field {names.get(parts.field_id, parts.field_id)!r}" if parts.field_id else ""
    value = "" if parts.value is None else f" {parts.value}"
    what = f"{one.what} (the bitmap {parts.kind}{value}{field})"
    if parts.kind == "set" and one.severity == "error":
        return replace(one, what=what, action=f"{one.action}; its name is taken out")
    if states_of(one):
        return replace(one, what=what, remedy=NOTHING_LOST, action=f"{one.action}; {TOLD_ANEW}")
    if fields:
        return replace(one, what=what, remedy=REBUILD.format([names[number] for number in fields]))
    return replace(one, what=what, remedy=ANEW if parts.kind == "phase" else one.remedy)


def of_documents(one: Repair) -> Repair:
    """Say which document a lost key of the documents is, or what lies behind them."""
    if one.action == UNTOUCHED:
        return one
    if one.key is None:
        of_some = one.severity == "error" and Path(one.file).name.startswith("data.bin")
        return replace(one, action=f"{one.action}; {UNRECORDED}") if of_some else one
    if one.key < SLOTS:
        held, done = f"document {one.key}", "no query finds it"
    elif one.key == registry_sets.KEY:
        held, done = "the names of the saved sets", "they are 'set 0', 'set 1' and so on from now on"
    else:
        held, done = "the cursors of feeds", "feeds begin anew"
    action = f"{one.action}; {done}" if one.severity == "error" else one.action
    return replace(one, what=f"{one.what} ({held})", action=action)
