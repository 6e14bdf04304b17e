"""Windows of time: exact at any moment, whatever has changed; snapping where it was asked for."""

import datetime
import random
import time

import numpy as np
import pandas as pd
import pytest

import bitdex
from bitdex import field as f
from bitdex.errors import InvalidError
from bitdex.query import answers, ranges
from bitdex.query.text import parse
from tests.scale import scale, seeds

NOW = 1_700_000_000
DAY = 86_400
SPANS = {"1h": 3600, "24h": DAY, "7d": 7 * DAY, "1y": 365 * DAY}
FIELDS = [{"source": "score", "target": "score", "value_type": "float"}]


def schema(sort_field="sortAt", deferred=False, default=None):
    windows = [
        {"name": name, "duration_secs": seconds, "refresh_interval_secs": max(seconds // 100, 60)}
        for name, seconds in SPANS.items()
    ]
    config = {
        "filter_fields": [{"name": "level", "field_type": "single_value"}],
        "sort_fields": [
            {"name": "at", "source_type": "timestamp", "bits": 64},
            {"name": "due", "bits": 32},
            {"name": "sortAt", "bits": 33, "computed": {"op": "greatest", "source_fields": ["at", "due"]}},
            {"name": "score", "source_type": "float64", "bits": 64},
        ],
        "time_buckets": {
            "filter_field": "sortAtUnix",
            "sort_field": sort_field,
            "range_buckets": windows,
        },
    }
    if deferred:
        config["deferred_alive"] = {"source_field": "due"}
    fields = [*FIELDS, {"source": "at", "target": "at", "value_type": "integer"}]
    if default is not None:
        fields[-1]["default"] = default
    return {"name": "times", "config": config, "data_schema": {"fields": fields}}


def expected(index, field, seconds, now):
    """Return the ids in a window, from the documents in a DataFrame."""
    table = index.to_pandas([field])
    inside = table[field].between(now - seconds, now)
    return table["id"][inside.fillna(False)].tolist()


@pytest.mark.parametrize("field", ["sortAt", "at", "score"])
@pytest.mark.parametrize("deferred", [False, True], ids=["at once", "deferred"])
def test_windows_are_exact_at_any_moment(tmp_path, monkeypatch, field, deferred):
    monkeypatch.setattr(answers, "WORTH", 0.0)
    monkeypatch.setattr(ranges, "LEAST", 2)
    for seed in seeds(scale(2, 50)):
        draw, clock = random.Random(seed), [float(NOW)]
        monkeypatch.setattr(time, "time", lambda clock=clock: clock[0])

        def moment(draw=draw):
            spread = draw.choice([0, 30, 4000, 3 * DAY, 300 * DAY])
            return NOW + draw.randint(-spread, spread)

        def document(draw=draw, moment=moment):
            values = {"at": moment(), "due": moment(), "score": moment() + draw.choice([0, 0.25]), "level": 1}
            return {name: value for name, value in values.items() if draw.random() < 0.8}

        with bitdex.create(tmp_path / str(seed), schema(field, deferred), sync="none") as index:
            index.put_many([{"id": n, **document()} for n in range(1500)])
            for _ in range(scale(40, 200)):
                change = draw.choice(["put", "patch", "delete", "wait", "nothing", "nothing", "compact"])
                if change == "put":
                    index.put_many([{"id": draw.randrange(2000), **document()} for _ in range(5)])
                elif change == "patch":
                    index.upsert({**dict.fromkeys(["at", "score"]), **document()}, id=draw.randrange(2000))
                elif change == "delete":
                    index.delete(range(draw.randrange(2000), 2000, 700), missing_ok=True)
                elif change == "wait":
                    clock[0] += draw.choice([0.5, 50, 5000])
                elif change == "compact":
                    index.compact()
                now = draw.choice([None, None, clock[0] + 1, moment() + 0.5, 0, -5, 2.0**40])
                name = draw.choice(sorted(SPANS))
                ids = expected(index, field, SPANS[name], clock[0] if now is None else now)
                where = draw.choice([f.sortAtUnix, f[field]]).within(name)
                assert index.ids(where, now=now).tolist() == ids
                page = index.query(where, "due", limit=7, now=now)
                assert page.total == len(ids) == index.count(where, now=now, cache=draw.random() < 0.5)
                assert (
                    page.ids.tolist() == index.query(where, "due", limit=7, now=now, cache=False).ids.tolist()
                )
                both = index.count(~where | (f.level == 1), now=now)
                assert both == len(index) - len(ids) + index.count(where & (f.level == 1), now=now)
            assert index.rebuild_time_buckets(now=NOW) == {
                name: len(expected(index, field, seconds, NOW)) for name, seconds in SPANS.items()
            }
            assert index.stats()["cache"]["hits"]


@pytest.fixture
def index(tmp_path):
    with bitdex.create(tmp_path / "index", schema("at"), sync="none") as index:
        index.put_many([{"id": n % 5000, "at": NOW - 600 * n, "level": 1} for n in range(-20, 2000)])
        yield index


def test_ends_are_inside_and_the_future_is_not(index):
    assert index.ids("sortAtUnix within '1h'", now=NOW).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert index.ids("sortAtUnix within '1h'", now=NOW + 0.5).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_window_is_written_in_four_ways(index):
    ways = [
        f.sortAtUnix.within("24h"),
        "sortAtUnix within '24h'",
        {"sortAtUnix": {"$within": "24h"}},
        [{"Within": ["sortAtUnix", {"String": "24h"}]}],
    ]
    assert {index.count(one, now=NOW) for one in ways} == {145}
    clause = f.sortAtUnix.within("24h") & ~f["odd name"].within("it's")
    assert parse(str(clause)) == clause


def test_a_moment_is_written_in_many_ways(index):
    moment = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    bare = moment.replace(tzinfo=None)
    numbers = NOW, float(NOW), np.int64(NOW), np.float64(NOW)
    dates = moment, bare, pd.Timestamp(bare), np.datetime64(bare, "ns"), moment.isoformat(), bare.isoformat()
    for now in (*numbers, *dates):
        assert index.count("at within '24h'", now=now) == 145
        assert index.count(f.sortAtUnix.within("24h") & (f.at <= bare), now=now) == 145


def test_a_moment_without_a_zone_is_utc_wherever_it_is_asked(index, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        bare = datetime.datetime.fromtimestamp(NOW, datetime.UTC).replace(tzinfo=None)
        assert index.count("at within '24h'", now=bare) == 145
    time.tzset()


@pytest.mark.parametrize(
    ("where", "options", "error"),
    [
        ("sortAtUnix within '3d'", {}, "sortAtUnix: unknown window '3d'; it has '1h', '24h', '7d', '1y'"),
        ("score within '7d'", {}, "score has no windows: sortAtUnix has some; declare them in time_buckets"),
        ("nothing_such within '7d'", {}, "unknown field 'nothing_such'"),
        ("sortAtUnix within 7", {}, "the name of a window, as '7d'"),
        ({"sortAtUnix": {"$within": 7}}, {}, r"sortAtUnix \$within takes the name of a window"),
        ([{"Within": ["sortAtUnix", 7]}], {}, "sortAtUnix takes the name of a window, as '7d', not 7"),
        (None, {"now": "yesterday"}, "now: 'yesterday' is no moment; give Unix seconds, a datetime"),
        (None, {"now": True}, "now: True is no moment"),
        (None, {"now": float("nan")}, "now: nan is no moment"),
        (None, {"now": np.float64("inf")}, "now: .*inf.* is no moment"),
        (None, {"now": 10**400}, "now: 1000.* is no moment"),
        (None, {"now": [1]}, r"now: a value is a number, string, boolean, date or None, not \[1\]"),
    ],
)
def test_what_is_refused(index, where, options, error):
    with pytest.raises(InvalidError, match=error):
        index.count(where, **options)


def test_without_windows_there_is_nothing_to_rebuild(tmp_path):
    content = {"name": "plain", "config": {"sort_fields": [{"name": "at"}]}}
    with bitdex.create(tmp_path / "index", content) as index:
        with pytest.raises(InvalidError, match="has no windows; declare them in time_buckets"):
            index.rebuild_time_buckets()
        with pytest.raises(InvalidError, match="at has no windows: there are none"):
            index.count("at within '7d'")


@pytest.mark.parametrize(
    ("asked", "window"),
    [
        (DAY, "24h"),
        (DAY * 1.09, "24h"),
        (DAY * 0.91, "24h"),
        (DAY * 1.2, "7d"),
        (3600 * 55, "7d"),
        (60, "1h"),
        (DAY * 30, "1y"),
        (DAY * 4000, "1y"),
        (0, None),
        (-100, None),
    ],
)
def test_snapping(index, asked, window):
    bound = int(NOW - asked)
    plan = index.explain(f.sortAtUnix > bound, now=NOW, snap=True)["clause"][0]
    if window is None:
        assert plan == f"at >= {bound + 1}"
        return
    step = max(SPANS[window] // 100, 60)
    cutoff = (NOW - SPANS[window]) // step * step
    assert plan == f"at >= {cutoff}  [snapped to window '{window}' from {cutoff}]"
    assert index.count(f.sortAtUnix > bound, now=NOW, snap=True) == index.count(f"at >= {cutoff}")
    assert index.count(f.sortAtUnix > bound, now=NOW) == index.count(f"at > {bound}"), "exact by default"


def test_only_lower_bounds_of_the_windows_name_snap(index):
    bound = NOW - 3600 * 55
    for where in (f.at >= bound, f.sortAtUnix <= bound, ~(f.sortAtUnix >= bound), f.sortAtUnix == NOW):
        assert "snapped" not in index.explain(where, now=NOW, snap=True)["clause"][0]
    for where in (f.sortAtUnix >= "2023-11-12", (f.sortAtUnix >= bound) | (f.level == 2)):
        assert "snapped to window '7d'" in index.explain(where, now=NOW, snap=True)["clause"][0]


def test_what_snapped_stays_until_the_window_is_refreshed(index, monkeypatch):
    monkeypatch.setattr(answers, "WORTH", 0.0)
    found = [
        index.query(f.sortAtUnix >= now - 3600 * 55, now=now, snap=True) for now in (NOW, NOW + 7, NOW + DAY)
    ]
    assert [page.cached for page in found] == [False, True, False]
    assert found[0].total > found[2].total
    assert "snapped" in found[0].explain()["clause"][0]


def test_an_answer_is_kept_until_something_moves(index, monkeypatch):
    monkeypatch.setattr(answers, "WORTH", 0.0)
    where = (f.level == 1) & f.sortAtUnix.within("24h")
    found = [index.query(where, now=now) for now in (NOW + 1, NOW + 599, NOW + 600, NOW + 601)]
    assert [page.cached for page in found] == [False, True, False, False]
    assert [page.total for page in found] == [144, 144, 145, 144]
    assert "window '24h' at 1700000001" in found[0].explain()["clause"][1]


def test_pages_of_a_window_show_the_moment_of_the_first(index):
    page = index.query("sortAtUnix within '1h'", "-at", limit=4, now=NOW)
    assert page.ids.tolist() + page.next().ids.tolist() == [0, 1, 2, 3, 4, 5, 6]
