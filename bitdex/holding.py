"""Context managers, written as generators, that let go of what they hold however their block is left.

An interrupt (`KeyboardInterrupt`) may come at the first step of an ``__exit__``, or at the last one of an
``__enter__``. What a `contextlib.contextmanager` holds then stays held as long as somebody keeps the
traceback, as the prompt of Python and a notebook do: a lock of which nobody knows, a batch that nobody
commits. Here nobody has the generator but the ``with`` statement itself::

    with --> __exit__ (a partial) --> generator --> locks, ...
                 '--> _leave, whose frame, which a traceback keeps, knows the generator weakly

A generator that was not resumed when the statement is over is forgotten, and so closed: its ``finally``
runs. Entering is the generator's own ``__next__``, which has no frame around it.
"""

import functools
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

Given = ParamSpec("Given")
Held = TypeVar("Held")


def holding(function: Callable[Given, Iterator[Held]]) -> Callable[Given, AbstractContextManager[Held]]:
    """Make a context manager of a generator function, as `contextlib.contextmanager` does."""

    @functools.wraps(function)
    def made(*arguments: Given.args, **options: Given.kwargs) -> Any:
        return _Block(function(*arguments, **options))

    return made


def _leave(
    known: Callable[[], Any],
    kind: type[BaseException] | None,
    value: BaseException | None,
    trace: TracebackType | None,
) -> bool:
    """Resume a generator behind its block; return whether it has dealt with what the block raised.

    There is none any more where what holds the block, a generator too, is collected as part of a cycle: both
    are closed, each on its own.
    """
    if known() is None:
        return False
    try:
        if value is None:
            next(known())
        else:
            known().throw(value)
    except StopIteration as ended:
        return ended is not value
    except BaseException as error:
        if value is None or not (error is value or _is_wrapped(value, error)):
            raise
        value.__traceback__ = trace  # without the way through the generator
        return False
    raise RuntimeError("a context manager yields once")


def _is_wrapped(value: BaseException, error: BaseException) -> bool:
    """Whether an error is what a generator makes of a `StopIteration` that goes through it."""
    return isinstance(value, StopIteration) and error.__cause__ is value


class _Entering:
    def __get__(self, block: "_Block | None", kind: type) -> Any:
        return _Block.enter if block is None else block.generator.__next__


class _Leaving:
    def __get__(self, block: "_Block | None", kind: type) -> Any:
        return _Block.leave if block is None else block.leaving()


class _Block:
    """What a ``with`` statement asks for ``__enter__`` and ``__exit__``, and then drops."""

    __slots__ = ("generator",)
    __enter__, __exit__ = _Entering(), _Leaving()

    def __init__(self, generator: Any):
        self.generator = generator

    def leaving(self) -> Any:
        """Return what leaves the block; it alone keeps the generator."""
        leave = functools.partial(_leave, weakref.ref(self.generator))
        leave.generator = self.generator  # type: ignore[attr-defined]
        return leave

    def enter(self) -> Any:
        """Enter by hand, as an `ExitStack` does, which keeps this object."""
        return next(self.generator)

    def leave(self, *raised: Any) -> bool:
        """Leave by hand."""
        return self.leaving()(*raised)
