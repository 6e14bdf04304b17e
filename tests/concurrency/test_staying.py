"""What belongs to an open store does not go into another process; what it has answered does."""

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest

import bitdex
from bitdex.errors import InvalidError
from tests.concurrency.runs import make, size


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    with make(tmp_path_factory.mktemp("staying") / "index") as index:
        yield index


KINDS = {
    "index": (lambda index: index, r"<Index 'runs': .*bitdex\.open\('.*index', \"r\"\)"),
    "silo": (lambda index: index.documents.silo, r"<Silo .*bitdex\.Silo\.open\('.*documents'\)"),
    "documents": (lambda index: index.documents, r"Silo\.open"),
    "bitmaps": (lambda index: index.bitmaps, r"Silo\.open"),
    "state": (lambda index: index.documents.silo.pin(), "a state .*hand on the path"),
    "page": (lambda index: index.query(limit=3), r"an answer .* hand on its ids, or what documents\(\)"),
    "pages in a list": (lambda index: [index.query(limit=3)], "an answer of an open index"),
    "some documents": (lambda index: index.get_many([1, 2]), "an answer .*its ids"),
    "selection": (lambda index: index["k == 1"], r"<Selection of .* hand on its ids"),
    "groups": (lambda index: index.where().groupby("k"), "a snapshot .* path"),
    "snapshot": (lambda index: index.snapshot, "a snapshot .* path"),
    "sets": (lambda index: index.sets, r"bitdex\.open"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_what_is_open_stays(index, kind, copied):
    """It said "cannot pickle '_thread.lock' object", or copied half of it."""
    make_it, message = KINDS[kind]
    if copied is copy.copy and kind in ("documents", "bitmaps", "pages in a list", "groups", "sets"):
        return  # another one over the same index
    with pytest.raises(InvalidError, match=message):
        copied(make_it(index))


def test_what_was_answered_goes_along(index):
    page = index.query("k == 1", sort="-n", limit=5)
    answers = [page.ids, page.documents(), page.cursor, index.phases, index.stats(), index["k == 1"].ids]
    answers += [index.f.k == 1, bitdex.field.n > 3, index.schema]
    for answer in answers:
        assert repr(pickle.loads(pickle.dumps(answer))) == repr(answer)
    for frame in (page.to_pandas(), index.explain("k == 1"), index.info(), index.where().facets("k")):
        assert pickle.loads(pickle.dumps(frame)).equals(frame)
    cursor = pickle.loads(pickle.dumps(page.cursor))
    assert index.query("k == 1", sort="-n", limit=5, after=cursor).ids.tolist() == page.next().ids.tolist()


def _count(path):
    with bitdex.open(path, "r") as index:
        return index.count("k == 1")


def test_other_processes_are_told_the_path(index):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        with pytest.raises(InvalidError, match=r"hand on its path and open it there"):
            pool.submit(len, index).result()
        assert pool.submit(_count, index.path).result() == size(1)
