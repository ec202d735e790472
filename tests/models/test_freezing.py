"""What is not trained answers in train mode as it does in evaluation mode."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from stitches import end, stitched
from tiny_models import tiny
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.models.modeling_stitched import StitchedModel

SHARED = "albert.encoder.albert_layer_groups.0.albert_layers.0#1"
# what drops out differs: modules, functions, whole layers, frames of sound; and ResNet keeps statistics
PAIRS = {
    "audio-bert": ("wav2vec2", "wav2vec2.encoder.layers.1", "roberta", "roberta.encoder.layer.1"),
    "wavlm-xlnet": ("wavlm", "wavlm.encoder.layers.1", "xlnet", "transformer.layer.0"),
    "albert-gpt2": ("albert", SHARED, "gpt2", "transformer.h.0"),
    "bert-mbart": ("bert", "bert.encoder.layer.1", "mbart", "model.encoder.layers.0"),
    "electra-t5": ("electra", "electra.encoder.layer.0", "t5_encoder", "encoder.block.1"),
    "gpt2-llama": ("gpt2", "transformer.h.0", "llama", "model.layers.1"),
    "deberta-modernbert": ("deberta_v2", "deberta.encoder.layer.1", "modernbert", "model.layers.1"),
    "resnet-resnet": ("resnet", "resnet.encoder.stages.0", "resnet", "resnet.encoder.stages.0"),
}
CHECKPOINTED = {"audio-bert", "albert-gpt2", "bert-mbart", "gpt2-llama"}
every = pytest.mark.parametrize("pair", PAIRS)


def made(pair: str) -> tuple[StitchedModel, dict[str, Any]]:
    first, here, second, there = PAIRS[pair]
    source, target = tiny(first), tiny(second)
    for model in (source, target):
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.3
    model = stitched(end(source, here), end(target, there), {"ratio": 1.0})
    batch = {k: v for k, v in make_inputs_for(source)(2, 9).items() if isinstance(v, Tensor)}
    if second == "mbart":
        batch["decoder_input_ids"] = torch.full((2, 3), 7)
    return model, batch


def answer(model: StitchedModel, batch: dict[str, Any]) -> Tensor:
    output = model(**batch)
    return output.logits if "logits" in output else output.last_hidden_state


@every
def test_frozen_halves_do_not_drop_out(pair: str) -> None:
    model, batch = made(pair)
    wanted = answer(model.eval(), batch)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    for part in ("none", "layer"):
        model.trainable(part).train()
        assert model.training
        assert model.layer.training
        for _ in range(2):
            assert torch.equal(answer(model, batch), wanted)
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    model.trainable("all")
    assert model.suffix.training
    torch.manual_seed(1)
    assert not torch.equal(answer(model, batch), wanted)
    wanted = answer(model.trainable("layer").eval(), batch)  # ResNet has gathered statistics
    assert torch.equal(answer(model.train(), batch), wanted)
    assert not any(module.training for module in model.eval().modules())


@pytest.mark.parametrize("pair", sorted(CHECKPOINTED))
@pytest.mark.parametrize("first", ["checkpointing", "training"])
def test_frozen_halves_are_checkpointed_all_the_same(pair: str, first: str) -> None:
    model, batch = made(pair)
    model.trainable("layer")

    def gradients() -> list[Tensor]:
        model.zero_grad()
        answer(model, batch).square().mean().backward()
        return [p.grad.clone() for p in model.layer.parameters() if p.grad is not None]

    wanted = gradients()
    if first == "training":
        model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    calls = []
    for layer in model.suffix.modules():
        if isinstance(layer, GradientCheckpointingLayer) and layer.gradient_checkpointing:
            for part in layer.children():
                part.register_forward_pre_hook(lambda *_: calls.append(1))
    plain = answer(model, batch)
    once = len(calls)
    assert once > 0
    assert torch.equal(plain, answer(model.eval(), batch))
    model.train()
    calls.clear()
    for one, other in zip(gradients(), wanted, strict=True):
        torch.testing.assert_close(one, other)
    assert len(calls) > once  # the backward pass computed them again
    assert torch.equal(answer(copy.deepcopy(model), batch), plain)
    model.activation_checkpointing_disable()
    assert torch.equal(answer(model, batch), plain)
    model.trainable("all").train()
    torch.manual_seed(1)
    assert not torch.equal(answer(model, batch), plain)
