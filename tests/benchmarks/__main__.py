"""Run the benchmarks, under ten minutes on two idle cores, print each row when it is ready, and keep it:

    python -m tests.benchmarks --datafold PYTHON

writes tests/benchmarks/results.json after every row and the tables of model_cards/README.md from it at the end. PYTHON
is an interpreter that has the extra `datafold`, which asks for older packages; without it that row stays as it was.
`embedding` needs the extra `bench`. One that fails or takes over 200 s is told and does not stop the others; the rows
that it had are kept.

    python -m tests.benchmarks splines memory          some of them
    python -m tests.benchmarks scaling --size 1000000 --limit 800   one size; this one takes about 5 GB
    python -m tests.benchmarks --tables                nothing but the tables

OMP_NUM_THREADS is left as it is: unset, all cores are used, and each row says how many threads it had. Where others
compute too, set it to 1: threads that wait for each other lose most there.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import NAMES
from .clock import ROOT, load, now
from .tables import RESULTS, line, with_tables

LIMIT = 200.0  # seconds for one benchmark; what it told before is kept


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 1 where a benchmark failed."""
    given = _parser().parse_args(words)
    names = [] if given.tables else given.names or NAMES
    before, failed = load(), []
    try:
        for name in names:
            print(f"{now()} {name}", flush=True)
            try:
                for row in _told(name, given):
                    print("  " + line(row), flush=True)
                    keep(given.results, name, row | {"load": {"before": before, "after": load()}})
            except subprocess.SubprocessError as error:
                failed.append(name)
                print(f"  failed: {error}", flush=True)
    finally:
        results = _kept(given.results)
        given.readme.write_text(with_tables(given.readme.read_text(encoding="utf-8"), results), encoding="utf-8")
    print(f"{now()} " + (f"failed: {', '.join(failed)}" if failed else "done"))
    return bool(failed)


def keep(path: Path, name: str, row: dict[str, Any]) -> None:
    """Put a row in the place of the one with its job and size, or at the end of its benchmark."""
    results = _kept(path)
    rows = results.setdefault(name, [])
    same = [i for i, other in enumerate(rows) if (other["what"], other["size"]) == (row["what"], row["size"])]
    rows[slice(same[0], same[0] + 1) if same else slice(len(rows), None)] = [row]
    ordered = {known: results[known] for known in NAMES if known in results}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    new.replace(path)


def _kept(path: Path) -> dict[str, list[dict[str, Any]]]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _told(name: str, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows that a benchmark prints in a process of its own."""
    python = given.datafold if name == "datafold_kernel" and given.datafold else sys.executable
    command = [python, "-m", f"tests.benchmarks.{name}", *([str(given.size)] if given.size else [])]
    # A session of its own: processes that it started end with it.
    quiet = os.environ | {"TQDM_DISABLE": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=quiet, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        late = threading.Event()
        timer = threading.Timer(given.limit, _end, (process.pid, late))
        timer.start()
        try:
            assert process.stdout is not None
            for text in process.stdout:
                yield json.loads(text)
            status = process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if late.is_set():
        raise subprocess.TimeoutExpired(command, given.limit)
    if status:
        raise subprocess.CalledProcessError(status, command)


def _end(leader: int, late: threading.Event) -> None:
    late.set()
    os.killpg(leader, signal.SIGKILL)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tests.benchmarks", description="Run benchmarks and keep what they find; embedding needs the extra bench."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all when none is named: {', '.join(NAMES)}")
    parser.add_argument("--datafold", metavar="PYTHON", help="interpreter with the extra datafold, for datafold_kernel")
    parser.add_argument("--size", type=int, help="rows instead of the usual number")
    parser.add_argument("--limit", type=float, default=LIMIT, metavar="SECONDS", help="for one benchmark")
    parser.add_argument("--tables", action="store_true", help="run nothing, write the tables")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to keep rows in")
    parser.add_argument("--readme", type=Path, default=ROOT / "model_cards" / "README.md", help="file with the tables")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that processes and tables are seen to
    sys.exit(main())
