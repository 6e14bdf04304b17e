"""kill -9, at random moments and at every file call: nothing acknowledged is lost, and it opens at once."""

import pytest

from tests.crash.killing import in_warm_parent
from tests.crash.silo_work import ENTRY, JOURNAL, POOLS, Batch, Model
from tests.scale import FIRST_SEED, scale, seeds, share

SILO, INDEX = "tests.crash.silo_work:KilledSilo", "tests.crash.index_work:KilledIndex"
NEW_INDEX = "tests.crash.index_work:NewIndex"
RELOADED = "tests.crash.index_work:ReloadedIndex"
LIVE = "tests.crash.live_work:KilledLive"
FIELDS = "tests.crash.fields_work:KilledFields"
HASTY = "tests.crash.silo_work:HastySilo"
LONG = pytest.mark.timeout(scale(300, 4 * 3600))

VICTIMS = {
    "silo, batch": (SILO, {"sync": "batch"}),
    "silo, none": (SILO, {"sync": "none"}),
    "silo, batch, threads": (SILO, {"sync": "batch", "threads": True}),
    "silo, none, threads": (SILO, {"sync": "none", "threads": True}),
    "index, batch": (INDEX, {"sync": "batch"}),
    "index, none": (INDEX, {"sync": "none"}),
    "changes, batch": (LIVE, {"sync": "batch"}),
    "changes, none": (LIVE, {"sync": "none"}),
    "fields": (FIELDS, {"sync": "none"}),
}
KILLS = {
    SILO: share(scale(110, 11_500)),
    INDEX: share(scale(30, 2_000)),
    LIVE: share(scale(60, 4_000)),
    FIELDS: share(scale(30, 2_000)),
}  # of each kind


@LONG
@pytest.mark.parametrize("name", VICTIMS)
def test_killed_at_random_moments(tmp_path, name):
    victim, options = VICTIMS[name]
    report = in_warm_parent(
        "tests.crash.campaign:at_moments",
        victim=victim,
        options=options,
        directory=str(tmp_path),
        seed=FIRST_SEED,
        kills=KILLS[victim],
    )
    tell(name, "at random moments", report)
    assert report["kills"] == KILLS[victim] and report["acknowledged"] > report["kills"] / 2


CALLS = {
    "silo": (SILO, {"sync": "batch", "headroom": 4.0, "reclaim": 1.0}, 50),
    "index": (INDEX, {"sync": "batch"}, 100),
    "a new index": (NEW_INDEX, {"sync": "batch"}, 500),
    "changes": (LIVE, {"sync": "batch"}, 100),
    "fields": (FIELDS, {"sync": "batch"}, 500),
}  # the last number: at which calls those that open what is left are killed as well, in the short form
LONG_CALLS = {
    "silo, none": (SILO, {"sync": "none"}, 15),
    "index, none": (INDEX, {"sync": "none"}, 15),
    "an index loaded twice": (RELOADED, {"sync": "batch"}, 15),
}
CALLS |= scale({}, LONG_CALLS)


@LONG
@pytest.mark.parametrize("where", scale(["within"], ["before", "within", "after"]))
@pytest.mark.parametrize("name", CALLS)
def test_killed_at_every_file_call(tmp_path, name, where):
    """Before, within (half of what is written) and after each call that changes a file."""
    victim, options, every = CALLS[name]
    for seed in seeds(scale(1, 2)):
        report = in_warm_parent(
            "tests.crash.campaign:at_calls",
            victim=victim,
            options=options,
            directory=str(tmp_path),
            seed=seed,
            where=where,
            every=scale(every, 15),
            sequels=1 if victim == SILO else scale(10, 1),
        )
        tell(name, f"{where} each of {report['calls']} file calls", report)
        assert report["calls"] > 60


def test_pieces_of_two_torn_batches_do_not_make_one(tmp_path):
    """They have the same sequence and the same shape; of each, another thread has written its part."""
    in_warm_parent("tests.crash.silo_work:tear_twice", directory=str(tmp_path))


def tell(name, when, report):
    """Print what a campaign did."""
    rate = report["kills"] / report["seconds"]
    print(
        f"\ntorture: kill -9, {name}, {when}: {report['kills']:,} kills in {report['seconds']:.0f} s "
        f"({rate:.0f}/s), {report['acknowledged']:,} acknowledged batches, 0 lost, "
        f"slowest open {1000 * report['slowest']:.0f} ms"
    )


# what a campaign must notice


def test_an_acknowledgement_before_the_write_is_noticed(tmp_path):
    with pytest.raises(AssertionError, match="of 10 batches are acknowledged, the silo holds"):
        in_warm_parent(
            "tests.crash.campaign:at_calls",
            victim=HASTY,
            options={"sync": "batch"},
            directory=str(tmp_path),
            seed=FIRST_SEED,
            where="before",
            every=1000,
            sequels=1,
        )


PLAN = [
    Batch("put", (5, 6, 7), (b"a", b"b", b"c")),
    Batch("merge", (5, JOURNAL), (b"d", ENTRY.pack(0, 2))),
    Batch("delete", (6,)),
    Batch(
        "phase", parts=(Batch("put", (8,), (b"e",)), Batch("merge", (8, JOURNAL), (b"f", ENTRY.pack(0, 4))))
    ),
    Batch("merge", (5, 7, JOURNAL), (b"g", b"h", ENTRY.pack(0, 5))),
]
SAID = [["opened"], *(["0", str(number)] for number in range(1, 6))]


@pytest.fixture
def keys(monkeypatch):
    """Let the keys of the plan be those of the first writer."""
    monkeypatch.setitem(POOLS, 0, [5, 6, 7, 8])


def settle(plan, said=SAID):
    """Let a model that expects the whole plan look at what another has written."""
    content = {}
    for batch in plan:
        batch.apply(content)
    Model().settle(content, [PLAN, [], []], said)


def test_what_was_written_is_accepted(keys):
    settle(PLAN)
    settle(PLAN, SAID[:-1])


@pytest.mark.parametrize("place", range(5))
def test_a_lost_batch_is_noticed(keys, place):
    with pytest.raises(AssertionError, match="5 of 5 batches are acknowledged"):
        settle(PLAN[:place] + PLAN[place + 1 :])


@pytest.mark.parametrize("place", [1, 3, 4])
def test_a_doubled_merge_is_noticed(keys, place):
    with pytest.raises(AssertionError, match="5 of 5 batches are acknowledged"):
        settle(PLAN[: place + 1] + PLAN[place:])


def test_a_batch_that_was_never_begun_is_noticed(keys):
    with pytest.raises(AssertionError, match=r"3 of 5 .* prefix \[5\]"):
        settle(PLAN, SAID[:4])


def test_a_torn_batch_is_noticed(keys):
    torn = Batch("merge", (5, JOURNAL), (b"g", ENTRY.pack(0, 5)))
    with pytest.raises(AssertionError, match="key 7: b'c' for b'ch'"):
        settle([*PLAN[:4], torn])


def test_merges_out_of_order_are_noticed(keys):
    with pytest.raises(AssertionError, match=r"in the order of sequences \[2, 5, 4\]"):
        settle([*PLAN[:3], PLAN[4], PLAN[3]])
