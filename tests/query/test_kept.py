"""Bitmaps that snapshots share: each keeps its own state, whatever those before and behind it do."""

import random

from pyroaring import BitMap

from bitdex.query import kept as module
from bitdex.query.kept import KeptBitmaps, in_order
from tests.scale import scale, seeds


def altered(found, later):
    return found | BitMap(in_order(later))


def test_any_history_of_snapshots(monkeypatch):
    monkeypatch.setattr(module, "OWN", 3)
    for seed in seeds(scale(50, 2000)):
        draw = random.Random(seed)
        line = [(KeptBitmaps(), {})]
        for _ in range(200):
            kept, model = draw.choice(line[-3:])
            key = "x", draw.randrange(20)
            match draw.randrange(6):
                case 0:
                    if key not in model:
                        model[key] = {draw.randrange(9)}
                        kept.keep(key, BitMap(model[key]), 100)
                case 1:
                    kept.drop(key)
                    model.pop(key, None)
                case 2:
                    slot = draw.randrange(100)
                    kept.put_off(key, slot)
                    if key in model:
                        model[key] = model[key] | {slot}
                case 3:
                    line.append((kept.following(), dict(model)))
                case _:
                    found = kept.get(key, altered)
                    assert (None if found is None else set(found)) == model.get(key)
            for one, expected in line[-3:]:
                assert set(one) == expected.keys() and len(one) >= len(expected)
                assert all((key in one) == (key in expected) for key in expected)
        for one, expected in line:
            assert {key: set(one.get(key, altered)) for key in one} == expected
            assert one.nbytes == sum(module.ENTRY_BYTES + 2 for _ in expected)


def test_what_follows_shares_what_is_not_altered():
    kept = KeptBitmaps()
    for value in range(10_000):
        kept.keep(("x", value), BitMap([value]), 100)
    first = kept.following()
    commits = [first]
    for value in range(100):
        following = commits[-1].following()
        following.put_off(("x", value), 5)
        commits.append(following)
    assert all(one._base is first._base for one in commits)
    assert len(commits[-1]._own) == 100


def test_many_changes_that_nobody_asks_for_are_no_longer_kept(monkeypatch):
    monkeypatch.setattr(module, "PUT_OFF", 3)
    kept = KeptBitmaps()
    kept.keep(("x", 1), BitMap([1]), 100)
    for slot in range(3):
        kept.put_off(("x", 1), slot)
    assert set(kept.following().get(("x", 1), altered)) == {0, 1, 2}
    kept.put_off(("x", 1), 4)
    assert kept.get(("x", 1), altered) is None and kept.nbytes == 0


def test_all_is_let_go_when_it_is_too_much(monkeypatch):
    monkeypatch.setattr(module, "KEPT_BYTES", 10 * module.ENTRY_BYTES)
    kept = KeptBitmaps()
    for value in range(100):
        kept.keep(("x", value), BitMap([value]), 100)
        assert kept.nbytes <= module.KEPT_BYTES and ("x", value) in kept
