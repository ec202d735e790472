"""From what a rehearsal measured to what the real run will take: plain arithmetic, each rule said beside its number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_stitch.activations.activation_set import BLOCK
from hf_stitch.activations.local_metrics import at_once
from hf_stitch.errors import StitchError
from hf_stitch.experiments.rehearsal.cost_meter import Cost
from hf_stitch.experiments.rehearsal.sizes import is_at_hand
from hf_stitch.experiments.rehearsal.small_run import Rehearsed
from hf_stitch.loading.models import resolve
from hf_stitch.recipe.names import is_folder
from hf_stitch.recipe.side import SIDES, Side

FLAC = 0.55  # bytes of a FLAC file of speech over those of its 16-bit samples, about; by hand
STEEPEST = {"seconds": 3.0, "memory": 2.0}  # exponents of the rows: dense solve, dense matrix; above is noise


@dataclass(frozen=True)
class Stage:
    """One stage: what was measured, what is expected, and how the one follows from the other."""

    name: str
    measured: float
    expected: float
    rule: str

    def plain(self) -> dict[str, Any]:
        return {"stage": self.name, "measured_s": self.measured, "expected_s": self.expected, "rule": self.rule}


def stages(seen: Rehearsed) -> list[Stage]:
    """Seconds of each stage of the real run, downloads left out."""
    sizes, watch = seen.sizes, seen.watch
    n, longer = sizes.samples, sizes.stretch
    length = "" if longer == 1 else f" x {longer:.3g} in length"
    found = []
    for split, real in sizes.real.items():
        took, few = watch[f"activations.{split}"].seconds, len(seen.observations.samples[split])
        found.append(Stage(f"activations.{split}", took, took / few * real * longer, _times(real, few) + length))
    for role in SIDES:
        if cost := watch.get(f"neighbourhoods.{role}"):
            passes, real_passes = n * (1 + sizes.neighbours), sizes.real["fit"] * (1 + sizes.real_neighbours)
            rule = f"{_times(real_passes, passes, 'forward passes')}{length}"
            found.append(
                Stage(f"neighbourhoods.{role}", cost.seconds, cost.seconds / passes * real_passes * longer, rule)
            )
    found += _fits(seen)
    found.append(Stage("cut", watch["cut"].seconds, watch["cut"].seconds, "the same"))
    asked = 1 + len(seen.recipe.compare)
    tested = sum(count for split, count in sizes.real.items() if split != "fit")
    for name, times in (("references", 1), ("evaluate", asked)):
        if cost := watch.get(name):
            rehearsed = sum(len(one) for split, one in seen.observations.samples.items() if split != "fit")
            rule = _times(tested, rehearsed) + length + (f", {times} methods" if times > 1 else "")
            found.append(Stage(name, cost.seconds, cost.seconds / rehearsed * tested * longer * times, rule))
    return found


def _fits(seen: Rehearsed) -> list[Stage]:
    label, real = seen.recipe.label, seen.real_rows
    found = []
    if cost := seen.watch.get("fit.second") or seen.watch.get("fit.first"):
        expected, power = _power_law(seen, "seconds")
        rule = (
            "the same rows" if real == seen.rows[1] else f"rows {seen.rows[1]:,} -> {real:,} to the power {power:.2g}"
        )
        found.append(Stage(f"fit.{label}", cost.seconds, expected, rule))
    if seen.recipe.trust != "none":
        trust, times = seen.watch["trust"].seconds, seen.sizes.real["fit"] / seen.sizes.samples
        found.append(Stage("fit.trust", trust, trust * times, _times(seen.sizes.real["fit"], seen.sizes.samples)))
    return found


def _power_law(seen: Rehearsed, what: str, rows: int | None = None) -> tuple[float, float]:
    """A cost of the fit at the real number of rows, or at `rows`, from two smaller ones; and the exponent."""
    first, second = (seen.watch.get(f"fit.{name}", Cost()) for name in ("first", "second"))
    (few, more), low, high = seen.rows, getattr(first, what), getattr(second, what)
    if few == more or high <= 0 or "fit.second" not in seen.watch:
        return float(low), 1.0
    # At least 1: no fit gets cheaper with more rows, and short stages are measured badly.
    power = min(STEEPEST[what], max(1.0, math.log(high / low) / math.log(more / few))) if low > 0 else 2.0
    return float(high * ((seen.real_rows if rows is None else rows) / more) ** power), power


def memory(seen: Rehearsed) -> dict[str, float]:
    """Expected peak of resident bytes by what causes it; they do not add up, the largest counts."""
    sizes, watch = seen.sizes, seen.watch
    base = float(seen.start + watch["models"].memory)
    per_row = watch["activations.fit"].memory / sizes.samples * sizes.stretch
    found = {"models": base, "activations": base + per_row * sizes.bucket}
    frames = seen.observations.frames["fit"]
    for role, end, ragged in zip(SIDES, seen.hooked, (frames.source, frames.target)):
        if cost := watch.get(f"neighbourhoods.{role}"):
            kind, steps = end.preparer.modality, int(ragged.lengths.max())
            rehearsed = sizes.samples * min(sizes.neighbours, at_once(kind, sizes.samples, steps, sizes.tokens))
            real = sizes.rows_at_once(kind, round(steps * sizes.stretch))
            found[f"neighbourhoods.{role}"] = base + cost.memory / max(1, rehearsed) * sizes.stretch * real
    found["cut"] = base + watch["cut"].memory
    found["fit"] = base + _power_law(seen, "memory", _rows_held(seen))[0]
    return found


def _rows_held(seen: Rehearsed) -> int:
    """Rows that the fit has in memory at once: methods that keep none of them go through them block by block."""
    layer = seen.model.layer
    block = max(seen.rows[1], BLOCK // (layer.features_in + layer.features_out))
    return seen.real_rows if layer.facts.keeps_rows else min(seen.real_rows, block)


def disk(seen: Rehearsed) -> dict[str, float]:
    """Bytes in the cache and of the saved model."""
    sizes = seen.sizes
    splits = sum(sizes.real.values()) / sum(len(samples) for samples in seen.observations.samples.values())
    found = {"activations": seen.disk["activations"] * splits * sizes.stretch}
    if seen.disk["neighbourhoods"]:
        most = seen.recipe.neighborhoods.max_rank
        ranks = min(most, sizes.real_neighbours) / min(most, sizes.neighbours)
        rows = seen.real_rows / seen.paired
        found["neighbourhoods"] = seen.disk["neighbourhoods"] * rows * ranks
    halves = sum(bytes_of(half) for half in (seen.model.prefix, seen.model.suffix))
    # what a layer keeps of the fit are buffers and grows with the rows; what it has learned are parameters
    learned = sum(p.numel() * p.element_size() for p in seen.model.layer.parameters())
    rows = seen.real_rows / max(1, seen.rows[1])
    found["stitched model"] = halves + learned + (bytes_of(seen.model.layer) - learned) * rows
    return found


def bytes_of(module: Any) -> int:
    """Bytes of a module's weights and buffers that are saved."""
    return sum(t.numel() * t.element_size() for t in module.state_dict().values())


def download(seen: Rehearsed) -> dict[str, Any]:
    """Bytes to fetch: weights at the size of their dtype; sounds about as FLAC, texts next to nothing."""
    found: dict[str, Any] = {}
    for role, end in zip(SIDES, seen.hooked):
        found[role] = 0 if is_here(end.side) else bytes_of(end.model)
    audio = next((end.preparer for end in seen.hooked if end.preparer.modality == "audio"), None)
    remote = [n for split, n in seen.sizes.real.items() if not is_at_hand(getattr(seen.recipe.data, split))]
    if audio is not None and remote:
        count = sum(remote)
        found["sounds used"] = round(count * seen.recipe.rehearse.seconds * audio.rate * 2 * FLAC)
    return found


def _times(real: int, rehearsed: int, what: str = "samples") -> str:
    return f"{what} {rehearsed:,} -> {real:,}"


def is_here(side: Side) -> bool:
    """True for a zoo: name and a folder, False for an id of the Hub."""
    try:
        return is_folder(Path(resolve(side.model)))
    except StitchError:
        return False
