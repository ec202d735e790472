"""Recipes between the pico models, and what is seen of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hf_stitch.activations.observations import Observations
from hf_stitch.recipe.overrides import merge
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.timings import Timings
from hf_stitch.stitching.correspondence import Correspondence

SPEECH_HOOK, ROBERTA_HOOK = "wav2vec2.encoder.layers.0", "roberta.encoder.layer.0"
XLNET_HOOK, XLNET_EMBEDDING = "transformer.layer.0", "transformer.word_embedding"
NEIGHBORS = {"kind": "gaussian", "size": 6, "max_rank": 4, "rank": 3}


def split(folder: Path, name: str, columns: dict[str, str]) -> dict[str, Any]:
    return {"dataset": str(folder / f"{name}.jsonl"), "columns": columns}


def reading(source: Path, target: Path, written: Path, **changes: Any) -> dict[str, Any]:
    """RoBERTa onto XLNet, or either onto itself, by spans."""
    columns = {"source": "text", "label": "label", "id": "id", "group": "group"}
    hooks = {"roberta": ROBERTA_HOOK, "xlnet": XLNET_HOOK}
    ends = {
        side: {"model": str(folder), "hook": next(hook for name, hook in hooks.items() if name in folder.name)}
        for side, folder in (("source", source), ("target", target))
    }
    data = {name: split(written, name, columns) for name in ("fit", "test")}
    return merge({**ends, "data": data, "sequence": {"length": "spans"}, "neighborhoods": NEIGHBORS}, changes)


def listening(source: Path, target: Path, spoken: Path, **changes: Any) -> dict[str, Any]:
    """Wav2Vec2 onto XLNet's word embedding by ctc."""
    columns = {"source": "audio", "target": "text", "text": "text", "label": "label", "id": "id", "group": "group"}
    base = {
        "source": {"model": str(source), "hook": SPEECH_HOOK},
        "target": {"model": str(target), "hook": XLNET_EMBEDDING},
        "data": {name: split(spoken, name, columns) for name in ("fit", "test")},
        "sequence": {"length": "ctc", "parts": 2},
        "neighborhoods": NEIGHBORS,
    }
    return merge(base, changes)


def observations(content: dict[str, Any], *splits: str) -> Observations:
    """Opened observations on the CPU; nothing is collected yet."""
    return Observations.open(Recipe.parse(content), Runtime.start("cpu"), Timings(), splits or ("fit",))


def correspondence(content: dict[str, Any], *splits: str) -> Correspondence:
    """The rows of a recipe, collected on the CPU."""
    return Correspondence(observations(content, *splits).collect(), Recipe.parse(content))


def saved(content: dict[str, Any], folder: Path) -> Path:
    """The recipe as a file, for programs of their own."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
