"""Which positions of a padded batch are real, of models that have more or fewer positions than their input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as tf
from shortening import FIXED, SHORTER, WINDOWS, made
from tiny_models import TEXT, tiny
from torch import Tensor

from hf_stitch.errors import HookError
from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.given_inputs import GivenInput
from hf_stitch.hooks.masks import timestep_mask
from hf_stitch.hooks.points import HookPoint
from hf_stitch.hooks.position_lengths import with_lengths
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.hooks.trace import ModelTrace, copied, probe


def opened(kind: str, known: dict[str, Any]) -> tuple[Any, HookPoint]:
    model = made(known[kind][0])
    trace = ModelTrace(copied(model), make_inputs_for(model))
    return model, with_lengths(trace, trace.point(known[kind][1]), model)


def padded(model: Any, *lengths: int) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """Inputs of these lengths as one batch padded on the right, and each alone."""
    singles = []
    for length in lengths:
        inputs = make_inputs_for(model)(1, length)
        singles.append({k: v for k, v in inputs.items() if isinstance(v, Tensor) and not k.startswith("decoder_")})
    [key] = singles[0]
    longest = max(one[key].shape[1] for one in singles)
    rows, masks = [], []
    for one in singles:
        missing = longest - one[key].shape[1]
        rows.append(torch.nn.functional.pad(one[key], [0] * (2 * one[key].ndim - 4) + [0, missing]))
        masks.append([1] * one[key].shape[1] + [0] * missing)
    return {key: torch.cat(rows), "attention_mask": torch.tensor(masks)}, singles


@pytest.mark.parametrize("kind", SHORTER)
def test_a_row_has_as_many_positions_as_alone(kind: str) -> None:
    model, point = opened(kind, SHORTER)
    batch, singles = padded(model, 43, 19, 12, 30, 21)
    with torch.no_grad():
        alone = [capture(model, [point], one)[0].shape[1] for one in singles]
        values = capture(model, [point], batch)[0]
    mask = timestep_mask(model, batch["attention_mask"], values, HookPoint.from_dict(point.to_dict()))
    assert mask.sum(1).tolist() == alone
    assert all(row.tolist() == sorted(row.tolist(), reverse=True) for row in mask)
    full = torch.ones_like(batch["attention_mask"])
    assert timestep_mask(model, full, values, point).all()


@pytest.mark.parametrize("kind", FIXED)
def test_positions_that_do_not_follow_the_input_are_all_real(kind: str) -> None:
    model, point = opened(kind, FIXED)
    for lengths in ((20, 12), (9, 5)):  # 9: as many tokens as latents
        batch, _ = padded(model, *lengths)
        values = capture(model, [point], batch)[0]
        assert timestep_mask(model, batch["attention_mask"], values, point).all()


@pytest.mark.parametrize("kind", WINDOWS)
def test_whole_windows_hold_the_input_first(kind: str) -> None:
    _, point = opened(kind, WINDOWS)
    for length in (61, 9):  # each by a model that has run on nothing else
        model = made(WINDOWS[kind][0])
        batch, _ = padded(model, length, 7)
        with torch.no_grad():
            values = capture(model, [point], batch)[0]
        mask = timestep_mask(model, batch["attention_mask"], values, point)
        assert mask.sum(1).tolist() == [length, 7]
        assert mask[:, :7].all()
        left = torch.tensor([[1] * length, [0] * (length - 7) + [1] * 7])
        assert torch.equal(timestep_mask(model, left, values, point)[:, :length], left.bool())


@pytest.mark.parametrize("kind", ["longformer", "led"])
def test_a_target_of_whole_windows_is_refused_for_that(kind: str) -> None:
    model = made(WINDOWS[kind][0])
    point = probe(model, WINDOWS[kind][1], make_inputs_for(model))
    with pytest.raises(HookError, match=r"pads its input to whole windows of \d+ positions inside.*make it the source"):
        plan_suffix(model, point)


def test_padding_before_a_shortened_text_is_refused_with_what_to_do() -> None:
    model, point = opened("funnel", SHORTER)
    batch, _ = padded(model, 12, 8)
    values = capture(model, [point], batch)[0]
    with pytest.raises(HookError, match=r"padded on the left.*set padding_side of its tokenizer to right"):
        timestep_mask(model, batch["attention_mask"].flip(1), values, point)


AS_LONG = {
    "bert": "bert.encoder.layer.1", "wav2vec2": "wav2vec2.encoder.layers.1", "gpt2": "transformer.h.1",
    "t5": "encoder.block.1", "whisper": "encoder.layers.1", "vit": "vit.layers.1", "tanh": "layers.0",
}  # fmt: skip


@pytest.mark.parametrize("family", AS_LONG)
def test_points_as_long_as_their_input_are_as_before(family: str) -> None:
    model = tiny(family)
    trace = ModelTrace(copied(model), make_inputs_for(model))
    point = with_lengths(trace, trace.point(AS_LONG[family]), model)
    assert point == trace.point(AS_LONG[family])
    assert "lengths" not in point.to_dict()


def test_positions_put_behind_a_text_are_not_taken_for_its_own() -> None:
    """ViLT's picture comes behind the text and its padding: no count of real positions says where they are."""
    config = tf.ViltConfig(**TEXT, image_size=16, patch_size=8, max_position_embeddings=60)
    model = made(lambda: tf.ViltForQuestionAnswering(config))
    picture = GivenInput(([1, 0, 1], 3, 16, 16), value=0.5)
    trace = ModelTrace(copied(model), make_inputs_for(model, {"pixel_values": picture}))
    point = with_lengths(trace, trace.point("vilt.encoder.layer.1"), model)
    assert point.lengths is None
    values = torch.zeros(2, 7 + 5, 32)
    with pytest.raises(HookError, match="has 12 timesteps, its input 7"):
        timestep_mask(model, torch.ones(2, 7), values, point)
