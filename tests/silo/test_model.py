"""A silo against a dict: any operations in any order, reopened, rebuilt, aborted and prepared."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bitdex.silo.silo import Silo

POOL = [0, 1, 2, 3, 5, 8, 300, 2**32, 2**63, 2**64 - 2, 2**64 - 1, 7 << 48 | 1, 7 << 48 | 2]
keys = st.sampled_from(POOL)
values = st.one_of(
    st.binary(max_size=12),
    st.builds(lambda size: bytes([size % 251]) * size, st.sampled_from([0, 40, 700, 9000])),
)
batch = st.lists(st.tuples(keys, values), max_size=10)
calls = st.lists(st.tuples(st.sampled_from(["put", "merge", "delete"]), batch), max_size=4)


class GivenUp(Exception):
    """Raised in the middle of a merge."""


class SiloMachine(RuleBasedStateMachine):
    """The model is a dict of what every key holds."""

    @initialize(
        name=st.sampled_from(["concatenate", "replace"]),
        headroom=st.sampled_from([1.0, 1.3, 5.0]),
        minimum=st.sampled_from([0, 100]),
        alignment=st.sampled_from([8, 32]),
    )
    def make(self, name, headroom, minimum, alignment):
        self.path = Path(tempfile.mkdtemp())
        self.model = {}
        self.silo = Silo.open(self.path, "w", name, headroom, minimum, alignment, sync="none")

    def teardown(self):
        if hasattr(self, "silo"):
            findings = list(self.silo.check())
            self.silo.close()
            shutil.rmtree(self.path)
            assert not findings, findings

    def reopen(self, mode="w", at=None):
        self.silo.close()
        self.silo = Silo.open(self.path, mode, sync="none", at=at)

    def change(self, target, kind, operations):
        """Apply one call to the silo or a merge writer, and to the model."""
        wanted = np.array([key for key, _ in operations], np.uint64)
        if kind == "delete":
            target.delete_many(wanted)
        else:
            getattr(target, f"{kind}_many")(wanted, [value for _, value in operations])
        for key, value in operations:
            if kind == "delete":
                self.model.pop(key, None)
            elif kind == "merge" and self.silo.rule == "concatenate":
                self.model[key] = self.model.get(key, b"") + value
            else:
                self.model[key] = value

    @rule(kind=st.sampled_from(["put", "merge", "delete"]), operations=batch)
    def write(self, kind, operations):
        self.change(self.silo, kind, operations)

    @rule()
    def compact(self):
        pending = self.silo.pending
        assert self.silo.compact() == pending
        assert self.silo.pending == 0

    @rule()
    def rewrite(self):
        self.silo.rewrite()
        assert self.silo.stats()["dead_bytes"] == 0

    @rule(steps=calls)
    def merge(self, steps):
        with self.silo.merge_writer() as writer:
            for kind, operations in steps:
                self.change(writer, kind, operations)

    @rule(steps=calls)
    def give_up_a_merge(self, steps):
        before = dict(self.model)
        try:
            with self.silo.merge_writer() as writer:
                for kind, operations in steps:
                    self.change(writer, kind, operations)
                raise GivenUp
        except GivenUp:
            self.model = before

    @rule(steps=calls, keep=st.booleans())
    def prepare_a_merge_and_open_at_either_sequence(self, steps, keep):
        before, sequence = dict(self.model), self.silo.sequence
        with self.silo.merge_writer(commit=False) as writer:
            for kind, operations in steps:
                self.change(writer, kind, operations)
        self.agrees()
        if not keep:
            self.model = before
        self.reopen(at=None if keep else sequence)

    @precondition(lambda self: self.silo.pending)
    @rule(keep=st.booleans())
    def prepare_a_compaction(self, keep):
        sequence = self.silo.sequence
        self.silo.compact(commit=False)
        if keep:
            self.silo.finish()
        else:
            self.reopen(at=sequence)

    @rule()
    def close_and_open(self):
        self.reopen()

    @rule()
    def read_with_another_silo(self):
        with Silo.open(self.path) as reader:
            assert list(reader.get_many(POOL_ARRAY)) == [self.model.get(key) for key in POOL]

    @rule(damage=st.sampled_from(["missing", "empty", "garbage", "flipped"]))
    def lose_the_index(self, damage):
        self.silo.close()
        index = self.path / "index.bin"
        if index.exists():
            content = bytearray(index.read_bytes())
            index.unlink()
            content[len(content) // 2] ^= 8
            if damage != "missing":
                index.write_bytes(
                    {"empty": b"", "garbage": b"garbage" * 99, "flipped": bytes(content)}[damage]
                )
        with Silo.open(self.path) as reader:
            assert list(reader.get_many(POOL_ARRAY)) == [self.model.get(key) for key in POOL]
        self.silo = Silo.open(self.path, "w", sync="none")
        self.agrees()
        with self.silo.merge_writer():  # a commit writes the index anew
            pass

    @invariant()
    def agrees(self):
        if hasattr(self, "silo"):
            found = self.silo.get_many(POOL_ARRAY)
            assert list(found) == [self.model.get(key) for key in POOL]
            assert self.silo.keys().tolist() == sorted(self.model)
            assert len(self.silo) == len(self.model)
            counted = self.silo.get(POOL[len(self.model) % len(POOL)])
            assert counted == self.model.get(POOL[len(self.model) % len(POOL)])


POOL_ARRAY = np.array(POOL, np.uint64)
SiloMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, derandomize=True, deadline=None
)
TestSilo = SiloMachine.TestCase
