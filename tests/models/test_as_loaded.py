"""Halves as they are when they are loaded: the smallest there are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from stitches import end, preparer, saved
from tiny_models import tiny

from hf_stitch import StitchedModel
from hf_stitch.hooks.probe_inputs import make_inputs_for

ANSWERS = {
    "bert": ("bert.encoder.layer.1", "classifier"),
    "roberta": ("roberta.encoder.layer.1", "classifier.out_proj"),
    "vit": ("vit.layers.1", "classifier"),
    "deberta_v2": ("deberta.encoder.layer.1", "classifier"),
}


@pytest.mark.parametrize("family", ANSWERS)
def test_a_target_that_is_hooked_at_its_answer_keeps_no_weight(family: str, tmp_path: Path) -> None:
    hook, answer = ANSWERS[family]
    model = tiny(family)
    folder = saved(tmp_path / "out", end(model, hook, preparer(model)), end(tiny(family), answer), {"length": "pool"})
    assert not [name for name in load_file(folder / "model.safetensors") if name.startswith("suffix.")]
    stitched = StitchedModel.from_pretrained(folder)
    inputs = dict(make_inputs_for(model)(2, 8))
    with torch.no_grad():
        frames, mask, plan = stitched.crossing(inputs)
        assert torch.equal(stitched(**inputs).logits, stitched.stitch(frames, mask, plan)[:, 0])
