"""Progress: a bar in terminal and notebook, or a function of the caller's."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Report = Callable[[int, int], None]  # rows, bytes
INTERVAL = 0.1  # seconds between two updates


@contextmanager
def reporter(
    progress: bool | Callable[[str, int, int, int], None], name: str, total: int
) -> Iterator[Report]:
    """Yield a function that is told rows and bytes so far; `total` bytes are expected, 0 if unknown."""
    if callable(progress):
        yield lambda rows, done: progress(name, rows, done, total)
    elif progress:
        with _bar(name, total) as bar:

            def report(rows: int, done: int) -> None:
                bar.set_postfix_str(f"{rows:,} rows", refresh=False)
                bar.update(done - bar.n)

            yield report
    else:
        yield lambda rows, done: None


@contextmanager
def counter(progress: bool, name: str, total: int, unit: str) -> Iterator[Callable[[int], Any]]:
    """Yield a function that is told how many more are done, of `total`."""
    if not progress:
        yield lambda more: None
        return
    with _tqdm()(total=total, desc=name, unit=" " + unit, mininterval=INTERVAL, file=sys.stderr) as bar:
        yield bar.update


def _bar(name: str, total: int) -> Any:
    return _tqdm()(
        total=total or None,
        desc=name,
        unit="B",
        unit_scale=True,
        mininterval=INTERVAL,
        bar_format="{desc:>12}: {percentage:3.0f}% |{bar:24}| {n_fmt}/{total_fmt} {rate_fmt} "
        "[{elapsed}<{remaining}] {postfix}"
        if total
        else None,
        file=sys.stderr,
    )


def _tqdm() -> Any:
    """Return the widget bar where it can be shown, else the plain one."""
    try:
        import ipywidgets  # noqa: F401
        from tqdm.auto import tqdm
    except ImportError:
        from tqdm import tqdm
    return tqdm
