"""The matrix: every family, started at its embedding and its first, middle and last block."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from families import cells
from safetensors.torch import load, save
from tiny_models import hooks_of, tiny
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from hf_stitch.hooks.capture import capture, replaced
from hf_stitch.hooks.prefix import apply_prefix_plan, plan_prefix
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.suffix import apply_suffix_plan, run_suffix
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.hooks.trace import probe


def fields(output: Any, prefix: str = "") -> dict[str, Tensor]:
    """All tensors of an output by name."""
    if isinstance(output, Tensor):
        return {prefix: output}
    pairs = output.items() if hasattr(output, "items") else enumerate(output) if isinstance(output, tuple) else ()
    return {k: v for key, value in pairs for k, v in fields(value, f"{prefix}.{key}").items()}


def assert_same(found: Any, expected: Any) -> None:
    """Bit for bit equal in all that is answered, the main output included."""
    one, two = fields(found), fields(expected)
    assert set(one) <= set(two)
    assert {".logits", ".last_hidden_state", ".logits_per_image", ""} & set(one)
    for key, value in one.items():
        assert torch.equal(value, two[key]), key


def extras_for(model: nn.Module, plan: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """What the caller gives beside the activations."""
    extras = {key: inputs[key] for key in plan["given"] if key in inputs}
    if "encoder_outputs" in plan["given"]:
        main = next(v for k, v in inputs.items() if isinstance(v, Tensor) and not k.startswith("decoder_"))
        extras["encoder_outputs"] = BaseModelOutput(last_hidden_state=model.get_encoder()(main)[0])
    return extras


def reloaded(cut: nn.Module, apply: Any, plan: dict[str, Any]) -> nn.Module:
    """The cut model from its config, its plan and its safetensors bytes."""
    weights = {key: value.clone() for key, value in cut.state_dict().items()}
    fresh = apply(type(cut)(copy.deepcopy(cut.config)), plan).eval()
    fresh.load_state_dict(load(save(weights)), strict=True)
    return fresh


@pytest.mark.parametrize(("family", "module"), cells())
def test_a_model_stitched_to_itself_is_itself(family: str, module: str) -> None:
    model = tiny(family.partition("/")[0])
    make = make_inputs_for(model)
    point = probe(model, module, make)
    plan = json.loads(json.dumps(plan_suffix(model, point, make)))
    before = json.loads(json.dumps(plan_prefix(model, [point], make)))
    assert hooks_of(model) == 0
    suffix = reloaded(apply_suffix_plan(copy.deepcopy(model), plan), apply_suffix_plan, plan)
    prefix = reloaded(apply_prefix_plan(copy.deepcopy(model), before), apply_prefix_plan, before)
    inputs = make(5, 12)
    with torch.no_grad():
        extras = extras_for(model, plan, inputs)
        values = capture(prefix, [point], inputs)[0]
        assert_same(run_suffix(suffix, plan, values, **extras), model(**inputs))
        other = torch.randn_like(values)
        with replaced(model, point, other):
            assert_same(run_suffix(suffix, plan, other, **extras), model(**inputs))
    assert hooks_of(model) == 0


LAST = dict(cells())


@pytest.mark.parametrize("family", LAST)
def test_a_suffix_is_smaller_than_its_model(family: str) -> None:
    model = tiny(family.partition("/")[0])
    make = make_inputs_for(model)
    plan = plan_suffix(model, probe(model, LAST[family], make), make)
    cut = apply_suffix_plan(copy.deepcopy(model), plan)
    assert sum(p.numel() for p in cut.parameters()) < sum(p.numel() for p in model.parameters())


PAIRS = [
    ("wav2vec2", "wav2vec2.encoder.layers.1", "xlnet", "transformer.layer.0"),
    ("hubert", "hubert.encoder.layers.0", "roberta", "roberta.encoder.layer.1"),
    ("wavlm", "wavlm.encoder.layers.1", "albert", "albert.encoder.albert_layer_groups.0.albert_layers.0#1"),
    ("roberta", "roberta.embeddings", "deberta_v2", "deberta.encoder.layer.0"),
    ("albert", "albert.encoder.albert_layer_groups.0.albert_layers.0#0", "t5_encoder", "encoder.block.1"),
    ("electra", "electra.encoder.layer.2", "gpt2", "transformer.h.1"),
    ("mpnet", "mpnet.encoder.layer.0", "qwen2", "model.layers.0"),
    ("gpt2", "transformer.h.0", "llama", "model.layers.1"),
    ("vit", "vit.layers.1", "dinov2", "dinov2.encoder.layer.0"),
    ("clip_vision", "vision_model.encoder.layers.0", "vit", "vit.layers.0"),
    ("data2vec_audio", "data2vec_audio.encoder.layers.2", "sew", "sew.encoder.layers.0"),
    ("sew", "sew.encoder.layers.2", "bert", "bert.encoder.layer.0"),
]


@pytest.mark.parametrize(("first", "here", "second", "there"), PAIRS)
def test_two_families_run_forward_and_backward(first: str, here: str, second: str, there: str) -> None:
    source, target = tiny(first), tiny(second)
    one, two = probe(source, here, make_inputs_for(source)), probe(target, there, make_inputs_for(target))
    before, plan = plan_prefix(source, [one]), plan_suffix(target, two)
    apply_prefix_plan(source, before)
    apply_suffix_plan(target, plan)
    layer = nn.Linear(one.width, two.width)
    values = capture(source, [one], make_inputs_for(source)(2, 8))[0]
    sum(v.float().square().sum() for v in fields(run_suffix(target, plan, layer(values))).values()).backward()
    assert layer.weight.grad is not None
    assert bool(layer.weight.grad.isfinite().all())
    assert bool(layer.weight.grad.abs().sum() > 0)


# --- shared layers ------------------------------------------------------------------------------------------------

SHARED = "albert.encoder.albert_layer_groups.0.albert_layers.0"


def test_a_shared_layer_needs_the_number_of_a_call() -> None:
    from hf_stitch.errors import HookError

    model = tiny("albert")
    make = make_inputs_for(model)
    with pytest.raises(HookError, match=r"is called 3 times .* say which: .*#0 to .*#2"):
        probe(model, SHARED, make)
    with pytest.raises(HookError, match="is called 3 times in one forward pass, counted from 0"):
        probe(model, f"{SHARED}#3", make)
    with pytest.raises(HookError, match="comes the number of a call"):
        probe(model, f"{SHARED}#first", make)
    point = probe(model, f"{SHARED}#1", make)
    inputs = make(2, 6)
    with torch.no_grad():
        hidden = model(**inputs, output_hidden_states=True).hidden_states
        assert torch.equal(capture(model, [point], inputs)[0], hidden[2])
        plan = plan_suffix(model, point)
        apply_suffix_plan(model, plan)
        calls: list[int] = []
        model.get_submodule(SHARED).attention.register_forward_hook(lambda *_: calls.append(1))
        run_suffix(model, plan, hidden[2])
    assert len(calls) == 1  # neither the calls before the point nor its own are computed


def test_a_model_started_in_a_decoder_needs_the_encoder_s_states() -> None:
    from hf_stitch.errors import HookError

    for module, given in (("decoder.block.1", "encoder_outputs"), ("encoder.block.1", "decoder_input_ids")):
        model = tiny("t5")
        point = probe(model, module, make_inputs_for(model))
        plan = plan_suffix(model, point)
        apply_suffix_plan(model, plan)
        with pytest.raises(HookError, match=f"also needs {given}"):
            run_suffix(model, plan, torch.randn(2, 6, 32))
    assert run_suffix(model, plan, torch.randn(2, 6, 32), labels=torch.ones(2, 4).long()).loss.requires_grad
