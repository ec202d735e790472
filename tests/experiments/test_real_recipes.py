"""Recipes between models as they are used: rehearsed at their published depth, each model narrow."""

from __future__ import annotations

from typing import Any

import pytest

from hf_stitch.experiments.rehearsal.known_configurations import KNOWN
from hf_stitch.experiments.rehearsal.rehearse import rehearse
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.shipped import shipped

REAL = [name for name in shipped() if name.startswith("real/")]
ENCODER = {"hidden_size": 24, "num_attention_heads": 4, "intermediate_size": 32}
NARROW: dict[str, dict[str, Any]] = {
    "bert": {**ENCODER, "vocab_size": 300},
    "mpnet": {**ENCODER, "vocab_size": 300},
    "distilbert": {"dim": 24, "n_heads": 4, "hidden_dim": 32, "vocab_size": 300},
    "gpt2": {**ENCODER, "vocab_size": 300},
    "vit": {**ENCODER, "num_labels": 5},
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "num_labels": 5},
    "whisper": {
        "d_model": 24, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
    },
}  # fmt: skip


def test_the_recipes_are_here() -> None:
    pairs = {"sentence_vectors", "encoder_to_sentiment", "vision_transformers", "resnet_to_vit", "whisper_to_text",
             "gpt2_to_gpt2_medium"}  # fmt: skip
    assert {name.removeprefix("real/") for name in REAL} >= pairs


@pytest.mark.parametrize("name", REAL)
def test_it_runs_at_the_published_depth(name: str) -> None:
    plain = Recipe.load(name).plain()
    known = {side: KNOWN[plain[side]["model"]] for side in ("source", "target")}
    given = {side: one | NARROW[one["model_type"]] for side, one in known.items()}
    found = rehearse({**plain, "rehearse": {**plain.get("rehearse", {}), **given}}, device="cpu").content
    assert [found["models"][side]["width"] for side in ("source", "target")] == [24, 24]
    assert not [note for note in found["notes"] if "would fail" in note]
    assert found["rows"]["expected"] >= 1800
