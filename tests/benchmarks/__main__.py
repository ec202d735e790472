"""Run benchmarks and keep what they find: `python -m tests.benchmarks [NAME...]`, all when none is named.

NAME is products, datafold, memory, embedding, splines or scaling; what was not run stays as it was in results.json.
Afterwards, and alone with `tables`, the README's tables are written anew. `datafold` needs the extra of that name,
`embedding` the extra `bench`; a name whose library is missing is said and left out. Best on an otherwise idle machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from . import dense, peers, scaling
from .clock import ROOT, machine
from .tables import RESULTS, with_tables

RUNS: dict[str, Callable[[], Any]] = {
    "products": dense.beside_products,
    "datafold": dense.beside_datafold,
    "memory": dense.memory,
    "embedding": peers.beside_spectral_embedding,
    "splines": peers.beside_rbf_interpolator,
    "scaling": scaling.curve,
}


def main(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in (*RUNS, "tables")]
    if unknown:
        raise SystemExit(f"unknown benchmark {unknown[0]!r}; known: {', '.join(RUNS)}, tables")
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in names or RUNS:
        if name == "tables":
            continue
        print(name, flush=True)
        before = machine()
        try:
            found = RUNS[name]()
        except ModuleNotFoundError as error:
            if names:
                raise
            print(f"  left out: no module {error.name}")
            continue
        results[name] = {"machine": before, "rows": found if isinstance(found, list) else [found]}
        ordered = {known: results[known] for known in RUNS if known in results}
        RESULTS.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    readme = ROOT / "README.md"
    readme.write_text(with_tables(readme.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
