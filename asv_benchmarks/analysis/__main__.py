"""Print what analysis takes beside DuckDB and Polars: ``python -m asv_benchmarks.analysis --rows 1000000``.

Each side runs in a process of its own with two threads and holds its data in memory. It answers every
question under every filter, in each way it has; answers are compared before any time is looked at. A cell is
the median of the best way; the filter is part of what is timed.
"""

import argparse
import os
import platform
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from asv_benchmarks.analysis.questions import FILTERS, QUESTIONS
from asv_benchmarks.analysis.timing import SIDES, Case, Told, side
from asv_benchmarks.peers.datasets import ensure
from asv_benchmarks.peers.measure import measure
from asv_benchmarks.peers.peer import THREADS
from asv_benchmarks.peers.report import duration, table

STORES = ("bitdex", "duckdb-inv")


def run(name: str, *task: Any) -> Any:
    """Answer in a process of its own, with two threads."""
    for variable in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "ARROW_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ[variable] = str(THREADS)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(side, name, *task).result()


def load(data: Path, rows: int) -> Path:
    """Return the folder of the stores, loaded as `asv_benchmarks.peers` does."""
    stores, source = data / f"stores-{rows}", ensure(data, rows)
    for name in STORES:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(measure, name, source, stores / name, [], False).result()
    return stores


def disagreements(told: dict[str, Told]) -> list[str]:
    """Return a line for each answer that is not the first one."""
    lines, (first, answers) = [], next(iter(told.items()))
    for case, ways in answers.items():
        expected = next(iter(ways.values()))[0]
        for one in told.values():
            for way, (found, _) in one[case].items():
                if found != expected:
                    lines.append(f"{case[0]}, {case[1]}: {first} {expected}, {way} {found}")
    return lines


def row(case: Case, told: dict[str, Told]) -> list[str]:
    """Return the cells of one question under one filter: the best way of each side, and the ratio."""
    best = {name: min((s, way) for way, (_, s) in one[case].items()) for name, one in told.items()}
    cells = [", ".join(case)]
    for seconds, way in best.values():
        note = way.partition(", ")[2]
        cells.append(duration(1e9 * seconds) + (f" ({note})" if note else ""))
    peers = [seconds for name, (seconds, _) in best.items() if name != "bitdex"]
    if "bitdex" in best and peers:
        ratio, wanted = min(peers) / best["bitdex"][0], 1 / QUESTIONS[case[0]]
        cells.append(f"{ratio:.1f}" if ratio >= wanted else f"{ratio:.1f} < {wanted:.0f}")
    return cells


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m asv_benchmarks.analysis", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="images of the sample")
    parser.add_argument("--only", default="", help="questions that begin so, with commas between")
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "bitdex-peers")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    asked = [one for one in QUESTIONS if one.startswith(tuple(options.only.split(",")))]
    stores = load(options.data, options.rows)
    told: dict[str, Told] = {}
    limits: dict[str, tuple[float, float]] = {}
    for name in options.sides.split(","):
        print(f"{name} ...", flush=True)
        told[name], found = run(name, stores, asked)
        limits |= found
    print(f"\n{options.rows:,} images; {THREADS} threads; {platform.machine()}.\n")
    lines = disagreements(told)
    if lines:
        raise SystemExit("Answers differ.\n" + "\n".join(lines))
    cases = [(question, filtered) for question in asked for filtered in FILTERS]
    print(f"{len(cases)} questions: all gave the same answers.\n")
    rows = [row(case, told) for case in cases]
    header = ["analysis", *told, *(["times faster"] if len(rows[0]) > len(told) + 1 else [])]
    print(table(header, rows), end="\n\n")
    if limits:
        print(
            table(
                ["limits", "median", "at most"],
                [
                    [label, duration(1e9 * seconds), duration(1e9 * limit)]
                    for label, (limit, seconds) in limits.items()
                ],
            )
        )


if __name__ == "__main__":
    main()
