"""The hash index against a dict: every key works, nothing is refused, probes stay short."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitdex.formats.hash_index import SPILL
from bitdex.kernels import hash_index, probes
from bitdex.kernels.jit import THREADS
from tests.kernels.frame_store import u64

EDGES = [0, 1, 2, 2**32, 2**63, 2**64 - 2, 2**64 - 1]
pool = st.one_of(st.sampled_from(EDGES), st.integers(0, 40), st.integers(0, 2**64 - 1))
quick = settings(max_examples=80, derandomize=True, deadline=None)


def build(entries):
    """Return a table of {key: (offset, extent)}."""
    keys = u64(entries)
    offsets = u64(offset for offset, _ in entries.values())
    extents = u64(extent for _, extent in entries.values())
    table = hash_index.new_table(len(keys))
    assert hash_index.insert_entries(keys, offsets, extents, table) == len(keys)
    return table


def content(table):
    """Return {key: (offset, extent)} of a table."""
    used = np.empty(len(table) // 3, np.int64)
    count = hash_index.occupied_entries(table, used)
    rows = table.reshape(-1, 3)[used[:count]].tolist()
    assert len({row[0] for row in rows}) == count
    return {key: (offset, extent) for key, offset, extent in rows}


def distances(table):
    """Return how far every key stands from its home."""
    used = np.empty(len(table) // 3, np.int64)
    used = used[: hash_index.occupied_entries(table, used)]
    out = np.empty(len(used), np.int64)
    probes.measure_distances(table, used, out)
    return out


def assert_found(table, entries, absent=()):
    found = hash_index.lookup(table, u64(entries))
    assert (found >= 0).all()
    rows = table.reshape(-1, 3)[found].tolist()
    assert {key: (offset, extent) for key, offset, extent in rows} == entries
    assert (hash_index.lookup(table, u64(absent)) == -1).all()


def test_the_spill_is_the_same_in_format_and_kernel():
    assert SPILL == hash_index.SPILL


@quick
@given(st.dictionaries(pool, st.tuples(st.integers(0, 2**40), st.integers(1, 2**64 - 1)), max_size=60))
def test_what_was_inserted_is_found(entries):
    table = build(entries)
    assert content(table) == entries
    assert_found(table, entries, set(EDGES) - set(entries))


@quick
@given(st.lists(st.tuples(st.sampled_from(["insert", "delete"]), st.lists(pool, max_size=12)), max_size=12))
def test_inserts_and_deletes_equal_a_dict(steps):
    table, model = hash_index.new_table(200), {}
    for step, (kind, keys) in enumerate(steps):
        if kind == "insert":
            new = len(set(keys) - set(model))
            values = u64(100 * step + i for i in range(len(keys)))
            assert hash_index.insert_entries(u64(keys), values, values + np.uint64(1), table) == new
            model |= {key: (int(value), int(value) + 1) for key, value in zip(keys, values)}
        else:
            assert hash_index.delete_entries(u64(keys), table) == len(set(keys) & set(model))
            for key in keys:
                model.pop(key, None)
        assert content(table) == model
        assert_found(table, model, set(EDGES) - set(model))


def test_keys_0_and_the_greatest_are_keys_like_others():
    table = build({0: (72, 24), 2**64 - 1: (96, 25)})
    assert_found(table, {0: (72, 24), 2**64 - 1: (96, 25)}, [1])
    assert hash_index.delete_entries(u64([0]), table) == 1
    assert_found(table, {2**64 - 1: (96, 25)}, [0])
    assert (hash_index.lookup(hash_index.new_table(0), u64([0, 2**64 - 1])) == -1).all()


@pytest.mark.parametrize("live", [6, 1_000])
def test_defect_4_deletes_and_inserts_never_fill_the_table(live):
    """Ten generations of keys pass through a table that was built for one."""
    rng = np.random.default_rng(4)
    keys = rng.integers(0, 2**64, live, np.uint64)
    table = hash_index.build_index(keys, keys, *[np.full(live, 24, np.uint64)] * 2)
    slowest = distances(table).max()
    for _ in range(10 * live if live < 100 else 10):
        hash_index.delete_entries(keys, table)
        keys = rng.integers(0, 2**64, live, np.uint64)
        assert hash_index.insert_entries(keys, keys, np.full(live, 24, np.uint64), table) == live
        assert (hash_index.lookup(table, keys) >= 0).all()
    assert len(content(table)) == live
    assert distances(table).max() <= slowest + 60


def field_value_keys(fields, values):
    return (
        np.arange(fields, dtype=np.uint64)[:, None] << np.uint64(48) | np.arange(values, dtype=np.uint64)
    ).ravel()


@pytest.mark.parametrize(
    "keys",
    [
        np.arange(40_000, dtype=np.uint64),
        np.arange(40_000, dtype=np.uint64) << np.uint64(20),
        np.arange(40_000, dtype=np.uint64) << np.uint64(47),
        field_value_keys(40, 1_000),
        np.concatenate((field_value_keys(40, 1_000), field_value_keys(40, 32) | np.uint64(1 << 62))),
        np.random.default_rng(32).integers(0, 2**64, 40_000, np.uint64),
    ],
    ids=[
        "slots",
        "multiples of 2^20",
        "multiples of 2^47",
        "field|value",
        "field|value and layers",
        "random",
    ],
)
def test_defect_32_structured_keys_have_short_probes(keys):
    keys = np.unique(keys)
    table = hash_index.build_index(keys, keys, *[np.full(len(keys), 24, np.uint64)] * 2)
    assert distances(table).mean() < 2
    assert distances(table).max() < 80


def test_a_table_that_is_too_full_says_so_and_a_larger_one_is_built():
    homes = 64
    table = np.zeros(3 * (homes + hash_index.SPILL), np.uint64)
    keys = np.arange(homes + hash_index.SPILL, dtype=np.uint64)
    assert hash_index.insert_entries(keys, keys, keys + np.uint64(1), table) == -1
    for count in (0, 1, 100, 5_000):
        keys = np.arange(count, dtype=np.uint64)
        table = hash_index.build_index(keys, keys, *[np.full(count, 24, np.uint64)] * 2)
        assert (hash_index.lookup(table, keys) >= 0).all()
        assert count / (len(table) // 3 - hash_index.SPILL) <= hash_index.MAX_LOAD


def test_parallel_lookup_equals_serial_lookup():
    rng = np.random.default_rng(7)
    keys = np.unique(rng.integers(0, 2**64, 30_000, np.uint64))
    table = hash_index.build_index(keys, keys, *[np.full(len(keys), 24, np.uint64)] * 2)
    wanted = np.concatenate((keys, rng.integers(0, 2**64, 5_000, np.uint64)))
    serial, parallel = np.empty(len(wanted), np.int64), np.empty(len(wanted), np.int64)
    hash_index.lookup_serial(table, wanted, serial)
    hash_index.lookup_parallel(table, wanted, THREADS, parallel)
    assert np.array_equal(serial, parallel) and np.array_equal(serial, hash_index.lookup(table, wanted))
    assert (serial[: len(keys)] >= 0).all() and (table.reshape(-1, 3)[serial[: len(keys)], 0] == keys).all()
    assert (serial[len(keys) :] == -1).all()


@st.composite
def two_tables(draw):
    """Return a table, one of what has changed since, or none, and {key: (offset, extent)} of both."""
    keys, others = draw(st.lists(pool, max_size=60)), draw(st.lists(pool, max_size=30))
    model = {key: (72 + 8 * i, 24 + i | 32 << 32) for i, key in enumerate(dict.fromkeys(keys))}
    table = build(model)
    some = [key for key in model if draw(st.booleans())]
    changes = {
        key: (0, int(hash_index.GONE)) if draw(st.booleans()) else (2**40 + i, 48 + i | 64 << 32)
        for i, key in enumerate(dict.fromkeys([*some, *others]))
    }
    for key, entry in changes.items():
        model[key] = entry
        if entry[1] == int(hash_index.GONE):
            del model[key]
    return table, build(changes) if changes else np.empty(0, np.uint64), model


def marks_of(recent):
    """Return marks of all keys of a table, few enough that other keys have them too."""
    marks = np.zeros(1 if len(recent) else 0, np.uint64)
    hash_index.set_marks(recent, marks)
    return marks


@quick
@given(two_tables(), st.lists(pool, max_size=60), st.sampled_from([1, 2, 5]))
def test_records_are_found_side_by_side_or_in_a_row(tables, wanted, blocks):
    table, recent, model = tables
    wanted = [*wanted, *model]
    serial, parallel = np.empty((2, len(wanted)), np.int64), np.empty((2, len(wanted)), np.int64)
    hash_index.find_records_serial(table, recent, marks_of(recent), u64(wanted), *serial)
    hash_index.find_records_parallel(table, recent, marks_of(recent), u64(wanted), blocks, *parallel)
    expected = [model.get(key, (-1, -1)) for key in wanted]
    assert serial[0].tolist() == parallel[0].tolist() == [offset for offset, _ in expected]
    assert (
        serial[1].tolist()
        == parallel[1].tolist()
        == [extent & 0xFFFFFFFF if extent >= 0 else -1 for _, extent in expected]
    )
    words = np.empty((2, len(wanted)), np.uint64)
    hash_index.copy_entries(table, recent, marks_of(recent), u64(wanted), *words)
    assert list(zip(*words.tolist())) == [model.get(key, (0, 0)) for key in wanted]


@quick
@given(two_tables(), st.lists(pool, max_size=60), st.integers(0, 300))
def test_entries_are_brought_that_are_not_there(tables, wanted, limit):
    table, recent, _ = tables
    keys = u64(dict.fromkeys(wanted))
    recent = recent if len(recent) else build({})
    before, whole = content(recent), content(table)
    last = len(recent) // 3 - hash_index.WINDOW
    limit = min(limit, last)
    behind = recent[3 * limit :].copy()
    left = np.empty(len(keys) + 1, np.int64)
    rows = np.arange(len(keys))[::-1].copy()
    brought = hash_index.bring_entries(keys, rows, table, limit, recent, left)
    lacking = {key for key in keys.tolist() if key in whole and key not in before}
    rest = keys[left[1 : 1 + left[0]]].tolist()
    assert set(rest) <= lacking and len(set(rest)) == len(rest) and len(lacking) == brought + len(rest)
    assert content(recent) == before | {key: whole[key] for key in lacking - set(rest)}
    assert np.array_equal(recent[3 * limit :], behind)
    assert limit < last or not rest


def unshifted(value, shift):
    """Return x for value = x ^ x >> shift."""
    found = value
    for _ in range(64 // shift + 1):
        found = value ^ found >> shift
    return found


def keys_of_hash(hashed, count):
    """Return keys whose mixed value begins with these 32 bits, so that they share a home of every table."""
    first, second = (pow(int(one), -1, 2**64) for one in (hash_index._FIRST, hash_index._SECOND))
    keys = []
    for low in range(count):
        mixed = (hashed << 32 | low) * second % 2**64
        keys.append(unshifted(unshifted(mixed, 29) * first % 2**64, 32))
    return u64(keys)


def test_a_table_holds_keys_that_were_made_to_collide():
    """More keys of the last home than the spill holds: no larger table could help, and it was refused."""
    few = keys_of_hash(0xFFFFFFFF, 200)
    table = hash_index.build_index(few, few, *[np.full(200, 24, np.uint64)] * 2)
    assert (hash_index.lookup(table, few) >= 0).all() and distances(table).max() == 199
    assert not hash_index.is_turned(table)
    many = keys_of_hash(0xFFFFFFFF, 3000)
    assert hash_index.insert_entries(many, many, many, hash_index.new_table(100_000)) == -1
    table = hash_index.build_table([(many, many, many)])
    assert hash_index.is_turned(table) and distances(table).max() == 2999
    assert_found(table, {int(key): (int(key), int(key)) for key in many}, [0, 7])


crowds = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2**31, 2**32 - 2**20, 2**32 - 2, 2**32 - 1]) | st.integers(0, 2**32 - 1),
        st.sampled_from([1, 5, 253, 700]),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda crowd: crowd[0],
)


@quick
@given(crowds, st.lists(pool, max_size=60), st.randoms(use_true_random=False))
def test_crowds_of_keys_fit_wherever_they_lie(crowds, others, rng):
    """A table of them, and changes of it in a table of their own, which may be turned in another way."""
    keys = [key for hashed, count in crowds for key in keys_of_hash(hashed, count).tolist()]
    keys = list(dict.fromkeys([*keys, *others]))
    rng.shuffle(keys)
    model = {key: (72 + 8 * i, 24 + i | 32 << 32) for i, key in enumerate(keys)}
    columns = u64(model), *(u64(one[i] for one in model.values()) for i in range(2))
    table = hash_index.build_table([columns])
    assert content(table) == model and not table[-12:-3].any() and not table[-2:].any()
    absent = set(keys_of_hash(0xFFFFFFFF, 710)[-5:].tolist()) | set(EDGES)
    assert_found(table, model, absent - set(model))
    gone = keys[: len(keys) // 2]
    nothing, ends = np.zeros(len(gone), np.uint64), np.full(len(gone), hash_index.GONE)
    recent = hash_index.build_table([(u64(gone), nothing, ends)])
    marks = np.zeros(len(recent) // 3 * 16 // 64 + 1, np.uint64)
    hash_index.set_marks(recent, marks)
    places, lengths = np.zeros((2, len(keys)), np.int64)
    hash_index.find_records_serial(table, recent, marks, u64(keys), places, lengths)
    assert places.tolist() == [-1] * len(gone) + [model[key][0] for key in keys[len(gone) :]]
    brought, left = hash_index.build_table([(u64([]),) * 3], len(keys)), np.zeros(len(keys) + 1, np.int64)
    limit = len(brought) // 3 - hash_index.WINDOW
    count = hash_index.bring_entries(u64(keys), np.arange(len(keys)), table, limit, brought, left)
    assert count + left[0] == len(keys)
    assert content(brought).items() <= model.items() and len(content(brought)) == count
    assert hash_index.delete_entries(u64(gone), table) == len(gone)
    for key in gone:
        del model[key]
    assert content(table) == model
    assert_found(table, model, gone)
