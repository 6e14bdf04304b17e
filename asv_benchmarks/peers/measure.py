"""One peer, in a process of its own: load, open, answer everything once, then against the clock."""

import gc
import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from asv_benchmarks.peers.peer import Peer
from asv_benchmarks.peers.questions import Count, DocumentOf, DocumentsOf, PageOf, Question
from asv_benchmarks.peers.scenarios import Scenario

PEERS = {
    "duckdb": ("duckdb_peer", "DuckdbPeer"),
    "duckdb-inv": ("duckdb_peer", "DuckdbInvertedPeer"),
    "sqlite": ("sqlite_peer", "SqlitePeer"),
    "tantivy": ("tantivy_peer", "TantivyPeer"),
    "handmade": ("handmade_peer", "HandmadePeer"),
    "bitdex": ("bitdex_peer", "BitdexPeer"),
}
BUDGET = 15.0  # seconds for one pass over a scenario; slower peers answer fewer questions
MEBI = 1 << 20


@dataclass
class Load:
    """What building the store took."""

    seconds: float
    peak_mib: float
    disk_mib: float


@dataclass
class Timing:
    """Answers and nanoseconds of one scenario, question by question."""

    answers: list[str]
    nanoseconds: list[int]


@dataclass
class Result:
    """Everything measured of one peer."""

    load: Load | None = None
    timings: dict[str, Timing] = field(default_factory=dict)


def measure(name: str, source: Path, store: Path, scenarios: list[Scenario], reload: bool) -> Result:
    """Measure a peer; its store is kept for the next run unless `reload` is asked for."""
    module, kind = PEERS[name]
    peer: Peer = getattr(import_module(f"asv_benchmarks.peers.{module}"), kind)()
    result = Result()
    complete = store.with_suffix(".complete")
    if reload or not complete.exists():
        shutil.rmtree(store, ignore_errors=True)
        complete.unlink(missing_ok=True)
        result.load = loaded(peer, source, store)
        if store.exists():  # what lives in memory only is loaded every time
            complete.touch()
    peer.open(store)
    for scenario in scenarios:
        result.timings[scenario.label] = timed(peer, scenario.questions)
    return result


def loaded(peer: Peer, source: Path, store: Path) -> Load:
    before = time.perf_counter()
    peer.load(source, store)
    seconds = time.perf_counter() - before
    disk = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    return Load(seconds, peak_memory() / MEBI, disk / MEBI)


def peak_memory() -> int:
    """Return this process's peak resident bytes: ru_maxrss would begin with the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def timed(peer: Peer, questions: Sequence[Question]) -> Timing:
    """Prepare all, answer all once (that warms and is compared), then answer all again, timed."""
    calls = [prepared(peer, question) for question in questions]
    answers: list[str] = []
    deadline = time.perf_counter() + BUDGET
    for question, call in zip(questions, calls):
        answers.append(canonical(question, call()))
        if time.perf_counter() > deadline:
            break
    gc.collect()
    gc.disable()
    nanoseconds: list[int] = []
    deadline = time.perf_counter() + BUDGET
    for call in calls[: len(answers)]:
        before = time.perf_counter_ns()
        answer = call()
        nanoseconds.append(time.perf_counter_ns() - before)
        del answer  # before the next is made: freeing is not timed, and two do not have to fit
        if time.perf_counter() > deadline:
            break
    gc.enable()
    return Timing(answers, nanoseconds)


def prepared(peer: Peer, question: Question) -> Callable[[], Any]:
    match question:
        case Count(where):
            return peer.count(where)
        case PageOf(where, sort, limit, _, True):
            return peer.page_documents(where, sort, limit)
        case PageOf(where, sort, limit, skip):
            after = None
            for _ in range(skip):
                cursor = peer.page(where, sort, limit, after)().cursor
                after = after if cursor is None else cursor  # the last page there is
            return peer.page(where, sort, limit, after)
        case DocumentsOf(ids):
            return peer.frame(ids)
        case DocumentOf(id):
            return peer.document(id)


def canonical(question: Question, answer: Any) -> str:
    """Return an answer's beginning, and a digest of all of it, in a form that is the same for all peers."""
    match question:
        case Count():
            return str(int(answer))
        case PageOf(documents=False):
            text = str([int(id) for id in answer.ids])
        case PageOf():
            text = str(list(map(plain, answer)))
        case DocumentsOf():
            text = str(frame_facts(answer))
        case DocumentOf():
            text = str(plain(answer))
    return f"{text[:60]}... {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def plain(document: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return what a document holds: without missing values and empty lists, in one order."""
    return sorted((name, value) for name, value in document.items() if value is not None and value != [])


def frame_facts(frame: pd.DataFrame) -> dict[str, int]:
    """Return sums that tell whether a frame holds the documents asked for, lists included."""
    sums = {name: int(frame[name].fillna(0).sum()) for name in ("userId", "reactionCount", "sortAt")}
    texts = int(frame["baseModel"].notna().sum())
    tags = sum(len(tags) for tags in frame["tagIds"] if tags is not None and tags is not pd.NA)
    return {"rows": len(frame), "base models": texts, "tags": tags, **sums}
