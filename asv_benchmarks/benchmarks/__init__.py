"""Benchmarks of BitDex: each class is a scenario, named by the cost that dominates it.

Data come from `bitdex.sample` with a fixed seed. They are append-only: a change here makes
the history worthless, so another size or shape is another class.
"""

import tempfile
from pathlib import Path
from typing import Any

import bitdex
from bitdex.sample import NOW, generate, sample_phases, sample_schema

ROWS = 50_000
TAG = 28126  # the most frequent one, on every fourth image
RARE_TAG = 23244  # on one image of a thousand


class Tables:
    """Scenarios on the sample's tables, which are written once for all of them."""

    def setup_cache(self) -> str:
        directory = Path("tables").absolute()
        generate(directory, ROWS)
        return str(directory)


class Loaded:
    """Scenarios on a loaded index, which is built once for all of them."""

    def setup_cache(self) -> str:
        directory = Path("index").absolute()
        with tempfile.TemporaryDirectory() as tables:
            generate(tables, ROWS)
            with bitdex.create(directory, sample_schema(), sync="none") as index:
                index.dump(sample_phases(), tables, now=NOW)
        return str(directory)

    def setup(self, path: str, *parameters: Any) -> None:
        self.index = bitdex.open(path)

    def teardown(self, path: str, *parameters: Any) -> None:
        self.index.close()
