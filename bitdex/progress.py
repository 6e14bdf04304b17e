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
    with _shown(total=total, desc=name, unit=" " + unit) as bar:
        yield bar.update


def _bar(name: str, total: int) -> Any:
    counted = "{n_fmt}/{total_fmt} {rate_fmt} [{elapsed}<{remaining}] {postfix}"
    form = "{desc:>12}: {percentage:3.0f}% |{bar:24}| " + counted
    return _shown(
        total=total or None, desc=name, unit="B", unit_scale=True, bar_format=form if total else None
    )


def _shown(**options: Any) -> Any:
    """Return a widget bar where it can be shown, else a plain one; a bar never stops what it shows."""
    from tqdm import tqdm as plain

    options |= {"mininterval": INTERVAL, "file": sys.stderr}
    try:
        import ipywidgets  # noqa: F401  # without it the bar of a notebook fails
        from tqdm.auto import tqdm

        form = options.get("bar_format")  # a widget has its own width
        return tqdm(**options | {"bar_format": form and form.replace("{bar:24}", "{bar}")})
    except Exception:
        return plain(**options)
