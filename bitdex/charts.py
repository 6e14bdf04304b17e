"""Charts: the few kinds of plots that a look inside takes, on the axes of matplotlib.

They take numbers and texts, and draw with the colours and on the background that the user has set.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bitdex.errors import MissingError

LONGEST = 60  # characters of a label


def axes(ax: Any = None) -> Any:
    """Return axes to draw on: those that are given, or new ones.

    Raises
    ------
    MissingError
        If new ones are needed and matplotlib is not installed.
    """
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError:
        raise MissingError(
            "plots need matplotlib, which is not installed: pip install 'bitdex[plots]'"
        ) from None
    return pyplot.subplots(layout="constrained")[1]


def bars(ax: Any, labels: Sequence[str], widths: Sequence[float], notes: Sequence[str] = ()) -> Any:
    """Draw a bar for each label, the first on top, with a note at its end."""
    drawn = ax.barh(range(len(labels)), widths)
    _name(ax, labels, max(widths, default=0))
    if all(isinstance(width, int) for width in widths):
        ax.locator_params("x", integer=True)
    if notes:
        ax.bar_label(drawn, list(map(plain, notes)), padding=3)
        ax.set_xlim(0, 1.4 * ax.get_xlim()[1])  # room for them
    return ax


def stacks(ax: Any, labels: Sequence[str], parts: Mapping[str, Sequence[float]]) -> Any:
    """Draw a bar for each label, made of parts that follow each other."""
    begin = [0.0] * len(labels)
    for name, widths in parts.items():
        ax.barh(range(len(labels)), widths, left=begin, label=plain(name))
        begin = [at + width for at, width in zip(begin, widths)]
    _name(ax, labels, max(begin, default=0))
    if labels and parts:
        ax.legend()
    return ax


def steps(ax: Any, lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Any:
    """Draw each line of (x, y) as steps."""
    for name, (x, y) in lines.items():
        ax.step(x, y, where="post", label=plain(name))
    if lines:
        ax.legend()
    return ax


def plain(text: str) -> str:
    """Return a text of one line, cut short; a dollar sign begins no formula."""
    line = " ".join(str(text).split())
    return (line if len(line) <= LONGEST else line[: LONGEST - 1] + "…").replace("$", r"\$")


def _name(ax: Any, labels: Sequence[str], largest: float) -> None:
    """Name bars; where none has a width, there is an axis all the same, and it begins at 0."""
    ax.set_yticks(range(len(labels)), list(map(plain, labels)))
    ax.invert_yaxis()
    ax.set_xlim(0, None if largest else 1)
