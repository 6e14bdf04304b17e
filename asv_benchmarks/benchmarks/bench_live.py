"""Changes of a loaded index: what a commit costs, and what a query pays for those that wait."""

import random
import shutil
import tempfile
from pathlib import Path

import bitdex

from . import TAG, Loaded


class Changing(Loaded):
    """A copy of the index, with syncs left to the system."""

    def setup(self, path: str) -> None:
        self.directory = tempfile.TemporaryDirectory()
        copy = Path(self.directory.name) / "index"
        shutil.copytree(path, copy)
        self.index = bitdex.open(copy, sync="none")
        self.draw, self.ids = random.Random(1), self.index.ids().tolist()
        self.index.patch(self.ids[0], {"nsfwLevel": 1})
        self.query()

    def teardown(self, path: str) -> None:
        super().teardown(path)
        self.directory.cleanup()

    def query(self) -> int:
        return len(
            self.index.query(f"tagIds has {TAG} and nsfwLevel == 1", "-reactionCount", limit=20, cache=False)
        )

    def patch(self) -> None:
        changes = {"nsfwLevel": self.draw.choice([1, 2, 4]), "reactionCount": self.draw.randrange(5000)}
        self.index.patch(self.draw.choice(self.ids), changes)


class SingleChanges(Changing):
    def time_patch(self, path: str) -> None:
        self.patch()

    def time_append(self, path: str) -> None:
        self.index.append(self.draw.choice(self.ids), "tagIds", self.draw.randrange(30_000))

    def time_patch_and_query(self, path: str) -> int:
        self.patch()
        return self.query()


class ReaderThatFollows(Changing):
    """Each time behind a patch, which is timed with it."""

    def setup(self, path: str) -> None:
        super().setup(path)
        self.writer, self.index = self.index, bitdex.open(self.index.path, "r")
        self.query()

    def teardown(self, path: str) -> None:
        self.writer.close()
        super().teardown(path)

    def time_refresh_and_query(self, path: str) -> int:
        changes = {"reactionCount": self.draw.randrange(5000)}
        self.writer.patch(self.draw.choice(self.ids), changes)
        self.index.refresh()
        return self.query()


class BatchesOfChanges(Changing):
    def time_put_many_1000(self, path: str) -> int:
        documents = self.index.get_many(self.draw.sample(self.ids, 1000)).documents()
        for one in documents:
            one["reactionCount"] = self.draw.randrange(5000)
        return self.index.put_many(documents)


class ChangesOfAllThatAreFound(Changing):
    """Each changes some percent of all documents."""

    where = "type == 'video'"

    def apply(self, *ops: dict[str, object]) -> int:
        change = {"op": "queryOpSet", "query": self.where, "ops": list(ops)}
        return self.index.apply({"entity_id": 0, "ops": [change]})["applied"]

    def time_set(self, path: str) -> int:
        return self.apply({"op": "set", "field": "nsfwLevel", "value": self.draw.choice([1, 2, 4])})

    def time_add_to_lists(self, path: str) -> int:
        return self.apply({"op": "add", "field": "tagIds", "value": self.draw.randrange(30_000)})


class DeletionOfAllThatAreFound(Changing):
    number, repeat, warmup_time = 1, (3, 10, 20.0), 0.0

    def time_delete_where(self, path: str) -> int:
        return self.index.delete(where="type == 'video'")


class QueriesBesidePendingChanges(Changing):
    def setup(self, path: str) -> None:
        super().setup(path)
        with self.index.batch():
            for _ in range(2000):
                self.patch()
        self.query()

    def time_query(self, path: str) -> int:
        return self.query()


class FieldsThatComeLater(Changing):
    """Each is timed once on a fresh copy: it changes the index."""

    number, repeat, warmup_time = 1, (3, 10, 20.0), 0.0

    def time_add_field_filtered(self, path: str) -> None:
        self.index.add_field("width", filter="single_value")

    def time_add_field_sorted(self, path: str) -> None:
        self.index.add_field("height", sort=True)

    def time_add_field_computed(self, path: str) -> None:
        computed = {"op": "greatest", "source_fields": ["reactionCount", "commentCount"]}
        self.index.add_field("attention", sort={"computed": computed})

    def time_drop_field(self, path: str) -> None:
        self.index.drop_field("hasMeta")

    def time_rebuild(self, path: str) -> None:
        self.index.rebuild()
