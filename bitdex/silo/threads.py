"""Doing a thing for several items side by side, and never leaving one behind."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from bitdex.uninterrupted import uninterrupted

Item = TypeVar("Item")
Result = TypeVar("Result")


def begun(pool: ThreadPoolExecutor, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
    """Let a thread call a function. Interrupted half-way, a pool takes nothing any more and never ends."""
    return uninterrupted(lambda: pool.submit(function, *arguments))


def ended(future: Future[Result]) -> Result:
    """Wait for what was begun, and return its result. Interrupted half-way, its thread can never end."""
    return uninterrupted(future.result)


def each(pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return what `function` returns for each item.

    When one fails, or the caller is interrupted, once or several times, no other is begun, and this returns
    only after all have ended: a thread that went on would write to what somebody else may have by then.
    """
    todo = list(items)
    if len(todo) == 1:
        return [function(todo[0])]
    results: dict[int, Result] = {}
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True

    def work(row: int) -> None:
        if not stopped:
            results[row] = function(todo[row])

    def run() -> None:
        futures: list[Future[None]] = []
        try:
            for row in range(len(todo)):
                if row not in results:
                    futures.append(pool.submit(work, row))
            for future in futures:
                future.result()
        finally:
            stop()
            wait(futures)

    while len(results) < len(todo):  # a handler of signals need not raise: then the rest is done as well
        stopped = False
        uninterrupted(run, stop)
    return [results[row] for row in range(len(todo))]


def ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], count: int = 2
) -> Iterator[Result]:
    """Yield what `function` returns for each item, in order, working on the next `count` meanwhile."""
    running: deque[Future[Result]] = deque()
    try:
        for item in items:
            running.append(begun(pool, function, item))
            if len(running) > count:
                yield ended(running.popleft())
        while running:
            yield ended(running.popleft())
    finally:
        for future in running:
            future.cancel()
        uninterrupted(lambda: wait(running))
