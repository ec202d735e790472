"""The thesis's experiments at full size: their hook points exist in models of the published depth, made narrow."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hf_stitch.activations.text_output import TextOutput, configure_generation
from hf_stitch.experiments.rehearsal.known_configurations import KNOWN, configuration
from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.generation import generate_from
from hf_stitch.hooks.prefix import plan_prefix
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.suffix import run_suffix
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.hooks.trace import probe
from hf_stitch.loading.model_classes import class_of
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.shipped import shipped
from hf_stitch.recipe.side import Side

NARROW = {
    "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "d_model": 32, "n_head": 4, "d_inner": 48,
    "decoder_ffn_dim": 48, "decoder_attention_heads": 4, "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4, "vocab_size": 60,
}  # fmt: skip
THESIS = [name for name in shipped() if name.startswith("thesis/") and Recipe.load(name).source.model in KNOWN]


def narrow(plain: dict[str, Any]) -> dict[str, Any]:
    """A published configuration with all its layers, each narrow."""
    kind = plain.get("model_type")
    kept = {key: narrow(value) if isinstance(value, dict) and "model_type" in value else value
            for key, value in plain.items()}  # fmt: skip
    kept |= {key: value for key, value in NARROW.items() if key in plain}
    speech = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4, "conv_dim": [16] * 7}
    return kept | (speech if kind == "wav2vec2" else {})


def made(side: Side) -> Any:
    config, _ = configuration(side, narrow(KNOWN[side.model]))
    torch.manual_seed(0)
    return class_of(config, side.class_)(config).eval()


def test_the_experiments_are_here() -> None:
    assert {"thesis/translation"} <= set(THESIS)
    assert len(THESIS) >= 3


@pytest.mark.parametrize("name", THESIS)
def test_hook_points_exist_at_the_published_depth(name: str) -> None:
    recipe = Recipe.load(name)
    source, target = made(recipe.source), made(recipe.target)
    inputs = make_inputs_for(source)
    point = probe(source, recipe.source.hook, inputs)
    plan_prefix(source, [point], inputs)
    there = probe(target, recipe.target.hook, make_inputs_for(target))
    plan = plan_suffix(target, there, make_inputs_for(target))
    with torch.no_grad():
        [frames] = capture(source, [point], inputs(2, 12))
        assert frames.shape[:2] == (2, 12)
        values = torch.randn(2, 9, there.width)
        mask = torch.arange(9) < torch.tensor([[9], [6]])
        text_output = TextOutput.of(target, there)
        if text_output is None:
            assert run_suffix(target, plan, values, mask).logits.shape == (2, 2)
            return
        if text_output.mode == "encoder":
            configure_generation(target, text_output.mode, {**recipe.generation.settings(), "max_new_tokens": 5})
            assert generate_from(target, plan, values, mask).shape[1] <= 6
        found = text_output.from_middle(target, plan, values, mask)
    assert len(found) == 2


def test_the_translation_writes_with_beams() -> None:
    recipe = Recipe.load("thesis/translation")
    assert recipe.generation.settings() == {"max_new_tokens": 200, "num_beams": 5}
    target = made(recipe.target)
    text_output = TextOutput.of(target, probe(target, recipe.target.hook, make_inputs_for(target)))
    assert text_output is not None
    assert (text_output.mode, text_output.skipped) == ("encoder", (0, 1, 2))
    assert type(target.decoder).__name__ == "Speech2Text2ForCausalLM"
