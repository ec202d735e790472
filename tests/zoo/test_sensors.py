"""Classifiers of recordings: they save and load, learn from labels, and run from their hook points."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.suffix import apply_suffix_plan, run_suffix
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.hooks.trace import probe
from hf_stitch.loading.models import load_model
from hf_stitch.recipe.side import Side
from hf_stitch.zoo.networks.sensors import SENSORS

SIZES = {"timesteps": 10, "channels": 3}
HOOKS = {"SensorLstmForSequenceClassification": "lstm", "SensorTransformerForSequenceClassification": "blocks.0"}


@pytest.mark.parametrize(("config", "kind"), SENSORS)
def test_saved_loaded_and_started_in_the_middle(config: type, kind: type, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = kind(config(**SIZES)).eval()
    model.save_pretrained(tmp_path)
    again = load_model(Side.model_validate({"model": str(tmp_path), "hook": ""}))
    assert type(again) is kind
    inputs = make_inputs_for(model)(4, 1)
    assert inputs["inputs"].shape == (4, 30)
    with torch.no_grad():
        whole = model(**inputs).logits
        assert torch.equal(again(**inputs).logits, whole)
        point = probe(model, HOOKS[kind.__name__], make_inputs_for(model))
        [values] = capture(model, [point], inputs)
        plan = plan_suffix(model, point, make_inputs_for(model))
        found = run_suffix(apply_suffix_plan(model, plan), plan, values).logits
    torch.testing.assert_close(found, whole, rtol=1e-6, atol=1e-7)  # an LSTM lays its output otherwise in memory


@pytest.mark.parametrize(("config", "kind"), SENSORS)
def test_labels_give_a_loss(config: type, kind: type) -> None:
    model = kind(config(**SIZES))
    loss = model(torch.randn(5, 30), labels=torch.tensor([0, 1, 1, 0, 1])).loss
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
