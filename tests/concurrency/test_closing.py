"""Threads that close one store together: its files are closed once."""

import threading

import pytest

import bitdex
from bitdex.silo.guard import Guard

SCHEMA = {"name": "things", "config": {"filter_fields": [{"name": "n", "field_type": "single_value"}]}}


@pytest.mark.parametrize("kind", ["silo", "index"])
def test_two_threads_that_close_one_store(tmp_path, monkeypatch, kind):
    """The second one wrote into, and closed, whatever file had the number of the lock's by then."""
    if kind == "silo":
        store = bitdex.Silo.open(tmp_path / "store", "w")
        store.put(1, b"one")
    else:
        store = bitdex.create(tmp_path / "store", SCHEMA)
        store.put({"id": 1, "n": 2})
    both, first = threading.Barrier(2, timeout=30), iter([True, True])

    def here(self):  # which is asked behind whether the store is closed
        if next(first, False):
            both.wait()
        return True

    monkeypatch.setattr(Guard, "here", property(here))
    failed = []

    def close():
        try:
            store.close()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=close) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert bitdex.check(tmp_path / "store").empty
