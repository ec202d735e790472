"""Every argument of a stitched model's forward reaches the half that takes it, or is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as tf
from composites import whole
from stitches import end, stitched
from tiny_models import TEXT, tiny
from torch import Tensor

from hf_stitch.errors import ActivationError
from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.models.modeling_stitched import StitchedModel

ALBERT = "albert.encoder.albert_layer_groups.0.albert_layers.0#1"
LENGTH = 9
TYPES = (torch.arange(LENGTH) > 3).long()[None].repeat(2, 1)
ORDER = torch.arange(LENGTH).flip(0)[None].repeat(2, 1)
BOXES = torch.arange(2 * LENGTH * 4).view(2, LENGTH, 4) % 40


def layoutlm(**_: Any) -> Any:
    torch.manual_seed(0)
    config = tf.LayoutLMConfig(**TEXT, max_position_embeddings=40, max_2d_position_embeddings=64)
    return tf.LayoutLMForSequenceClassification(config).eval()


# family, hook, argument
OF_SOURCES: dict[str, tuple[str, str, str, Tensor]] = {
    "bert": ("bert", "bert.encoder.layer.1", "token_type_ids", TYPES),
    "albert": ("albert", ALBERT, "token_type_ids", TYPES),
    "electra": ("electra", "electra.encoder.layer.1", "token_type_ids", TYPES),
    "xlnet": ("xlnet", "transformer.layer.0", "token_type_ids", TYPES),
    "gpt2": ("gpt2", "transformer.h.0", "position_ids", ORDER),
    "llama": ("llama", "model.layers.1", "position_ids", ORDER),
    "roberta": ("roberta", "roberta.encoder.layer.0", "position_ids", ORDER + 2),
    "layoutlm": ("layoutlm", "layoutlm.encoder.layer.1", "bbox", BOXES),
}
OF_TARGETS: dict[str, tuple[str, str, str, Tensor]] = {
    "xlnet": ("xlnet", "transformer.layer.0", "token_type_ids", TYPES),
    "llama": ("llama", "model.layers.1", "position_ids", ORDER * 3),
    "qwen2": ("qwen2", "model.layers.0", "position_ids", ORDER * 3),
}


def a_model(family: str) -> Any:
    return layoutlm() if family == "layoutlm" else tiny(family)


def batch_of(model: Any) -> dict[str, Tensor]:
    return {key: value for key, value in make_inputs_for(model)(2, LENGTH).items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("case", OF_SOURCES)
@torch.no_grad()
def test_what_the_source_takes_reaches_it(case: str) -> None:
    family, hook, name, value = OF_SOURCES[case]
    source = a_model(family)
    here = end(source, hook)
    model = stitched(here, end(tiny("distilbert"), "distilbert.transformer.layer.0"), {"ratio": 1.0})
    batch = batch_of(source)
    found = model(**batch, **{name: value}).logits
    frames = capture(source, [here.point], batch | {name: value})[0]
    assert torch.equal(found, by_hand(model, frames).logits)
    assert not torch.equal(found, model(**batch).logits)


def by_hand(model: StitchedModel, frames: Tensor, **more: Any) -> Any:
    mask = torch.ones(frames.shape[:2], dtype=torch.bool)
    plan = model.plan(mask, None, None, None, frames)
    return model.finish(model.stitch(frames, mask, plan), plan.mask, **more)


@pytest.mark.parametrize("case", OF_TARGETS)
@torch.no_grad()
def test_what_the_target_alone_takes_reaches_it(case: str) -> None:
    family, hook, name, value = OF_TARGETS[case]
    source = tiny("wav2vec2_stable")
    here = end(source, "wav2vec2.encoder.layers.1")
    model = stitched(here, end(tiny(family), hook), {"ratio": 1.0})
    batch = batch_of(source)
    found = model(**batch, **{name: value}).logits
    assert torch.equal(found, by_hand(model, capture(source, [here.point], batch)[0], **{name: value}).logits)
    assert not torch.equal(found, model(**batch).logits)
    assert torch.equal(found, model(**batch, target_inputs={name: value}).logits)


@torch.no_grad()
def test_of_two_that_take_it_the_source_does_and_what_the_loss_needs_goes_to_the_target() -> None:
    source, target = tiny("bert"), tiny("xlnet")
    model = stitched(end(source, "bert.encoder.layer.1"), end(target, "transformer.layer.0"), {"ratio": 1.0})
    batch = batch_of(source)
    both = model(**batch, token_type_ids=TYPES, target_inputs={"token_type_ids": TYPES}).logits
    one = model(**batch, token_type_ids=TYPES).logits
    assert len({tuple(each.flatten().tolist()) for each in (both, one, model(**batch).logits)}) == 3
    torch.manual_seed(0)
    asks = [cls(config(**TEXT | {"max_position_embeddings": 40})).eval() for cls, config in ASKING]
    asking = stitched(end(asks[0], "bert.encoder.layer.1"), end(asks[1], "electra.encoder.layer.1"), {"ratio": 1.0})
    places = torch.tensor([2, 3])
    assert asking(**batch, start_positions=places, end_positions=places + 1).loss > 0


ASKING = [(tf.BertForQuestionAnswering, tf.BertConfig), (tf.ElectraForQuestionAnswering, tf.ElectraConfig)]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("atention_mask", "attention_mask"), ("token_types_ids", "token_type_ids"), ("label", "labels"),
        ("input_id", "input_ids"), ("return_trusts", "return_trust"), ("target_length", "target_lengths"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [torch.ones(2, LENGTH), None])
def test_what_nobody_takes_is_refused_with_the_nearest_name(wrong: str, right: str, value: Any) -> None:
    source = tiny("bert")
    model = stitched(end(source, "bert.encoder.layer.1"), end(tiny("xlnet"), "transformer.layer.0"), {"ratio": 1.0})
    with pytest.raises(ActivationError, match=rf"neither .* takes {wrong}; did you mean .*'{right}'"):
        model(**batch_of(source), **{wrong: value})


@pytest.mark.parametrize("name", ["output_hidden_states", "output_attentions", "use_cache"])
def test_outputs_that_a_part_of_a_model_does_not_have(name: str) -> None:
    source = tiny("gpt2")
    model = stitched(end(source, "transformer.h.0"), end(tiny("llama"), "model.layers.1"), {"ratio": 1.0})
    batch = batch_of(source)
    with pytest.raises(ActivationError, match=f"{name}: .* are not there"):
        model(**batch, **{name: True})
    with torch.no_grad():
        wanted = model(**batch).logits
        for off in (False, None):
            assert torch.equal(model(**batch, **{name: off}).logits, wanted)


@torch.no_grad()
def test_generate_hands_the_source_what_it_takes() -> None:
    source, target = tiny("bert"), whole("gpt2")
    model = stitched(end(source, "bert.encoder.layer.1"), end(target, "transformer.wte"), {"ratio": 1.0}, scale=4)
    batch = batch_of(source)
    asked: dict[str, Any] = {
        "max_new_tokens": 3,
        "num_beams": 1,
        "output_logits": True,
        "return_dict_in_generate": True,
    }
    plain = model.generate(**batch, **asked).logits[0]
    found = model.generate(**batch, token_type_ids=TYPES, **asked).logits[0]
    assert not torch.equal(found, plain)
    # padding before the words and behind them: what belongs to a token moves with it
    row = {
        "input_ids": batch["input_ids"][:1],
        "token_type_ids": TYPES[:1],
        "attention_mask": torch.ones(1, LENGTH).long(),
    }
    left = {key: torch.nn.functional.pad(value, (3, 0)) for key, value in row.items()}
    torch.testing.assert_close(model.generate(**left, **asked).logits[0], model.generate(**row, **asked).logits[0])
    torch.testing.assert_close(model.generate(**row, **asked).logits[0], found[:1])
