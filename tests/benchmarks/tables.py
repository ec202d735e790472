"""The tables of `model_cards/README.md` from results.json, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")
TABLE = re.compile(r"(<!-- benchmarks: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
Results = Mapping[str, Sequence[Mapping[str, Any]]]


def comparisons(results: Results) -> str:
    """A row for each job beside another's, and for the memory of the dense kernel."""
    rows = [row for name, found in results.items() if name != "scaling" for row in found]
    head = ["job", "size", "threads", "ours", "beside", "theirs", "theirs / ours"]
    return _markdown(head, [_compared(row) for row in rows]) + _taken(rows)


def curve(results: Results) -> str:
    """A row for each number of points: both maps' time, memory, recall and agreement."""
    found = sorted(results.get("scaling", []), key=lambda row: row["n"])
    times = {row["n"]: sum(row["seconds"]) for row in found}
    head = "points", "both maps", "/ half as many", "peak memory", "solver", "recall of the true 10 nearest", "spectra"
    return _markdown(head, [_scaled(row, times) for row in found]) + _taken(found)


TABLES: dict[str, Callable[[Results], str]] = {"comparisons": comparisons, "scaling": curve}


def with_tables(text: str, results: Results) -> str:
    """A text whose marked tables are those of the results."""
    return TABLE.sub(lambda found: found[1] + TABLES[found["name"]](results) + "\n" + found[3], text)


def line(row: Mapping[str, Any]) -> str:
    """A row as one line of text."""
    return " | ".join(_scaled(row, {row["n"]: sum(row["seconds"])}) if "n" in row else _compared(row))


def _compared(row: Mapping[str, Any]) -> list[str]:
    theirs, ratio = (_seconds(row["theirs"]), _times(row["ratio"])) if "theirs" in row else ("", "")
    ours = _seconds(row["ours"]) + (f", {_bytes(row['memory'])}" if "memory" in row else "")
    return [row["what"], row["size"], str(row["threads"]), ours, row.get("other", ""), theirs, ratio]


def _scaled(row: Mapping[str, Any], times: Mapping[int, float]) -> list[str]:
    half = times.get(row["n"] // 2)
    growth = _times(times[row["n"]] / half) if half else ""
    recall = ", ".join(f"{one:.4f}" for one in row["recall"])
    spectra = f"{100 * row['spectra']:.2f} %"
    time, memory = _seconds(times[row["n"]]), _bytes(row["memory"])
    return [f"{row['n']:,}", time, growth, memory, row["solver"], recall, spectra]


def _taken(rows: Sequence[Mapping[str, Any]]) -> str:
    """When and on what: the load before says how many others were computing."""
    if not rows:
        return ""
    dates = sorted(row["taken"] for row in rows)
    loads = sorted(row["load"]["before"] for row in rows)
    machines = sorted({f"{row['machine']['cores']} cores of {row['machine']['processor']}" for row in rows})
    threads = sorted({row["threads"] for row in rows})
    return (
        f"\n\nTaken {' to '.join(dict.fromkeys((dates[0], dates[-1])))} on {'; '.join(machines)}; "
        f"threads: {', '.join(map(str, threads))}; load before: "
        f"{' to '.join(dict.fromkeys(f'{one:.1f}' for one in (loads[0], loads[-1])))}."
    )


def _seconds(value: float) -> str:
    if value >= 0.1:
        return f"{value:.1f} s" if value >= 10 else f"{value:.2g} s"
    return f"{1000 * value:.0f} ms" if value >= 0.01 else f"{1000 * value:.2g} ms"


def _times(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def _bytes(value: float) -> str:
    return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
