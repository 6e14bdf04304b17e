"""Labels of a schema: a default that is a label has its number before anybody asks for it.

Else it would get one in the middle of something: with the first document that is given it, or with a batch
that comes to nothing; and what was asked before means another number than what is asked behind it.
"""

from bitdex.dictionaries import Dictionaries
from bitdex.registry import FieldRegistry
from bitdex.schema import Schema


def number_defaults(schema: Schema, registry: FieldRegistry, dictionaries: Dictionaries) -> None:
    """Number the labels that are defaults; they are saved like any other, with the next commit."""
    fields = [f for f in schema.fields.values() if f.is_labelled and f.default is not None]
    registry.ensure([f.name for f in fields])
    for f in fields:
        dictionaries.ensure(registry.number(f.name), [str(f.default)], f.case_sensitive)
