"""History: what asv has measured at each commit, as DataFrames.

::

    results/benchmarks.json                        units, by benchmark
    results/<machine>/<commit>-<environment>.json  one file for each commit that was measured

`read` makes a row of each benchmark, combination of parameters and commit; `changes` finds where a benchmark
became slower or faster. ``examples/performance_over_time.ipynb`` shows both.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

COLUMNS = ["benchmark", "parameters", "commit", "date", "machine", "value", "low", "high", "unit"]


def read(directory: str | Path) -> pd.DataFrame:
    """Return everything that a folder of asv's results holds, by benchmark and date.

    Returns
    -------
    DataFrame
        benchmark, parameters (text, empty if there are none), commit, date (of the commit), machine, value
        (the median; NaN if the benchmark failed there), low and high (the quartiles of its samples; of one
        sample, as with ``--quick``, the value itself), unit.
    """
    folder = Path(directory)
    if not (folder / "benchmarks.json").exists():
        raise FileNotFoundError(
            f"{folder} holds no benchmarks.json; `make bench` writes asv_benchmarks/results"
        )
    units = json.loads((folder / "benchmarks.json").read_text())
    rows = [row for path in sorted(folder.glob("*/*-*.json")) for row in _rows(path, units)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["date"] = pd.to_datetime(frame["date"], unit="ms", utc=True)
    return frame.sort_values(["benchmark", "parameters", "date"], ignore_index=True)


def changes(history: pd.DataFrame, least: float = 1.1) -> pd.DataFrame:
    """Return where a benchmark changed from one commit to the next, the greatest changes first.

    A change counts if it is by `least` or more, and the quartiles of both commits do not overlap.

    Returns
    -------
    DataFrame
        benchmark, parameters, machine, commit, before, after, times (after / before: above 1 is worse).
    """
    measured = history.dropna(subset=["value", "low", "high"])
    earlier = measured.groupby(["benchmark", "parameters", "machine"])[["value", "low", "high"]].shift()
    times = measured["value"] / earlier["value"]
    apart = (measured["low"] > earlier["high"]) | (measured["high"] < earlier["low"])
    found = measured.assign(before=earlier["value"], after=measured["value"], times=times)
    found = found[apart & ((times >= least) | (times <= 1 / least))]
    size = found["times"].where(found["times"] >= 1, 1 / found["times"])
    names = ["benchmark", "parameters", "machine", "commit", "before", "after", "times"]
    return found.loc[size.sort_values(ascending=False, kind="stable").index, names].reset_index(drop=True)


def _rows(path: Path, units: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of one commit; asv leaves out what is empty at the end of an entry."""
    told = json.loads(path.read_text())
    for name, entry in told["results"].items():
        known = dict(zip(told["result_columns"], entry))
        combinations = list(itertools.product(*known.get("params") or [])) or [()]
        columns = [
            _spread(known.get(one), len(combinations)) for one in ("result", "stats_q_25", "stats_q_75")
        ]
        unit = units.get(name, {}).get("unit", "")
        for parameters, value, low, high in zip(combinations, *columns):
            yield (
                *(
                    name,
                    ", ".join(parameters),
                    told["commit_hash"][:8],
                    told["date"],
                    told["params"]["machine"],
                ),
                *(value, low, high, unit),
            )


def _spread(values: list[float | None] | None, count: int) -> list[float]:
    """Return a number for each combination of parameters; NaN where there is none."""
    numbers = [float("nan") if one is None else one for one in values or []]
    return numbers + [float("nan")] * (count - len(numbers))
