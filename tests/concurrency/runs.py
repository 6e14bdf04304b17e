"""Runs: an index whose phases are loaded again and again, such that any answer tells from which commit it is.

Run k of phase ``rows`` shows k in every document, and every other run half of them; run k of phase ``tags``
puts k into the tags of all. Rows and tags take turns, each run is one commit.
"""

import numpy as np
import pandas as pd

import bitdex

ROWS = 200
LABELS = 40
SCHEMA = {
    "name": "runs",
    "config": {
        "filter_fields": [
            {"name": "k", "field_type": "single_value"},
            {"name": "name", "field_type": "single_value"},
            {"name": "tags", "field_type": "multi_value"},
        ],
        "sort_fields": [{"name": "n", "bits": 32}],
    },
    "data_schema": {
        "fields": [
            {"source": "name", "target": "name", "value_type": "low_cardinality_string"},
            {"source": "tags", "target": "tags", "value_type": "integer_array"},
            {"source": "url", "target": "url", "value_type": "string", "doc_only": True},
        ]
    },
}
PHASES = [
    {"name": "rows", "slot_field": "id", "sets_alive": True, "fields": ["k", "name", "n", "url"]},
    {"name": "tags", "slot_field": "id", "fields": ["tags"]},
]


def size(k):
    """Return how many documents run k shows."""
    return ROWS if k % 2 else ROWS // 2


def table(phase, k):
    """Return what run k of a phase loads."""
    if phase == "tags":
        ids = np.arange(ROWS)
        return pd.DataFrame({"id": np.repeat(ids, 2), "tags": np.tile([k, 0], ROWS)})
    ids = np.arange(size(k))
    return pd.DataFrame(
        {"id": ids, "k": k, "name": label(k), "n": ids + k, "url": [f"{k}/{id}" for id in ids]}
    )


def label(k):
    return f"run {k % LABELS}"


def make(path):
    """Make an index with the first run of both phases, and return it."""
    index = bitdex.create(path, SCHEMA)
    load(index, 2), load(index, 3)
    return index


def load(index, step):
    """Load step 2k: run k of the rows, or step 2k + 1: run k of the tags."""
    k, second = divmod(step, 2)
    phase = PHASES[second]
    index.dump(phase, source={phase["name"]: table(phase["name"], k)}, now=0)


class Looking:
    """What one reader of the index does; `step` is the last it has seen, and it never goes back."""

    def __init__(self):
        self.step = 3
        self._kept = None

    def look(self, index, draw, least):
        """Ask anything; the answer is from one commit, not below step `least` and not below the last one."""
        ask = draw.choice([self._pages, self._pages, self._counts, self._frame, self._keep])
        step = ask(index, draw)
        if step is not None:
            assert step >= least, f"step {step}, when {least} was acknowledged"
            assert step >= self.step, f"step {step} after {self.step}"
            self.step = step

    def _pages(self, index, draw):
        """Follow a query's pages to their end, whatever is committed meanwhile."""
        sort, limit = draw.choice([None, "n", "-n"]), draw.choice([7, 60, ROWS])
        page, ids, steps = index.query("tags has 0", sort=sort, limit=limit), [], set()
        while len(page):
            ids += page.ids.tolist()
            steps.add(_step_of(page.documents(), page.total))
            page = page.next()
        (step,) = steps
        expected = range(size(step // 2))
        assert ids == list(expected if sort == "n" else reversed(expected))
        return step

    def _counts(self, index, draw):
        """Count what one run shows: all of it or nothing."""
        k = self.step // 2 + draw.choice([0, 0, 1, 2])
        for query in (f"k == {k}", f"k == {k} and name == '{label(k)}'", f"n >= {k} and k == {k}"):
            assert index.count(query) in (0, size(k)), query
            assert len(index.ids(query)) in (0, size(k)), query
        tagged = index.count(f"tags has {k}")
        assert tagged in (0, ROWS, ROWS // 2), tagged

    def _frame(self, index, draw):
        page = index.query(limit=ROWS)
        return _step_of(page.to_pandas().to_dict("records"), page.total)

    def _keep(self, index, draw):
        """Look at a page that was taken long ago."""
        if self._kept is not None:
            page, documents = self._kept
            assert page.documents() == documents
            assert page.total == size(documents[0]["k"])
            assert page.next().ids.tolist() == list(range(len(page), 2 * len(page)))
        page = index.query(sort="n", limit=ROWS // 4)
        if draw.random() < 0.5:
            self._kept = page, page.documents()


def _step_of(documents, total):
    """Return the step that documents of one answer show, or complain."""
    (k,) = {document["k"] for document in documents}
    assert total == size(k), f"{total} documents of run {k}"
    for document in documents:
        id = document["id"]
        assert (document["n"], document["name"], document["url"]) == (id + k, label(k), f"{k}/{id}")
    (tags,) = {tuple(document["tags"]) for document in documents}
    assert len(tags) == 2 and tags[1] == 0 and tags[0] in (k - 1, k), f"tags {tags} beside run {k}"
    return 2 * k + (tags[0] == k)
