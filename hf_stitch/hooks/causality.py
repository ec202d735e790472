"""Whether a model of text sees tokens that come later: a language model must not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hf_stitch.hooks.capture import capture, observe, replaced
from hf_stitch.hooks.points import HookPoint
from hf_stitch.hooks.trace import MakeInputs, quiet

LENGTH = 12  # tokens of the text that is tried; by hand: more than convolutions and windows of tiny models reach
TOLERANCE = 1e-5  # relative; by hand: ten times the rounding of float32; masked attention gives the same bits


def sees_later(model: nn.Module, point: HookPoint, make_inputs: MakeInputs) -> bool | None:
    """Whether the activations at a point, or the logits of each position, depend on tokens behind it.

    Found by changing the last token of a text. None of a model that takes no `input_ids`.
    """
    inputs: dict[str, Any] = dict(make_inputs(1, LENGTH))
    tokens = inputs.get("input_ids")
    if not isinstance(tokens, Tensor):
        return None
    other = tokens.clone()
    # Another token of the same text, so that none is made up; one that is equal everywhere gets its neighbour.
    different = tokens[0][tokens[0] != tokens[0, -1]]
    other[0, -1] = different[0] if len(different) else (tokens[0, -1] - 1).abs()
    with quiet(model), torch.no_grad():
        pairs = zip(_seen(model, point, inputs), _seen(model, point, {**inputs, "input_ids": other}))
        return any(_moved(one[:, :-1], two[:, :-1]) for one, two in pairs)


def decides(model: nn.Module, point: HookPoint, make_inputs: MakeInputs) -> bool:
    """Whether activations at a point alone decide the logits, and move them: a quick look before anything long is done.

    True of what cannot be tried. `plan_suffix` says in full what is wrong.
    """
    inputs: dict[str, Any] = dict(make_inputs(1, LENGTH))
    tokens = inputs.get("input_ids")
    if not isinstance(tokens, Tensor):
        return True
    others = {**inputs, "input_ids": tokens.roll(1, 1)}
    with quiet(model):
        plain = model(**inputs).logits
        values = capture(model, [point], inputs)[0]
        with replaced(model, point, values * 2 + 1):
            one, two = model(**inputs).logits, model(**others).logits
    return not _moved(one.float(), two.float()) and _moved(one.float(), plain.float())


def _seen(model: nn.Module, point: HookPoint, inputs: dict[str, Any]) -> list[Tensor]:
    found, output = observe(model, [point], inputs)
    logits = getattr(output, "logits", None)
    beside = [logits] if isinstance(logits, Tensor) and logits.ndim == 3 else []
    return [one.float() for one in (*found, *beside) if one.shape[1] == LENGTH]


def _moved(one: Tensor, two: Tensor) -> bool:
    return float((one - two).abs().max()) > TOLERANCE * max(1.0, float(one.abs().max()))
