"""Fits in processes of their own, forked from one that has imported everything: killed at a write, or started together.

Run as a program: `forked_fits.py killed|together RECIPE FOLDER SEED COUNT` prints what became of each as JSON.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
MOVES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "os.chmod", "os.truncate")
HELD = ("model.safetensors", "config.json", "recipe.yaml")


def at_writes(folders: list[str], tell: Callable[[str, str], None]) -> None:
    """Call `tell` before each write, renaming and deletion below the folders, for the rest of this process."""

    def hook(event: str, given: Any) -> None:
        if event != "open" and event not in MOVES:
            return
        path = str(given[0])
        if event == "open" and not (isinstance(given[2], int) and given[2] & WRITES):
            return
        if any(folder in path for folder in folders):
            tell(event, path)

    sys.addaudithook(hook)


def fitted(recipe: Path, out: Path, cache: Path, **changes: Any) -> None:
    import yaml

    from hf_stitch.experiments.fit import fit
    from hf_stitch.recipe.recipe import Recipe
    from hf_stitch.runtime.progress import Silent

    os.environ["HF_STITCH_CACHE"] = str(cache)
    content = yaml.safe_load(recipe.read_text())
    fit(Recipe.parse({**content, **changes}), out, device="cpu", progress=Silent())


def forked(run: Callable[[], None], told: Path) -> int:
    """The number of a child process that runs it, which ends with 0, with 2 after an error of the user, else with 1."""
    child = os.fork()
    if child:
        return child
    from hf_stitch.errors import StitchError

    status = 1
    try:
        run()
        status = 0
    except StitchError as error:
        told.write_text(str(error))
        status = 2
    except BaseException:
        told.write_text(traceback.format_exc())
    finally:
        os._exit(status)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def held(folder: Path) -> dict[str, Any]:
    """What a finished folder holds, without times and the like."""
    report = json.loads((folder / "report.json").read_text())
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in HELD}
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return {**files, "measures": report["measures"], "fingerprint": report["fingerprint"], "names": names}


def killed(recipe: Path, base: Path, seed: str, count: int) -> dict[str, Any]:
    """A fit is killed at writes drawn from all that it makes, and run again."""

    def run(name: str, kill_at: int | None) -> int:
        seen = 0

        def tell(event: str, path: str) -> None:
            nonlocal seen
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if kill_at is None:
                os.write(counted, f"{event} {Path(path).name}\n".encode())

        def body() -> None:
            at_writes([str(base)], tell)
            fitted(recipe, base / name / "out", base / name / "cache")

        (base / name).mkdir(exist_ok=True)
        return ended(forked(body, base / name / "told.txt"))

    counted = os.open(base / "events.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    assert run("whole", None) == 0, (base / "whole" / "told.txt").read_text()
    events = (base / "events.txt").read_text().splitlines()
    whole, found = held(base / "whole" / "out"), []
    chosen = sorted(random.Random(seed).sample(range(1, len(events) + 1), min(count, len(events))))
    for place in chosen:
        name = f"killed-{place}"
        first = run(name, place)
        again = run(name, 0)
        told = base / name / "told.txt"
        same = again == 0 and held(base / name / "out") == whole
        said = told.read_text() if told.is_file() else ""
        found.append(
            {"at": f"{place}: {events[place - 1]}", "first": first, "again": again, "same": same, "said": said}
        )
    return {"events": len(events), "found": found}


def together(recipe: Path, base: Path, seed: str, count: int) -> dict[str, Any]:
    """Two recipes into one folder, let go at the same moment."""
    alone = {}
    for number in (1, 2):
        out = base / f"alone-{number}"
        assert ended(forked(partial(fitted, recipe, out, base / "cache", seed=number), base / "told.txt")) == 0
        alone[number] = held(out)
    return {"found": [race(recipe, base, attempt, alone) for attempt in range(count)]}


def race(recipe: Path, base: Path, attempt: int, alone: dict[int, Any]) -> dict[str, Any]:
    gate, opened = os.pipe()
    out = base / f"both-{attempt}"

    def wait_and_fit(number: int) -> None:
        os.close(opened)
        os.read(gate, 1)  # until the other end is closed
        fitted(recipe, out, base / "cache", seed=number)

    told = [base / f"told-{attempt}-{number}.txt" for number in alone]
    children = [forked(partial(wait_and_fit, number), path) for number, path in zip(alone, told)]
    os.close(gate)
    os.close(opened)
    status = [ended(child) for child in children]
    result = held(out)
    said = [path.read_text() for path in told if path.is_file()]
    return {"status": status, "is": [number for number, own in alone.items() if own == result], "said": said}


def import_all(recipe: Path, base: Path) -> None:
    """Import what a fit does, so that no child does it again; the fit itself is a child's, which leaves no threads."""
    names = base / "modules.txt"

    def body() -> None:
        fitted(recipe, base / "first", base / "first-cache")
        names.write_text("\n".join(sys.modules))

    assert ended(forked(body, base / "told.txt")) == 0, (base / "told.txt").read_text()
    for name in names.read_text().splitlines():
        with suppress(Exception):  # some are parts of packages that import them in their own order
            importlib.import_module(name)


if __name__ == "__main__":
    mode, recipe, folder, seed, count = sys.argv[1:]
    import_all(Path(recipe), Path(folder))
    print(json.dumps({"killed": killed, "together": together}[mode](Path(recipe), Path(folder), seed, int(count))))
