"""One side, in a process of its own: answer everything, then against the clock."""

import gc
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from asv_benchmarks.analysis.questions import FILTERS, digest

SIDES = {
    "bitdex": ("bitdex_side", "BitdexSide"),
    "duckdb": ("duckdb_side", "DuckdbSide"),
    "polars": ("polars_side", "PolarsSide"),
}
RUNS, FEWEST, SECONDS = 31, 3, 0.6  # of one way: runs, at least, and when to stop
BEFORE = 4  # runs before the clock starts: BitDex keeps what is asked for again

Case = tuple[str, str]  # question and filter
Told = dict[Case, dict[str, tuple[str, float]]]  # by way: digest of the answer, median in seconds


def side(name: str, stores: Path, asked: list[str]) -> tuple[Told, dict[str, tuple[float, float]]]:
    """Answer everything in this process; return answers and medians, and what has limits of its own."""
    module, kind = SIDES[name]
    one = getattr(import_module(f"asv_benchmarks.analysis.{module}"), kind)(stores, asked)
    told: Told = {}
    for question in asked:
        for filtered in FILTERS:
            ways = one.ways(question, filtered)
            told[question, filtered] = {
                way: (digest(one.answer(question, call())), median(call)) for way, call in ways.items()
            }
    limits = one.limits() if hasattr(one, "limits") else {}
    return told, {label: (limit, median(call)) for label, (limit, call) in limits.items()}


def median(call: Callable[[], Any]) -> float:
    for _ in range(BEFORE):
        call()
    gc.collect()
    gc.disable()
    seconds: list[float] = []
    while len(seconds) < FEWEST or (len(seconds) < RUNS and sum(seconds) < SECONDS):
        before = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - before)
        del result
    gc.enable()
    return statistics.median(seconds)
