"""A stitched model at true size beside its bare halves and beside the cascade of both whole models.

Wav2Vec2-base up to layer 6, an affine map, RoBERTa-base from layer 6 on, random weights: times do not depend on them.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_stitch.activations.activation_set import ActivationSet
from hf_stitch.experiments.rehearsal.known_configurations import configuration
from hf_stitch.experiments.rehearsal.small_run import sealed
from hf_stitch.experiments.rehearsal.stand_ins import stand_in
from hf_stitch.models.assembly import assemble, cut
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.stitching.layers.fit_layer import fit_layer
from hf_stitch.stitching.lengths.length_rule import LengthRule

from .clock import Row, beside, median_times, told

LAYER, RATE, SECONDS, TOKENS_A_FRAME = 6, 16000, 5, 0.08
RECIPE = {
    "source": {"model": "facebook/wav2vec2-base-960h", "hook": f"wav2vec2.encoder.layers.{LAYER}"},
    "target": {
        "model": "roberta-base",
        "class": "RobertaForSequenceClassification",
        "hook": f"roberta.encoder.layer.{LAYER}",
    },
    "data": {"fit": {"dataset": "none", "columns": {"source": "audio", "target": "text"}}},
}


def rows(size: int = SECONDS, rounds: int = 9) -> Iterator[Row]:
    """Seconds of one answer to `size` seconds of sound, by turns in one process."""
    whole, model = models()
    sound = torch.randn(1, size * RATE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        prefix, suffix = bare(*whole)
        frames = prefix(sound)
        mask = torch.ones(frames.shape[:2], dtype=torch.bool)
        values = model.stitch(frames, mask, model.plan(mask, None, None, None, frames))
        same(model, sound, frames, values, suffix)
        tokens = torch.randint(3, 1000, (1, values.shape[1]))
        actions = {
            "stitched": lambda: model(input_values=sound),
            "prefix": lambda: prefix(sound),
            "suffix": lambda: suffix(values),
            "source": lambda: whole[0](sound),
            "target": lambda: whole[1](tokens),
        }
        median_times(actions, 2)  # warm
        found = median_times(actions, rounds)
    what = f"Wav2Vec2-base layer {LAYER} to RoBERTa-base layer {LAYER}, affine: one answer"
    shape = f"{size} s, {frames.shape[1]} frames to {values.shape[1]} positions"
    ours, more = found["stitched"], {"rounds": rounds, "medians": found}
    halves, cascade = found["prefix"] + found["suffix"], found["source"] + found["target"]
    yield beside(what, shape, ours, "bare prefix and bare suffix, by hand", halves, **more)
    yield beside(f"{what} (again)", shape, ours, "cascade of both whole models", cascade, **more)


def models() -> tuple[tuple[Any, Any], StitchedModel]:
    """Both whole models and the stitched one, which has copies of their halves; the Hub is not asked for any."""
    with tempfile.TemporaryDirectory() as scratch, sealed(Path(scratch)):
        recipe, runtime = Recipe.parse(RECIPE), Runtime.start("cpu")
        source, target = (
            stand_in(side, configuration(side, None)[0], runtime, seed, Path(scratch), None)
            for seed, side in enumerate((recipe.source, recipe.target))
        )
        draw = torch.Generator().manual_seed(0)
        keys = torch.stack([torch.arange(64), torch.zeros(64, dtype=torch.long)], 1)
        sets = [ActivationSet(torch.randn(64, end.point.width, generator=draw), keys) for end in (source, target)]
        layer = fit_layer("affine", *sets, options={"ridge": 1.0})
        rule = LengthRule.from_spec({"length": "resample", "target_length": "ratio", "ratio": TOKENS_A_FRAME})
        return (source.model, target.model), assemble(recipe, cut(source, target, False), layer, rule)


def bare(source: Any, target: Any) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """The halves as one would write them by hand, without hooks: a shorter Wav2Vec2, a loop over RoBERTa's blocks."""
    first = copy.deepcopy(source.wav2vec2)
    first.encoder.layers = first.encoder.layers[: LAYER + 1]
    last = target.roberta.encoder.layer[LAYER + 1 :]

    def suffix(values: Tensor) -> Tensor:
        for block in last:
            found = block(values)
            values = found[0] if isinstance(found, tuple) else found
        return target.classifier(values)

    return lambda sound: first(sound).last_hidden_state, suffix


def same(
    model: StitchedModel, sound: Tensor, frames: Tensor, values: Tensor, suffix: Callable[[Tensor], Tensor]
) -> None:
    """Both ways give the same numbers, or the times would not be of the same thing."""
    torch.testing.assert_close(model.activations({"input_values": sound})[0], frames, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model(input_values=sound).logits, suffix(values), rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    told(rows)
