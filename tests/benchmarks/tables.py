"""The README's tables from results.json, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")
TABLE = re.compile(r"(<!-- benchmarks: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def comparisons(results: Mapping[str, Any]) -> str:
    """A row for each job beside another's, and for the memory of the dense kernel."""
    rows = []
    for name, found in results.items():
        for row in found["rows"] if name != "scaling" else []:
            theirs, ratio = (_seconds(row["theirs"]), _times(row["ratio"])) if "theirs" in row else ("", "")
            memory = f", {_bytes(row['memory'])}" if "memory" in row else ""
            rows.append([row["what"], row["size"], _seconds(row["ours"]) + memory, row.get("other", ""), theirs, ratio])
    return _markdown(["job", "size", "ours", "beside", "theirs", "theirs / ours"], rows)


def curve(results: Mapping[str, Any]) -> str:
    """A row for each number of points: both maps' time, memory, recall and agreement."""
    rows, found = [], results.get("scaling", {"rows": []})["rows"]
    times = {row["n"]: sum(row["seconds"]) for row in found}
    for row in found:
        half = times.get(row["n"] // 2)
        growth = _times(times[row["n"]] / half) if half else ""
        recall = ", ".join(f"{one:.4f}" for one in row["recall"])
        spectra = f"{100 * row['spectra']:.2f} %"
        seconds = _seconds(times[row["n"]])
        rows.append([f"{row['n']:,}", seconds, growth, _bytes(row["memory"]), row["solver"], recall, spectra])
    head = [
        "points",
        "both maps",
        "/ half as many",
        "peak memory",
        "solver",
        "recall of the true 10 nearest",
        "spectra",
    ]
    return _markdown(head, rows)


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {"comparisons": comparisons, "scaling": curve}


def with_tables(text: str, results: Mapping[str, Any]) -> str:
    """A text whose marked tables are those of the results."""
    return TABLE.sub(lambda found: found[1] + TABLES[found["name"]](results) + "\n" + found[3], text)


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 10 else f"{value:.2g} s" if value >= 0.1 else f"{1000 * value:.2g} ms"


def _times(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def _bytes(value: float) -> str:
    return f"{value / 2**30:.2f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
