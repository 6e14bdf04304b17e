"""Shares of the long forms: no case twice, none left out, and each can be repeated by its seed."""

import runpy

import pytest

from tests import scale


def asked(monkeypatch, torture, seed=None):
    """Return the names of `tests.scale` as they are with these variables."""
    monkeypatch.setenv("BITDEX_TORTURE", torture)
    monkeypatch.setenv("BITDEX_SEED", str(seed or 1000))
    return runpy.run_path(scale.__file__)


@pytest.mark.parametrize("shares", [1, 2, 7, 20])
@pytest.mark.parametrize("count", [1, 5, 20, 100])
def test_all_shares_together_are_the_long_form(monkeypatch, shares, count):
    parts = [asked(monkeypatch, f"{number}/{shares}") for number in range(1, shares + 1)]
    cases = sorted(case for one in parts for case in one["portion"](range(count)))
    assert cases == list(range(count))
    seeds = [seed for one in parts for seed in one["seeds"](count)]
    assert len(set(seeds)) == len(seeds) >= count
    assert sum(one["share"](count) for one in parts) >= count
    assert len({one["FIRST_SEED"] for one in parts}) == shares


def test_the_short_form_and_all_of_the_long_one(monkeypatch):
    for torture, expected in (("", "short"), ("0", "short"), ("1", "long"), ("2/3", "long")):
        names = asked(monkeypatch, torture)
        assert names["scale"]("short", "long") == expected
        assert names["share"](30) == (10 if torture == "2/3" else 30)


def test_a_seed_repeats_what_failed_in_a_share(monkeypatch):
    failed = asked(monkeypatch, "3/20")["seeds"](100)[4]
    assert asked(monkeypatch, "1", failed)["seeds"](1) == range(failed, failed + 1)


@pytest.mark.parametrize("torture", ["0/3", "4/3"])
def test_a_share_that_is_none(monkeypatch, torture):
    with pytest.raises(AssertionError, match=f"expected 1, or a share like 3/20, found '{torture}'"):
        asked(monkeypatch, torture)
