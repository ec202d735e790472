"""An overwritten activation is what everything behind it sees: transformers' own hooks too."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers as tf
from families import BLOCKS, POINTS
from tiny_models import hooks_of, tiny
from torch import Tensor

from hf_stitch.errors import HookError
from hf_stitch.hooks.capture import capture, replaced
from hf_stitch.hooks.points import normalise
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.suffix import apply_suffix_plan, run_suffix
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.hooks.trace import probe

# the middle block of each family
MIDDLE = {family: block.format(BLOCKS.get(family, (0, 1, 2))[-2:][0]) for family, (_, block) in POINTS.items()}
del MIDDLE["tanh"]  # a plain network has no hidden states to ask for
STATES = ("hidden_states", "encoder_hidden_states", "decoder_hidden_states")
SEES = {"vision_config": tf.CLIPVisionConfig, "text_config": tf.LlamaConfig}
SIZES: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
PICTURE, PATCHES = 59, 4


def states(output: Any) -> Iterator[Tensor]:
    """All hidden states of an output: of both halves of an encoder-decoder, of both towers."""
    for key, value in output.items():
        if key in STATES and value is not None:
            yield from value
        elif key in ("text_model_output", "vision_model_output"):
            yield from states(value)


def holds(output: Any, values: Tensor, layout: Any) -> bool:
    """Whether an activation (b, t, m) is among the hidden states, which have the axes of the module or of the model."""
    wide = [one for one in states(output) if one.numel() == values.numel()]
    forms = [one if one.shape == values.shape else normalise(one, layout) for one in wide]
    return any(torch.equal(form, values) for form in forms)


@pytest.mark.parametrize("family", MIDDLE)
@torch.no_grad()
def test_hidden_states_hold_what_was_put_in(family: str) -> None:
    model = tiny(family.partition("/")[0])
    make = make_inputs_for(model)
    point = probe(model, MIDDLE[family], make)
    inputs = make(2, 7) | {"output_hidden_states": True}
    model(**inputs)  # from here on the hooks of transformers are there
    before = hooks_of(model)
    [seen] = capture(model, [point], inputs)
    assert holds(model(**inputs), seen, point.layout)
    other = seen.flip(0) + 1
    with replaced(model, point, other):
        found = model(**inputs)
    assert holds(found, other, point.layout)
    assert not holds(found, seen, point.layout)
    assert hooks_of(model) == before


def test_neither_reading_nor_overwriting_repeats_a_hook_of_the_user() -> None:
    model = tiny("roberta")
    make = make_inputs_for(model)
    point = probe(model, "roberta.encoder.layer.1", make)
    module = model.get_submodule(point.module)
    module.register_forward_hook(lambda _module, _args, output: output * 2)
    with torch.no_grad():
        inputs = make(2, 7)
        wanted = model(**inputs).logits
        [seen] = capture(model, [point], inputs)
        with replaced(model, point, seen):
            assert torch.equal(model(**inputs).logits, wanted)
        plan = plan_suffix(model, point)
        cut = apply_suffix_plan(copy.deepcopy(model), plan)
        assert torch.equal(run_suffix(cut, plan, seen).logits, wanted)


def looking(kind: str, **more: Any) -> Any:
    """A model that reads hidden states of its vision tower by their number, and inputs with a picture in each text."""
    config = getattr(tf, f"{kind}Config")(
        vision_config=tf.CLIPVisionConfig(**SIZES, image_size=16, patch_size=8),
        text_config=tf.LlamaConfig(**SIZES, vocab_size=60, pad_token_id=0, max_position_embeddings=64),
        image_token_id=PICTURE,
        **more,
    )
    torch.manual_seed(0)
    return getattr(tf, f"{kind}ForConditionalGeneration")(config).eval()


def with_pictures(batch: int, length: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(100 * batch + length)
    ids = torch.randint(4, 50, (batch, length + PATCHES), generator=generator)
    ids[:, 1 : 1 + PATCHES] = PICTURE
    pixels = torch.randn(batch, 3, 16, 16, generator=generator)
    return {"input_ids": ids, "pixel_values": pixels, "use_cache": False}


LOOKING = {
    "Llava": ("Llava", {"vision_feature_layer": -2}, 1),
    "Llava, an early layer": ("Llava", {"vision_feature_layer": 1}, 0),
    "Llava, two layers": ("Llava", {"vision_feature_layer": [-2, -1]}, 1),
    "VipLlava": ("VipLlava", {"vision_feature_layers": [-2, -1]}, 1),
}


@pytest.mark.parametrize("case", LOOKING)
@torch.no_grad()
def test_a_model_that_reads_hidden_states_reads_what_was_put_in(case: str) -> None:
    kind, more, number = LOOKING[case]
    model = looking(kind, **more)
    inputs = with_pictures(5, 9)
    wanted = model(**inputs).logits  # hooks of transformers are there from now on
    point = probe(model, f"model.vision_tower.encoder.layers.{number}", with_pictures)
    [seen] = capture(model, [point], inputs)
    plan = plan_suffix(model, point, with_pictures)
    for cut in (apply_suffix_plan(copy.deepcopy(model), plan), apply_suffix_plan(looking(kind, **more), plan)):
        assert torch.equal(run_suffix(cut, plan, seen, input_ids=inputs["input_ids"]).logits, wanted)
    with replaced(model, point, seen.flip(0) + 1):
        assert not torch.equal(model(**inputs).logits, wanted)


def test_a_point_behind_the_hidden_state_that_is_read_moves_nothing_and_is_refused() -> None:
    model = looking("Llava", vision_feature_layer=1)
    point = probe(model, "model.vision_tower.encoder.layers.2", with_pictures)
    with pytest.raises(HookError, match=r"the output 'logits' does not depend on model\.vision_tower"):
        plan_suffix(model, point, with_pictures)
