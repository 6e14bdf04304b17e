"""Tables in markdown, and what the comparison of the answers says."""

import statistics
from collections.abc import Iterable

from asv_benchmarks.peers.measure import Result, Timing
from asv_benchmarks.peers.scenarios import Scenario

Results = dict[str, Result]
TITLES = {"counts": "Counts", "pages": "Pages", "documents": "Documents"}
ENOUGH_FOR_P99 = 100


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """Return a markdown table, its columns padded for a terminal."""
    lines = [header, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    padded = (map(str.ljust, line, widths) for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def load_table(results: Results, images: int) -> str:
    """Return what loading took each peer that loaded in this run."""
    rows = []
    for name, result in results.items():
        if load := result.load:
            disk = f"{load.disk_mib:,.0f} MiB" if load.disk_mib else "in memory"
            speed = f"{images / load.seconds / 1000:,.1f} K/s"
            rows.append([name, f"{load.seconds:,.1f} s", speed, f"{load.peak_mib:,.0f} MiB", disk])
    return table(["peer", "load", "images", "peak memory", "store"], rows)


def section_table(section: str, scenarios: list[Scenario], results: Results) -> str:
    """Return a row for each scenario of a section, a column for each peer: median (p99)."""
    rows = []
    for scenario in scenarios:
        if scenario.section == section:
            timings = (result.timings[scenario.label] for result in results.values())
            rows.append([scenario.label, *map(cell, timings)])
    return table([TITLES[section], *results], rows)


def cell(timing: Timing) -> str:
    times = sorted(timing.nanoseconds)
    text = duration(statistics.median(times))
    if len(times) >= ENOUGH_FOR_P99:
        return f"{text} ({duration(times[len(times) * 99 // 100])})"
    return f"{text} [{len(times)} runs]"


def duration(nanoseconds: float) -> str:
    """Return a time with three digits that count."""
    units = [("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1)]
    unit, size = next((entry for entry in units if nanoseconds >= entry[1]), units[-1])
    value = nanoseconds / size
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def disagreements(scenarios: list[Scenario], results: Results, reference: str) -> list[str]:
    """Return a line for each scenario in which a peer answers otherwise than the reference."""
    lines = []
    for scenario in scenarios:
        expected = results[reference].timings[scenario.label].answers
        for name, result in results.items():
            found = result.timings[scenario.label].answers
            wrong = [place for place, (a, b) in enumerate(zip(expected, found)) if a != b]
            if wrong:
                first = wrong[0]
                line = f"{name}: {len(wrong)} of {len(found)} answers differ in '{scenario.label}'."
                line += f" {str(scenario.questions[first])[:120]}: {reference} {expected[first]},"
                lines.append(f"{line} {name} {found[first]}")
    return lines
