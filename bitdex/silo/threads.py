"""Doing a thing for several items side by side, and never leaving one behind."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what `function` returns for each item.

    When one fails, or the caller is interrupted, this returns only after all have ended:
    a thread that went on would write to a descriptor that somebody else may have by then.
    """
    todo = list(items)
    if len(todo) == 1:
        return [function(todo[0])]
    futures = [pool.submit(function, item) for item in todo]
    try:
        return [future.result() for future in futures]
    except BaseException:
        for future in futures:
            future.cancel()
        wait(futures)
        raise
