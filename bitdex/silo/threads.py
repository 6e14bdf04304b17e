"""Doing a thing for several items side by side, and never leaving one behind."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
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


def ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], count: int = 2
) -> Iterator[Result]:
    """Yield what `function` returns for each item, in order, working on the next `count` meanwhile."""
    running: deque[Future[Result]] = deque()
    try:
        for item in items:
            running.append(pool.submit(function, item))
            if len(running) > count:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()
        wait(running)
