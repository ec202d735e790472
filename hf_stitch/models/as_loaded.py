"""Whether two cut models answer, saved and loaded, as the whole ones do: what ships is a model that has never run.

Plans are made on a model in memory. What is built from its configuration may lack what the one in memory was given
since, and at another length than those probed a model may run otherwise (one that pads to a window).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.errors import HookError, StitchError
from hf_stitch.hooks.capture import capture, replaced
from hf_stitch.hooks.input_paths import STATES, Stream, main_output, streams
from hf_stitch.hooks.padding import NEEDS_MASK
from hf_stitch.hooks.points import HookPoint, like
from hf_stitch.hooks.pruning import values_for
from hf_stitch.hooks.trace import MakeInputs, copied, quiet
from hf_stitch.loading.quiet import quiet as told_nothing
from hf_stitch.models.configuration_stitched import StitchedConfig
from hf_stitch.stitching.layers.affine import AffineLayer

SHORT, LONG = (1, 4), (1, 600)
"""Batch and length: shorter than all that was probed, and longer than common windows (Longformer's 512). By hand."""
MOST = 2**20
"""Numbers in the largest input that is tried, by hand: a picture of 590 pixels a side, 20 s of sound."""
_LIMITS = ("max_position_embeddings", "n_positions", "max_target_positions", "max_source_positions", "context_length")


class Cut(Protocol):
    """Two cut models and their descriptions, as `assembly.Halves` holds them."""

    @property
    def prefix(self) -> PreTrainedModel: ...
    @property
    def suffix(self) -> PreTrainedModel: ...
    @property
    def prefix_config(self) -> dict[str, Any]: ...
    @property
    def suffix_config(self) -> dict[str, Any]: ...


def trouble_as_loaded(halves: Cut, source: HookedModel, target: HookedModel, model_class: Any) -> dict[str, str]:
    """Which of two cut models, `prefix` or `suffix`, answers otherwise when it is loaded, and how in words.

    Args:
        model_class: `StitchedModel`, whose module reads this one.
    """
    # Inputs are tried alone, so that nothing is known of padding yet and nothing needs to be.
    ends = {
        "prefix": {**halves.prefix_config, "padding": NEEDS_MASK.to_dict()},
        "suffix": {**halves.suffix_config, "padding": NEEDS_MASK.to_dict()},
    }
    try:
        structures = {role: end.model for role, end in (("source", source), ("target", target)) if not end.built}
        model = _loaded(halves.prefix, halves.suffix, ends, model_class, structures)
    except Exception as error:  # whatever building or loading the parts raises, they cannot be shipped
        said = f"it cannot be loaded again: {type(error).__name__}: {error}"
        return {"prefix": said, "suffix": said}
    tried = {"prefix": lambda: _check_prefix(model, source), "suffix": lambda: _check_suffix(model, target)}
    found = {}
    for name, check in tried.items():
        try:
            check()
        except StitchError as error:
            found[name] = str(error)
        except Exception as error:
            found[name] = f"loaded again it cannot run: {type(error).__name__}: {error}"
    return found


def _loaded(
    prefix: PreTrainedModel,
    suffix: PreTrainedModel,
    ends: Mapping[str, Any],
    model_class: Any,
    structures: Mapping[str, Any],
) -> Any:
    """Both halves, put together by a map that is never used, written and read as a folder is, but in memory."""
    points = [HookPoint.from_dict(ends[name]["point"]) for name in ("prefix", "suffix")]
    width_in, width_out = len(points[0].features or range(points[0].width)), points[1].width
    layer = AffineLayer(
        {"weight": torch.zeros(width_in, width_out), "bias": torch.zeros(width_out)}, width_in, width_out
    )
    rule = {"length": "resample", "target_length": "ratio"}
    config = StitchedConfig(
        source=prefix.config, target=suffix.config, **ends, layer=layer.spec, sequence=rule
    )  # fmt: skip
    plain = StitchedConfig.from_dict(json.loads(json.dumps(config.to_dict(), default=str)))
    halves = {"prefix": prefix, "suffix": suffix}
    state = {
        f"{name}.{key}": v.detach().clone() for name, half in halves.items() for key, v in half.state_dict().items()
    }
    state |= {f"layer.{key}": value for key, value in layer.state_dict().items()}
    if "vector" in ends["suffix"]:
        state["mean_vector"] = torch.zeros(ends["suffix"]["vector"]["width"])
    if "cache" in ends["suffix"]:
        state["mean_activation"] = torch.zeros(ends["suffix"]["point"]["width"])
    with told_nothing():
        model, info = model_class.from_state(plain, state, structures)
    if info["missing_keys"] or info["unexpected_keys"]:
        raise HookError(f"weights and configuration disagree: {[*info['missing_keys'], *info['unexpected_keys']][:3]}")
    model.prefix.to(like(prefix).device)
    model.suffix.to(like(suffix).device)
    return model.eval()


def _check_prefix(model: Any, source: HookedModel) -> None:
    make, points = source.make_inputs, [model.source_point, *([model.ctc_point] if model.ctc_point else [])]
    whole: Any = copied(source.model).eval()
    stream = streams(whole, points[0], make)[0]
    unread = () if STATES in stream.given else stream.given
    for batch, length in (SHORT, (LONG[0], longest(whole.config, make))):
        inputs = dict(make(batch, length))
        try:
            with quiet(whole):
                expected = capture(whole, points, inputs)[0]
        except Exception:  # a length that the whole model does not take
            continue
        with quiet(model):
            found, mask, _ = model.activations(
                {key: v for key, v in inputs.items() if isinstance(v, Tensor) and key not in unread}
            )
        if mask.shape == expected.shape[:2]:  # what a model pads to a window itself is no activation
            expected = torch.where(mask.unsqueeze(-1), expected, 0)
        _check_close(found, expected, f"the activations at {points[0].module}", length)


def _check_suffix(model: Any, target: HookedModel) -> None:
    point, plan = model.target_point, model.config.ends["suffix"]["plan"]
    whole: Any = copied(target.model).eval()
    stream: Stream = streams(whole, point, target.make_inputs)[0]
    for batch, length in (SHORT, (LONG[0], longest(whole.config, stream.make))):
        inputs = dict(stream.make(batch, length))
        try:
            with quiet(whole):
                values = values_for(capture(whole, [point], inputs)[0])
                with replaced(whole, point, values):
                    expected = main_output(whole(**inputs))
        except Exception:
            continue
        mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        extra = {key: value for key, value in inputs.items() if key in plan["given"]}
        with quiet(model):
            found = main_output(model.finish(values, mask, **extra))
        _check_close(found, expected, f"the output after {point.module}", length)


def longest(config: Any, make: MakeInputs) -> int:
    """The longest input that is tried: `LONG`, or what fits a model's positions and is of no more than `MOST` numbers.

    Pictures grow with the square of their length.
    """
    parts = [config, *(getattr(config, key, None) for key in getattr(config, "sub_configs", {}))]
    limits = [getattr(part, name, None) for part in parts for name in _LIMITS]
    # 4: positions that families put before the first (RoBERTa, OPT), by hand
    most = max(1, min(limit - 4 for limit in [LONG[1] + 4, *(n for n in limits if isinstance(n, int) and n > 4)]))
    short, longer = (_numbers(make(1, length)) for length in (4, 8))
    growth = math.log2(longer / short) if longer > short else 0.0
    return most if growth == 0 else min(most, max(8, int(8 * (MOST / longer) ** (1 / growth))))


def _numbers(inputs: Mapping[str, Any]) -> int:
    return max(value.numel() for value in inputs.values() if isinstance(value, Tensor))


def _check_close(found: Tensor, expected: Tensor, what: str, length: int) -> None:
    """HookError where two tensors differ by more than rounding, which depends on where in memory weights begin."""
    if found.shape == expected.shape:
        off = float((found.float() - expected.float()).abs().nan_to_num().max()) if found.numel() else 0.0
        scale = max(1.0, float(expected.float().abs().nan_to_num().max()) if expected.numel() else 0.0)
        # 1e-4 and 0.03, by hand: some hundred times the rounding of float32 and of half precision
        if off <= scale * (1e-4 if expected.dtype in (torch.float32, torch.float64) else 0.03):
            return
        told = f"differ by {off:.2g}"
    else:
        told = f"are {tuple(found.shape)} where {tuple(expected.shape)} was expected"
    raise HookError(f"saved, loaded and given an input of length {length}, {what} {told}")
