"""Print tables of BitDex beside its peers: ``python -m asv_benchmarks.peers --rows 1000000``.

Each peer runs in a fresh process with two threads: it loads the same files, answers every
question once, then answers them again against the clock. Cells are medians, with the 99th
percentile in parentheses. Preparing a statement or building a query object is not timed.
"""

import argparse
import os
import platform
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import asv_benchmarks.peers.report as report
from asv_benchmarks.peers.datasets import Facts, ensure
from asv_benchmarks.peers.measure import PEERS, Result, measure
from asv_benchmarks.peers.peer import THREADS
from asv_benchmarks.peers.scenarios import Scenario, scenarios

SECTIONS = ("load", *report.TITLES)


def words(text: str, known: tuple[str, ...]) -> list[str]:
    """Split a list given on the command line."""
    names = text.split(",")
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name} is unknown; choose from {', '.join(known)}")
    return names


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m asv_benchmarks.peers", description=__doc__.splitlines()[0])
    sections, peers = partial(words, known=SECTIONS), partial(words, known=tuple(PEERS))
    parser.add_argument("--rows", type=int, default=1_000_000, help="images of the sample")
    parser.add_argument("--only", type=sections, default=list(SECTIONS), help=",".join(SECTIONS))
    parser.add_argument("--peers", type=peers, default=list(PEERS), help=",".join(PEERS))
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "bitdex-peers")
    parser.add_argument("--runs", type=int, default=200, help="questions of a scenario")
    return parser.parse_args()


def run(name: str, *task: Any) -> Result:
    """Measure a peer in a process of its own."""
    for variable in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "ARROW_NUM_THREADS"):
        os.environ[variable] = str(THREADS)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, name, *task).result()


def print_answers(asked: list[Scenario], results: report.Results) -> None:
    reference = "handmade" if "handmade" in results else next(iter(results))
    questions = sum(len(scenario.questions) for scenario in asked)
    lines = report.disagreements(asked, results, reference)
    if lines:
        print("**Answers differ.**\n\n" + "\n".join(f"- {line}" for line in lines), end="\n\n")
    elif len(results) > 1:
        others = ", ".join(name for name in results if name != reference)
        print(f"{questions:,} questions: {others} answered as {reference} did.\n")


def main() -> None:
    options = arguments()
    folder = ensure(options.data, options.rows)
    facts = Facts.of(folder)
    asked = [scenario for scenario in scenarios(facts, options.runs) if scenario.section in options.only]
    results: report.Results = {}
    for name in options.peers:
        print(f"{name} ...", flush=True)
        store = options.data / f"stores-{options.rows}" / name
        try:
            results[name] = run(name, folder, store, asked, "load" in options.only)
        except Exception as error:  # the other peers' figures are not lost
            print(f"{name} failed: {type(error).__name__}: {error}")
    if not results:
        raise SystemExit("No peer could be measured.")
    visible = f"{len(facts.ids):,} visible images of {options.rows:,}"
    print(f"\n{visible}; {THREADS} threads; {platform.machine()}.\n")
    print_answers(asked, results)
    if "load" in options.only:
        print(report.load_table(results, options.rows), end="\n\n")
    for section in report.TITLES:
        if section in options.only:
            print(report.section_table(section, asked, results), end="\n\n")


if __name__ == "__main__":
    main()
