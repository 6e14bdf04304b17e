"""The command line: ``bitdex --help`` lists the commands.

Answers go to stdout; progress, hints and errors to stderr. What cannot be done is said in one
line that begins with ``bitdex:``, and the command exits with 1. Everything that takes time to import
is imported by the command that needs it.
"""

import io
import sys
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from bitdex import cli_output as output
from bitdex.errors import BitdexError
from bitdex.quantities import duration, size

app = typer.Typer(
    help="Load table dumps into a bitmap index, then filter, sort, page and count.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the index.")]
Vacant = Annotated[Path, typer.Argument(metavar="TARGET", help="A new or empty directory.")]
Where = Annotated[
    str, typer.Argument(metavar="QUERY", help='Such as "tagIds has 300 and not poi"; "" is all.')
]
Fields = Annotated[str | None, typer.Option(metavar="A,B,...", help="Fields to show; all if not given.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; the process's own arguments if None."""
    try:
        app(arguments)
    except (BitdexError, OSError) as error:
        print(f"bitdex: {error}", file=sys.stderr)
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        from bitdex import __version__

        print(f"bitdex {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what this terminal cannot show is spelled out
    context.call_on_close(sys.stdout.flush)  # here a reader that has gone, as in `| head`, is no error


@app.command()
def create(
    directory: Directory,
    schema: Annotated[Path, typer.Option(help="The index definition: YAML or JSON.")],
) -> None:
    """Make an empty index in a new directory."""
    import bitdex

    with bitdex.create(directory, schema) as index:
        filters, sorts = len(index.schema.filter_fields), len(index.schema.sort_fields)
        print(f"{directory}: index {index.schema.name!r}, {filters} filter fields, {sorts} sort fields")


@app.command()
def dump(
    directory: Directory,
    phases: Annotated[Path, typer.Option(help="YAML or JSON with dump_phases.")],
    source: Annotated[Path, typer.Option("--from", metavar="CSVDIR", help="Directory of the tables.")],
    only: Annotated[str | None, typer.Option(metavar="A,B,...", help="Phases to load; else all.")] = None,
    now: Annotated[
        str | None, typer.Option(metavar="TIME", help="Unix seconds, or a date, that count as the present.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No bars, no results.")] = False,
) -> None:
    """Load table dumps, phase by phase; each phase is one commit."""
    import bitdex

    if only is not None and not _names(only):
        raise typer.BadParameter(f"--only: {only!r} names no phase")
    with bitdex.open(directory, "w") as index:
        before = {(phase.name, phase.sequence) for phase in index.phases}
        try:
            index.dump(phases, source, _names(only), _moment(now), progress=not quiet and sys.stderr.isatty())
        finally:  # what was committed before a phase failed stays
            if not quiet:
                for phase in index.phases:
                    if (phase.name, phase.sequence) not in before:
                        print(phase)


@app.command()
def query(
    directory: Directory,
    where: Where = "",
    sort: Annotated[str | None, typer.Option(metavar="[-]FIELD", help="With - in front: descending.")] = None,
    limit: Annotated[int, typer.Option(help="Documents on the page.")] = 10,
    after: Annotated[str | None, typer.Option(metavar="CURSOR", help="Where the page before ended.")] = None,
    offset: Annotated[int, typer.Option(help="Documents to skip.")] = 0,
    fields: Fields = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Print one page of the documents that match."""
    import bitdex

    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    with bitdex.open(directory, "r") as index:
        page = index.query(where, sort, limit, after, offset)
        if as_json:
            print(output.to_json(output.page_content(page, _names(fields))))
        else:
            output.print_page(page, _names(fields), as_csv)


@app.command()
def count(directory: Directory, where: Where = "") -> None:
    """Print how many documents match."""
    import bitdex

    with bitdex.open(directory, "r") as index:
        print(index.count(where))


@app.command()
def get(
    directory: Directory,
    id: Annotated[int, typer.Argument(metavar="ID", help="The document's id.")],
    fields: Fields = None,
    as_json: AsJson = False,
) -> None:
    """Print one document."""
    import bitdex

    with bitdex.open(directory, "r") as index:
        document = index.get(id, _names(fields))
        print(output.to_json(document) if as_json else output.record(document))


@app.command()
def stats(directory: Directory, as_json: AsJson = False) -> None:
    """Print counts and sizes of an index."""
    import bitdex

    with bitdex.open(directory, "r") as index:
        found = index.stats()
        if as_json:
            print(output.to_json(found))
        else:
            output.print_stats(index, found)


@app.command()
def check(directory: Directory) -> None:
    """Read every byte of every file; exit with 1 if one is damaged."""
    from bitdex import findings

    found = findings.check(directory)
    output.print_findings(found)
    if (found["severity"] != "note").any():
        print(f"bitdex repair {directory} shows what can be done", file=sys.stderr)
        raise typer.Exit(1)
    print(f"{directory}: nothing {'wrong' if len(found) else 'found'}; {_content_of(directory)}")


@app.command()
def repair(
    directory: Directory,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else only say what would be done.")] = False,
) -> None:
    """Print what is damaged and what can be done, or do it."""
    import bitdex

    found = bitdex.repair(directory, dry_run=not yes)
    output.print_findings(found, "done" if yes else "would be done")
    if not len(found):
        print(f"{directory}: nothing to repair")
    elif not yes:
        print(f"nothing was changed; bitdex repair {directory} --yes does it", file=sys.stderr)
    elif found["action"].str.startswith("none").any():
        raise typer.Exit(1)


@app.command()
def compact(directory: Directory) -> None:
    """Reclaim dead space and empty the logs."""
    import bitdex

    with bitdex.open(directory, "w") as index:
        before = _size_of(directory)
        index.compact(progress=sys.stderr.isatty())
    print(f"{directory}: {size(before)} before, {size(_size_of(directory))} after")


@app.command()
def backup(directory: Directory, target: Vacant) -> None:
    """Write the newest commit into a directory, as another index."""
    import bitdex

    with bitdex.open(directory, "r") as index:
        index.backup(target, progress=sys.stderr.isatty())
    print(f"{target}: {_content_of(target)}, {size(_size_of(target))}")


@app.command()
def restore(
    backup: Annotated[Path, typer.Argument(metavar="BACKUP", help="Directory of the backup.")],
    target: Vacant,
) -> None:
    """Check a backup completely, then make an index of it."""
    import bitdex

    bitdex.restore(backup, target, progress=sys.stderr.isatty())
    print(f"{target}: {_content_of(target)}, {size(_size_of(target))}")


def _content_of(directory: Path) -> str:
    """Return how much an index, or a silo, holds."""
    import bitdex
    from bitdex import filesystem

    if filesystem.exists(directory / "meta.bin"):
        with bitdex.Silo.open(directory) as silo:
            return f"{len(silo):,} records"
    with bitdex.open(directory, "r") as index:
        return f"{len(index):,} documents"


def _size_of(path: Path) -> int:
    """Return the bytes of all files below a directory."""
    from bitdex import filesystem

    return sum(count for _, count in filesystem.sizes(path))


@app.command()
def explain(directory: Directory, where: Where = "") -> None:
    """Print the plan of a query, with what each step leaves and costs."""
    import bitdex

    with bitdex.open(directory, "r") as index:
        index.count(where)  # decodes the bitmaps, which the first query would pay for
        plan = index.explain(where)
        shown = plan[["step", "action", "clause", "cardinality", "left", "microseconds", "bytes"]]
        print(output.table(list(shown.columns), shown.itertuples(index=False, name=None)))


@app.command()
def warmup() -> None:
    """Compile all kernels ahead of their first use."""
    import bitdex

    clock = time.perf_counter()
    ready = bitdex.warmup(progress=sys.stderr.isatty())
    print(f"{ready} kernels ready in {duration(time.perf_counter() - clock)}")


@app.command()
def sample(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory for the files.")],
    rows: Annotated[int, typer.Option(help="Number of images.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Another seed gives other data of the same shape.")] = 20240229,
) -> None:
    """Write a generated data set: tables, schema.yaml and phases.yaml."""
    from tqdm import tqdm

    from bitdex import filesystem
    from bitdex.sample import generate

    with tqdm(total=rows, unit=" images", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:

        def report(done: int) -> None:
            bar.update(done - bar.n)

        files = generate(directory, rows, seed, progress=report)
    for name in ("schema", "phases"):
        content = resources.files("bitdex").joinpath(f"sample_{name}.yaml").read_bytes()
        filesystem.write_whole(directory / f"{name}.yaml", content, durable=False)
    print(output.table(["file", "rows", "bytes"], [[name, *file.values()] for name, file in files.items()]))
    print(f"\nbitdex create INDEX --schema {directory / 'schema.yaml'}")
    print(f"bitdex dump INDEX --phases {directory / 'phases.yaml'} --from {directory}")


def _moment(text: str | None) -> str | float | None:
    """Return a moment as `dump` takes it: a number where the text is one, else the text."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
