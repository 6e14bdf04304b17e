"""Courses: a store, the steps that are done to it while a file call fails, and what it may hold then.

A course knows what the store has to hold before the first step and after each, so it can tell after how many
steps a store is that it is shown.
"""

import random
from contextlib import suppress

import bitdex
from bitdex.silo.silo import Silo
from tests.crash import index_work
from tests.crash.silo_work import Drawing

UPKEEP = ("refresh", "reopen", "backup")  # steps that change nothing that is shown


class Course:
    """A writer and a reader of one store, and steps; a subclass says of what kind the store is.

    Parameters
    ----------
    path : Path
        The directory of the store.
    steps : list
        Names out of `UPKEEP`, or steps of the kind of store.
    model : object
        What the store holds before the first step.

    Attributes
    ----------
    contents : list
        What the store shows before the first step, and after each.
    """

    def __init__(self, path, steps, model):
        self.path, self.steps = path, steps
        self.models = [model]
        for step in steps:
            self.models.append(self.models[-1] if step in UPKEEP else self.apply(step, self.models[-1]))
        self.contents = [self.shown(model) for model in self.models]
        self.writer = self.reader = None
        self._backups = 0

    @classmethod
    def draw(cls, kinds, seed, number=0):
        """Return steps of these kinds; `number` steps were drawn before."""
        drawing = cls.drawing(random.Random(f"{seed} {kinds}"), number)
        return [kind if kind in UPKEEP else drawing(kind) for kind in kinds]

    def open(self):
        """Open the writer and the reader."""
        self.writer = self.opened("w")
        try:
            self.reader = self.opened("r")
        except BaseException:
            with suppress(OSError):  # the first error counts
                self.close()
            raise

    def do(self, step):
        """Do a step."""
        if step == "refresh":
            self.reader.refresh()
        elif step == "reopen":
            self.close()
            self.open()
        elif step == "backup":
            self._backups += 1
            self.writer.backup(self.path.with_name(f"backup {self._backups}"))
        else:
            self.step(self.writer, step)

    def close(self):
        """Close both; the reader too where the writer cannot be closed."""
        writer, reader = self.writer, self.reader
        self.writer = self.reader = None
        try:
            if writer is not None:
                writer.close()
        finally:
            if reader is not None:
                reader.close()

    def prefixes(self, store):
        """Return after how many steps a store is; several where steps change nothing."""
        found = self.content(store)
        return [number for number, content in enumerate(self.contents) if content == found]


class SiloCourse(Course):
    """A silo that concatenates; its steps are batches of `tests.crash.silo_work`."""

    kinds = ("put", "merge", "merge", "delete", "compact", "rewrite", "phase", *UPKEEP)

    @staticmethod
    def make(path):
        """Make an empty silo."""
        Silo.open(path, "w", "concatenate", headroom=1.6).close()

    @staticmethod
    def drawing(draw, number):
        batches = Drawing(draw, 0, number)
        return lambda kind: batches.batches([kind])[0]

    @staticmethod
    def apply(step, model):
        content = dict(model)
        step.apply(content)
        return content

    @staticmethod
    def shown(model):
        return model

    def opened(self, mode):
        return Silo.open(self.path, mode, "concatenate", headroom=1.6)

    def step(self, silo, step):
        step.write(silo)

    def content(self, silo):
        keys = silo.keys()
        return dict(zip(keys.tolist(), silo.get_many(keys)))

    def errors(self, silo):
        return [one for one in silo.check() if one.severity == "error"]

    def failure(self):
        return self.writer.failure

    def ways_to_write(self):
        """Return all that a silo that takes no writes has to refuse."""
        return [
            lambda: self.writer.put(1, b""),
            lambda: self.writer.merge_many([1], [b""]),
            lambda: self.writer.delete(1),
            self.writer.compact,
            self.writer.rewrite,
            lambda: self.writer.merge_writer().__enter__(),
        ]


class IndexCourse(Course):
    """An index; its steps are loads of phases, of `tests.crash.index_work`."""

    kinds = ("rows", "rows", "tags", "likes", "compact", *UPKEEP)

    @staticmethod
    def make(path):
        """Make an empty index."""
        bitdex.create(path, index_work.SCHEMA).close()

    @staticmethod
    def drawing(draw, number):
        def step(kind):
            nonlocal number
            number += 1
            return index_work.Compact() if kind == "compact" else index_work.Load(draw, kind, number, None)

        return step

    @staticmethod
    def apply(step, model):
        return step.apply(model)

    @staticmethod
    def shown(model):
        return index_work.documents_of(model)

    def opened(self, mode):
        return bitdex.open(self.path, mode)

    def step(self, index, step):
        step.do(index)

    def content(self, index):
        documents = index_work.documents_in(index)
        wrong = index_work.disagreements(index, documents)
        assert not wrong, f"documents and bitmaps disagree: {wrong}"
        return documents

    def errors(self, index):
        found = index.check()
        return found[found.severity == "error"].to_dict("records")

    def failure(self):
        return self.writer._store.guard.failure

    def ways_to_write(self):
        """Return all that an index that takes no writes has to refuse."""
        load = index_work.Load(random.Random(1), "likes", 1, None)
        return [lambda: load.do(self.writer), self.writer.compact]
