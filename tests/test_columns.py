"""Arrow columns to documents and back, folding, and what is refused."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex import columns
from bitdex.columns import Column, decode_columns, encode_columns, fold_documents, scan_fields
from bitdex.errors import CorruptError, InvalidError
from bitdex.formats.document import Append, Remove, decode_document, decode_record, encode_document
from tests.formats.test_document import EDGES, changes, integer_lists, integers, same, texts

quick = settings(max_examples=100, derandomize=True, deadline=None)

KINDS = {
    "integer": (pa.int64(), integers),
    "boolean": (pa.bool_(), st.booleans()),
    "float": (pa.float64(), st.floats(allow_nan=False)),
    "string": (pa.string(), texts),
    "list": (pa.list_(pa.int64()), integer_lists),
}


def pack(payloads):
    """Return payloads as one array and offsets."""
    offsets = np.cumsum([0, *map(len, payloads)])
    return np.frombuffer(b"".join(payloads), np.uint8), offsets


def unpack(data, offsets):
    assert offsets[0] == 0 and offsets[-1] == len(data)
    return [data[a:b].tobytes() for a, b in pairwise(offsets)]


def packed_records(records):
    """Return the arrays of records, each a list of payloads."""
    payloads = [payload for record in records for payload in record]
    return *pack(payloads), np.cumsum([0, *map(len, records)])


@st.composite
def tables(draw):
    """Columns of some rows with nulls, cut out of longer arrays, and the documents they mean."""
    rows, cut = draw(st.integers(0, 6)), draw(st.integers(0, 3))
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), max_size=5))
    table, meant = [], [{} for _ in range(rows)]
    for field, kind in enumerate(kinds, 1):
        arrow, values = KINDS[kind]
        column = draw(st.lists(st.one_of(st.none(), values), min_size=rows + cut, max_size=rows + cut))
        append = kind == "list" and draw(st.booleans())
        table.append(Column(field, kind, pa.array(column, arrow)[cut:], append))
        for document, value in zip(meant, column[cut:]):
            if value is not None and value != []:
                document[field] = Append(value) if append else value
    return table, meant


@quick
@given(tables())
def test_columns_encode_as_their_rows_do(table_and_documents):
    table, meant = table_and_documents
    assert unpack(*encode_columns(table, len(meant))) == [encode_document(document) for document in meant]


@quick
@given(tables())
def test_columns_come_back(table_and_documents):
    table, meant = table_and_documents
    data, offsets = encode_columns(table, len(meant))
    arrays = decode_columns(data, offsets, [(column.field_id, column.kind) for column in table])
    for array in arrays:
        array.validate(full=True)
    plain = [decode_document(encode_document(document)) for document in meant]
    assert same([array.to_pylist() for array in arrays], [[d.get(c.field_id) for d in plain] for c in table])
    assert scan_fields(data, offsets) == sorted(set().union(*plain))


@quick
@given(
    st.lists(
        st.lists(st.lists(st.tuples(st.integers(1, 4), changes), max_size=4), max_size=4),
        max_size=4,
    )
)
def test_folding_makes_what_the_payloads_make(records):
    encoded = [
        [b"".join(encode_document(dict([entry])) for entry in payload) for payload in record]
        for record in records
    ]
    folded = unpack(*fold_documents(*packed_records(encoded)))
    for payload, record in zip(folded, encoded, strict=True):
        found, expected = decode_document(payload), decode_record(record)
        assert same(sorted(found.items()), sorted(expected.items()))
        before = encode_document(dict.fromkeys(found, "before"))
        assert same(decode_record([before, payload]), found)  # every entry replaces


def test_integers_and_lists_at_the_edges_of_their_widths_take_the_bytes_they_need():
    near = sorted({min(max(edge + step, -(2**63)), 2**63 - 1) for edge in EDGES for step in (-1, 0, 1)})
    pairs = [[one, other] for one in near for other in near[::3]]
    table = [Column(1, "integer", pa.array([one for one, _ in pairs])), Column(2, "list", pa.array(pairs))]
    data, offsets = encode_columns(table, len(pairs))
    assert unpack(data, offsets) == [encode_document({1: pair[0], 2: pair}) for pair in pairs]
    numbers, lists = decode_columns(data, offsets, [(1, "integer"), (2, "list")])
    assert (numbers.to_pylist(), lists.to_pylist()) == ([one for one, _ in pairs], pairs)


def test_folding_keeps_the_order_in_which_fields_were_seen():
    record = [encode_document({5: 1, 3: [1], 9: "a"}), encode_document({9: "b", 2: 1, 3: Append([2]), 5: 7})]
    (payload,) = unpack(*fold_documents(*packed_records([record])))
    assert payload == encode_document({5: 7, 3: [1, 2], 9: "b", 2: 1})


def test_folding_widens_lists_beyond_the_size_of_the_payloads():
    record = [encode_document({1: [200] * 1000}), encode_document({1: Append([2**63 - 1, -1])})]
    (payload,) = unpack(*fold_documents(*packed_records([record])))
    assert len(payload) > 7 * sum(map(len, record))
    assert payload == encode_document({1: [200] * 1000 + [2**63 - 1, -1]})


def test_folding_narrows_a_list_that_lost_its_large_elements():
    record = [encode_document({1: [1, 2**40, 2]}), encode_document({1: Remove([2**40])})]
    assert unpack(*fold_documents(*packed_records([record]))) == [encode_document({1: [1, 2]})]


def test_records_for_python_stand_between_records_for_the_kernel():
    plain = [encode_document({1: 1, 2: [3]}), encode_document({2: Append([4])})]
    mixed = [encode_document({1: "a", 2: ["b"]}), encode_document({2: Append([4])})]
    scalar = [encode_document({2: 3}), encode_document({2: Append([4])})]
    records = [mixed, plain, [], scalar, plain, mixed]
    expected = [encode_document(decode_record(record)) for record in records]
    assert unpack(*fold_documents(*packed_records(records))) == expected


def test_many_blocks_make_what_one_block_makes(monkeypatch):
    rows = 100
    table = [
        Column(1, "integer", pa.array([i * i - 5 for i in range(rows)])),
        Column(2, "string", pa.array(["x" * (i % 7) if i % 3 else None for i in range(rows)])),
        Column(3, "list", pa.array([list(range(i % 5)) for i in range(rows)]), append=True),
    ]
    fields = [(1, "integer"), (2, "string"), (3, "list")]
    once = encode_columns(table, rows)
    records = (*once, np.arange(0, rows + 1, 2))
    expected = [*unpack(*once), *decode_columns(*once, fields), *unpack(*fold_documents(*records))]
    monkeypatch.setattr(columns, "BLOCK", 7)
    monkeypatch.setattr("bitdex.kernels.document_fold.BLOCK", 7)
    again = encode_columns(table, rows)
    assert [*unpack(*again), *decode_columns(*again, fields), *unpack(*fold_documents(*records))] == expected


@pytest.mark.parametrize(
    ("kind", "array", "expected"),
    [
        ("integer", pa.array([1, None, 255], pa.uint8()), [1, None, 255]),
        ("integer", pa.array([2**63 - 1, None], pa.uint64()), [2**63 - 1, None]),
        ("integer", pa.nulls(2), [None, None]),
        ("float", pa.array([0.5, None], pa.float32()), [0.5, None]),
        ("float", pa.array([3, None]), [3.0, None]),
        ("string", pa.array(["a", None, "b", "a"]).dictionary_encode(), ["a", None, "b", "a"]),
        ("string", pa.array(["a", "é"], pa.large_string()), ["a", "é"]),
        ("list", pa.array([[1, 2], None, [300]], pa.large_list(pa.uint16())), [[1, 2], None, [300]]),
        ("list", pa.array([[1, 2], None], pa.list_(pa.int32(), 2)), [[1, 2], None]),
        ("list", pa.array([[1, None], [2]])[1:], [[2]]),
        ("list", pa.array([[], None], pa.list_(pa.int64())), [None, None]),
    ],
)
def test_arrow_types_that_hold_the_kind_are_taken(kind, array, expected):
    packed = encode_columns([Column(1, kind, array)], len(array))
    assert decode_columns(*packed, [(1, kind)])[0].to_pylist() == expected


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (Column(3, "integer", pa.array([2**63], pa.uint64())), "field 3: a value does not fit int64"),
        (Column(3, "list", pa.array([[2**63]], pa.list_(pa.uint64()))), "field 3: a value does not fit"),
        (Column(3, "list", pa.array([[1, None]])), "field 3: a list holds a null"),
        (Column(3, "float", pa.array([2**53 + 1])), "field 3: a value does not fit double"),
        (Column(3, "integer", pa.array(["1"])), "field 3: a column of string is no integer column"),
        (Column(3, "list", pa.array([["a"]])), "is no list column"),
        (Column(3, "integer", pa.array([1, 2])), "field 3: 2 values for 1 rows"),
        (Column(3, "int", pa.array([1])), "unknown kind 'int'; accepted are integer"),
        (Column(3, "integer", pa.array([1]), append=True), "a integer column cannot append"),
        (Column(0, "integer", pa.array([1])), "field id 0 is outside"),
        (Column(65_536, "integer", pa.array([1])), "field id 65536 is outside"),
    ],
)
def test_columns_that_cannot_be_stored_are_refused(column, message):
    with pytest.raises(InvalidError, match=message):
        encode_columns([column], 1)


def test_values_of_another_kind_are_read_where_nothing_is_lost():
    packed = pack([encode_document({1: True, 2: 2**53, 3: 5}), encode_document({1: 7, 2: 0.5}), b""])
    booleans, floats, absent = decode_columns(*packed, [(1, "integer"), (2, "float"), (9, "list")])
    assert booleans.to_pylist() == [1, 7, None]
    assert floats.to_pylist() == [2.0**53, 0.5, None]
    assert absent.to_pylist() == [None, None, None]


@pytest.mark.parametrize(
    ("value", "kind"),
    [(1, "boolean"), (1.0, "integer"), ("1", "integer"), (2**53 + 1, "float"), (2**63 - 1, "float")]
    + [(True, "float"), (1, "string"), ([1], "string"), ("a", "list"), (["a"], "list"), ([1], "float")],
)
def test_values_of_another_kind_are_named(value, kind):
    packed = pack([b"", encode_document({4: value})])
    with pytest.raises(InvalidError, match=f"document row 1, field 4: .* is no {kind}"):
        decode_columns(*packed, [(4, kind)])


def test_entries_of_one_payload_apply_in_order_when_decoded():
    entries = [
        {1: [1, 5]},
        {2: 5},
        {1: Append([2])},
        {2: None},
        {1: Remove([1])},
        {3: Append([9])},
        {4: Remove([1])},
    ]
    packed = pack([b"".join(map(encode_document, entries)), encode_document({1: [7]})])
    lists, gone, appended, none = decode_columns(
        *packed, [(1, "list"), (2, "integer"), (3, "list"), (4, "list")]
    )
    assert lists.to_pylist() == [[5, 2], [7]]
    assert gone.to_pylist() == [None, None]
    assert appended.to_pylist() == [[9], None]
    assert none.to_pylist() == [None, None]


@pytest.mark.parametrize("offsets", [[], [0, 9], [-1, 3], [0, 3, 2], [4]])
def test_offsets_beyond_the_bytes_are_refused(offsets):
    with pytest.raises(InvalidError, match="not ascending numbers from 0 to 3"):
        decode_columns(np.zeros(3, np.uint8), np.array(offsets, np.int64), [(1, "integer")])


def test_a_field_asked_for_twice_is_refused():
    with pytest.raises(InvalidError, match="field 1 is asked for twice"):
        decode_columns(*pack([b""]), [(1, "integer"), (1, "float")])


DAMAGE = [("01002201", "ends at byte 5"), ("010012", "unknown tag 0x12"), ("000010", "field id 0")]
DAMAGE += [("010050ff0200", "ends at byte 8"), ("0100280000000000000080", "at most 2[*][*]63-1")]


@pytest.mark.parametrize(("payload", "message"), DAMAGE)
def test_damage_is_named_with_row_and_offset(payload, message):
    good = encode_document({1: 1})
    packed = pack([good, good, bytes.fromhex(payload)])
    for read in (
        lambda: decode_columns(*packed, [(1, "integer")]),
        lambda: scan_fields(*packed),
        lambda: fold_documents(*packed, np.arange(4)),
    ):
        with pytest.raises(CorruptError, match=f"document row 2 at byte {2 * len(good)}: .*({message})"):
            read()


def test_text_that_is_not_utf8_is_named_with_row_and_offset():
    packed = pack([encode_document({1: "é"}), bytes.fromhex("010050 02 c361")])
    with pytest.raises(CorruptError, match=r"document row 1 at byte 6: document byte 4: .*not UTF-8"):
        decode_columns(*packed, [(1, "string")])


def test_a_damaged_mixed_list_is_named_when_python_folds_it():
    record = [encode_document({1: [1]}), bytes.fromhex("0100b0 01 12")]
    with pytest.raises(CorruptError, match="document row 0 at byte 5: document byte 4: unknown tag 0x12"):
        fold_documents(*packed_records([record]))
