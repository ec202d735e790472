"""Probing and planning leave a model as it was: weights, settings, parts, and what it answers."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
import transformers as tf
from families import BLOCKS, POINTS
from tiny_models import TEXT, tiny
from torch import Tensor, nn

from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.generation import plan_prompt
from hf_stitch.hooks.module_tree import module_tree
from hf_stitch.hooks.points import HookPoint
from hf_stitch.hooks.prefix import apply_prefix_plan, plan_prefix
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.suffix import apply_suffix_plan, run_suffix
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.hooks.trace import probe

SPARSE = {"attention_type": "block_sparse", "block_size": 4, "num_random_blocks": 1, "max_position_embeddings": 128}


def big_bird() -> Any:
    """Gives block-sparse attention up for good when it meets a short input."""
    return tf.BigBirdForSequenceClassification(tf.BigBirdConfig(**TEXT | SPARSE))


def rwkv() -> Any:
    """Divides weights of later layers when it first evaluates."""
    return tf.RwkvForCausalLM(
        tf.RwkvConfig(vocab_size=60, hidden_size=32, num_hidden_layers=3, rescale_every=1, context_length=64)
    )


def dynamic() -> Any:
    """Stretches its positions when it meets an input longer than it was trained on."""
    scaled = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10_000.0}
    config = tf.LlamaConfig(**TEXT, pad_token_id=0, max_position_embeddings=8, rope_parameters=scaled)
    return tf.LlamaForCausalLM(config)


MORE = {
    "big_bird": (big_bird, "bert.encoder.layer.1"),
    "rwkv": (rwkv, "rwkv.blocks.1"),
    "llama, dynamic positions": (dynamic, "model.layers.1"),
}
MIDDLE = {family: block.format(BLOCKS.get(family, (0, 1, 2))[-2:][0]) for family, (_, block) in POINTS.items()}


def a_model(case: str) -> tuple[Any, str]:
    if case not in MORE:
        return tiny(case.partition("/")[0]), MIDDLE[case]
    torch.manual_seed(0)
    make, hook = MORE[case]
    return make().eval(), hook


def settings(model: nn.Module) -> dict[str, Any]:
    """What there is of each module beside tensors: its class, its plain attributes, its members and hooks."""
    found = {}
    for name, module in model.named_modules():
        held = vars(module)
        plain = {k: v for k, v in held.items() if isinstance(v, bool | int | float | str | tuple | None)}
        hooks = [len(module._forward_hooks), len(module._forward_pre_hooks)]
        found[name] = (type(module).__name__, id(module), plain, sorted(held), list(module._modules), hooks)
    return found


def answer(model: Any, inputs: dict[str, Any]) -> list[Tensor]:
    with torch.no_grad():
        return [value for value in model(**inputs).values() if isinstance(value, Tensor)]


def fresh_answer(case: str, inputs: dict[str, Any]) -> list[Tensor]:
    return answer(a_model(case)[0], inputs)


CASES = [*((case, True) for case in MIDDLE), *itertools.product(MORE, (True, False))]


@pytest.mark.parametrize(("case", "training"), CASES)
def test_probing_changes_nothing(case: str, training: bool) -> None:
    model, hook = a_model(case)
    model.train(training)
    make = make_inputs_for(model)
    long = make(2, 80 if case in MORE else 20)
    weights = {name: (value, value.clone()) for name, value in model.state_dict(keep_vars=True).items()}
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    config, before = model.config.to_dict(), settings(model)
    point = probe(model, hook, make)
    module_tree(model, make)
    plan_prefix(model, [point], make)
    try:
        plan_suffix(model, point, make)
        plan_prompt(model, HookPoint(hook, None, point.layout, point.width))
    except Exception:  # a refusal has to leave it as it was, too
        pass
    model.train(training)
    assert settings(model) == before
    assert model.config.to_dict() == config
    for name, value in model.state_dict(keep_vars=True).items():
        assert value is weights[name][0]
        assert torch.equal(value, weights[name][1]), name
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    found, wanted = answer(model.eval(), long), fresh_answer(case, long)
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("case", ["big_bird", "rwkv"])
def test_a_cut_model_does_at_its_first_run_what_the_whole_one_does(case: str) -> None:
    model, hook = a_model(case)
    make = make_inputs_for(model)
    point = probe(model, hook, make)
    before, plan = plan_prefix(model, [point], make), plan_suffix(model, point, make)
    for length in (80, 9):  # each by halves that have never run
        prefix = apply_prefix_plan(copy.deepcopy(model), before)
        suffix = apply_suffix_plan(copy.deepcopy(model), plan)
        assert sum(p.numel() for p in suffix.parameters()) < sum(p.numel() for p in model.parameters())
        inputs = make(2, length)
        with torch.no_grad():
            found = run_suffix(suffix, plan, capture(prefix, [point], inputs)[0]).logits
        assert torch.equal(found, fresh_answer(case, inputs)[0])
