"""The tour behind ``make demo``: generate tables, load them, look at what comes out and how fast.

Leaves the tables in demo-data/ and the index in demo-index/ to play with. Those of an earlier run are
replaced, and nothing else is.
"""

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

import bitdex
import bitdex.errors
from bitdex.cli_output import cell, record, table
from bitdex.quantities import duration, size
from bitdex.remains import check_vacant
from bitdex.sample import HEADERS, NOW, generate, sample_phases, sample_schema

f = bitdex.field
RUNS = 51
NOTE = "made-by-the-demo.txt"  # beside the tables
NAME = "demo"  # of the index
PARTS = {"bitmaps", "cache", "commit.bin", "dictionaries.bin", "documents", "dumps.json", "fields.bin"}
PARTS |= {"schema.json", "temporary", "writer.lock"}


def main() -> None:
    options = arguments()
    earlier = made_here(options.index)
    check_tables(options.data)
    heading("Compile the kernels, once on this machine")
    clock = time.perf_counter()
    ready = bitdex.warmup(progress=True)
    say(f"{ready} kernels in {duration(time.perf_counter() - clock)}")
    make_tables(options.data, options.rows)
    if earlier:
        shutil.rmtree(options.index)
    load(options.data, options.index)
    heading("Open it again")
    clock = time.perf_counter()
    with bitdex.open(options.index) as index:
        say(f"{index!r} in {duration(time.perf_counter() - clock)}")
        tour(index)
    what_next(options.index)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000, help="images to generate")
    parser.add_argument("--data", type=Path, default=Path("demo-data"))
    parser.add_argument("--index", type=Path, default=Path("demo-index"))
    return parser.parse_args()


def made_here(target: Path) -> bool:
    """Tell whether there is the index of an earlier run; end the program if there is anything else."""
    try:
        if not (target / "commit.bin").exists():
            check_vacant(target)
            return False
        with bitdex.open(target, "r") as index:
            other = {path.name for path in target.iterdir()} - PARTS
            if index.schema.name != NAME or other:
                found = f"the index {index.schema.name!r}" + (f", and {min(other)}" if other else "")
                sys.exit(f"demo: {target} holds {found}, not the index of this demo; choose another --index")
        bitdex.open(target, "w").close()  # unless somebody else has it open
    except (bitdex.errors.BitdexError, OSError) as error:
        sys.exit(f"demo: {error}; choose another --index")
    return True


def check_tables(folder: Path) -> None:
    """End the program if there are tables that no earlier run has made."""
    theirs = [name for name in HEADERS if (folder / name).exists()]
    if theirs and not (folder / NOTE).exists():
        sys.exit(f"demo: {folder / theirs[0]} is not a table of this demo; choose another --data")


def make_tables(folder: Path, rows: int) -> None:
    heading(f"Generate the tables of an image site in {folder}/")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NOTE).write_text(f"{', '.join(HEADERS)}: the next run of the demo replaces them.\n")
    with tqdm(total=rows, unit=" images", file=sys.stderr) as bar:
        files = generate(folder, rows, progress=lambda done: moved(bar, done))
    lines = [[name, f"{file['rows']:,}", size(file["bytes"])] for name, file in files.items()]
    say(table(["file", "rows", "size"], lines))


def moved(bar: Any, done: int) -> None:
    bar.update(done - bar.n)


def load(folder: Path, target: Path) -> None:
    heading(f"Load them, phase by phase, into {target}/")
    clock = time.perf_counter()
    with bitdex.create(target, {**sample_schema(), "name": NAME}) as index:
        results = index.dump(sample_phases(), folder, now=NOW, progress=True)
        seconds = time.perf_counter() - clock
        silos = index.stats()["silos"].values()
    names = ("rows", "applied", "filtered", "rejected", "documents")
    lines = [[r.name, *(f"{getattr(r, n):,}" for n in names), f"{r.seconds:.2f} s"] for r in results]
    say(table(["phase", *names, "time"], lines))
    rows = sum(result.rows for result in results)
    stored = size(sum(silo["data_bytes"] + silo["index_bytes"] for silo in silos))
    rate = f"{rows / seconds / 1e6:.2f} million rows a second"
    say(f"\n{rows:,} rows in {duration(seconds)}: {rate}; {stored} on disk")
    say(f"{results[0].deferred:,} images wait for the publication of their post; no answer shows them yet.")


def tour(index: Any) -> None:
    tag, user = popular(index, "tagIds"), popular(index, "userId")
    counts(index, tag, user)
    pages(index, tag, user)
    documents(index, tag)
    plan(index, tag)


def popular(index: Any, name: str) -> int:
    """Return the value that most of a thousand images have in common."""
    values = index.query(limit=1000).to_pandas([name])[name]
    return int(
        values.explode().value_counts().index[0] if name == "tagIds" else values.value_counts().index[0]
    )


def counts(index: Any, tag: int, user: int) -> None:
    heading("Count: exact, whatever the filter")
    questions = [
        "",
        "nsfwLevel == 1",
        f"tagIds has {tag}",
        f"tagIds has {tag} and nsfwLevel in [1, 2] and not poi",
        "type == 'video' and sortAt >= '2024-06-01'",
        "baseModel is null and reactionCount > 100",
        f"userId == {user} or (hasMeta and onSite)",
    ]
    lines = []
    for where in questions:
        clock = time.perf_counter()
        found = index.count(where)
        first = time.perf_counter() - clock
        again = median(lambda where=where: index.count(where))
        lines.append([where or "everything", f"{found:,}", duration(first), duration(again)])
    say(table(["question", "images", "first", "again"], lines))
    say(f"\nThe first call reads bitmaps from disk; then it is a median of {RUNS}, parsing included.")


def pages(index: Any, tag: int, user: int) -> None:
    heading("Filter, sort, page")
    questions = [
        ("newest", None, "-sortAt"),
        ("most reactions, one tag", f.tagIds.has(tag), "-reactionCount"),
        ("most reactions, safe", (f.nsfwLevel == 1) & ~f.poi & ~f.minor, "-reactionCount"),
        ("oldest of a user", f.userId == user, "sortAt"),
        ("one month, by comments", f.sortAt.between("2024-03-01", "2024-03-31"), "-commentCount"),
    ]
    lines = []
    for name, where, sort in questions:
        page = index.query(where, sort, limit=50)
        first = median(lambda where=where, sort=sort: index.query(where, sort, limit=50))
        following = median(page.next)
        lines.append([name, sort, f"{page.total:,}", duration(first), duration(following)])
    say(table(["question", "sort", "images", "first 50", "next 50"], lines))
    page = index.query(f.tagIds.has(tag), "-reactionCount", limit=5)
    say(f"\nindex.query(f.tagIds.has({tag}), '-reactionCount', limit=5)\n")
    found = page.to_arrow(["reactionCount", "type", "baseModel", "userId", "tagIds"])
    say(table(found.column_names, [list(row.values()) for row in found.to_pylist()]))
    say(f"\nThe next page begins behind the cursor {str(page.cursor)!r}: no tie is lost, none comes twice.")


def documents(index: Any, tag: int) -> None:
    heading("Documents")
    best = int(index.query(sort="-reactionCount", limit=1).ids[0])
    shown = {name: cell(value) for name, value in index.get(best).items()}
    say(f"index.get({best}) in {duration(median(lambda: index.get(best)))}\n")
    say(record(shown))
    everything = index.get_many(index.ids(f.tagIds.has(tag)))
    clock = time.perf_counter()
    frame = everything.to_pandas()
    seconds = time.perf_counter() - clock
    rows, columns = frame.shape
    say(f"\nA DataFrame of all {rows:,} documents with tag {tag}, {columns} columns, in {duration(seconds)}")


def plan(index: Any, tag: int) -> None:
    where = f"tagIds has {tag} and nsfwLevel in [1, 2] and not poi and sortAt >= '2024-01-01'"
    heading("Explain")
    index.count(where)
    found = index.explain(where)
    say(f"index.explain({where!r})\n")
    say(table(list(found.columns), found.itertuples(index=False, name=None)))


def median(task: Callable[[], Any]) -> float:
    """Return the median seconds of several calls; one before them reads what is cached from then on."""
    task()
    times = []
    for _ in range(RUNS):
        clock = time.perf_counter()
        task()
        times.append(time.perf_counter() - clock)
    return statistics.median(times)


def what_next(target: Path) -> None:
    heading("Your turn")
    folder = Path(sys.executable).parent
    command = folder / "bitdex" if (folder / "bitdex").exists() else Path("bitdex")
    if command.is_relative_to(Path.cwd()):
        command = command.relative_to(Path.cwd())
    say(f"{command} query {target} 'nsfwLevel == 1 and not poi' --sort -reactionCount --fields url,tagIds")
    say(f"{command} explain {target} \"type == 'video' and sortAt >= '2024-06-01'\"")
    say(f"{command} stats {target}")
    say(f"\n>>> import bitdex\n>>> index = bitdex.open('{target}')\n>>> f = bitdex.field")
    say(">>> index.query((f.type == 'video') & (f.reactionCount > 100), sort='-sortAt').to_pandas()")


def heading(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m\n" if sys.stdout.isatty() else f"\n{text}\n{'-' * len(text)}", flush=True)


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
