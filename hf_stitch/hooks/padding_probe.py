"""Find out how a model takes padded batches, by running samples of unequal length alone and together.

What was found of a configuration holds for all models of it, so that it is looked for once a process.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import ModelOutput

from hf_stitch.hooks import symbolic_shapes
from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.generation import generate_from
from hf_stitch.hooks.input_paths import STATES
from hf_stitch.hooks.padded_suffix import positions_key
from hf_stitch.hooks.padding import MASK, POSITIONS, SIDES, Mode, Padding, Side, rows_of, takes
from hf_stitch.hooks.points import HookPoint, like
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.suffix import _axes, run_suffix
from hf_stitch.hooks.trace import MakeInputs, copied, quiet

LENGTHS = ((6, 13, 20), (3, 5, 8))
"""Tokens or frames of the samples: odd and even ones, so that halving shows; shorter ones of models that take no more.

By hand. The second length has two samples, for a batch without padding."""
# Relative, by position. By hand: rounding of float32 is 1e-6 in deep models, what padding was seen to do 1e-3 and more.
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-8, torch.float16: 2e-2, torch.bfloat16: 5e-2}
PICTURES = "pixel_values"
WINDOW, WIDEST = re.compile("chunk|window|local_attention"), 128  # of configurations; wider ones cost too much to try
PADDED = "a longer one in a padded batch changes"
GENERATED: dict[str, Any] = {
    "max_new_tokens": 1, "num_beams": 1, "do_sample": False, "return_dict_in_generate": True, "output_logits": True,
}  # fmt: skip
Run = Callable[[nn.Module, Mapping[str, Any]], list[Tensor]]
_found: dict[Any, Padding] = {}


def padding_of(
    model: nn.Module,
    points: Sequence[HookPoint],
    run: Run | None = None,
    *,
    make: MakeInputs | None = None,
    pad: int | None = None,
    kind: str = "prefix",
    asked: Hashable = None,
) -> Padding:
    """How a model that is given its own inputs takes padded batches, to its hook points and as far as `run` says.

    Args:
        run: (model, inputs) -> what has to stay as it is alone, one row a sample; by default activations at the points.
        make: inputs, see `make_inputs_for`. pad: the tokenizer's padding token. kind: what `run` reads, in a word.
        asked: whatever else it depends on; None where the configuration says it all.
    """
    read: Run = run or (lambda own, inputs: capture(own, points, inputs))

    def found() -> Padding:
        trial, own = copied(model), make or make_inputs_for(model)
        token = next((one for one in (pad, _config(model, "pad_token_id")) if isinstance(one, int)), 0)
        firsts = (0, token + 1) if takes(model, POSITIONS) else ()

        def tried(lengths: Sequence[int], more: bool) -> _Trial:
            samples = [_sample(own, lengths[k], row) for k, row in ((0, 0), (1, 0), (2, 0), (1, 1))]
            if any(key.startswith(PICTURES) and one.shape != samples[1][key].shape for key, one in samples[0].items()):
                samples = [_sample(own, lengths[0], row) for row in (0, 1, 0, 1)]  # a processor gives them one size
            decoder = _decoder_inputs(own, len(samples)) if more else {}

            def runs(rows: Sequence[int], side: Side, mode: Mode, first: int) -> list[Tensor]:
                inputs = _batch([samples[i] for i in rows], side, token) | rows_of(decoder, rows, len(samples))
                [one] = Padding(right=mode, left=mode, first=first).passes(trial, inputs)
                return read(trial, one.inputs)

            return _Trial(runs, _sides(samples), firsts)

        with _undisturbed(trial):
            return _probed(tried, model)

    return _known((kind, asked, type(model), _told(model), tuple(points), pad, like(model).dtype), found)


def padding_of_suffix(model: nn.Module, plan: Mapping[str, Any], tokens: bool) -> Padding:
    """How a cut model takes activations of unequal length at its hook point.

    Args:
        tokens: it is to generate from there, too.
    """

    def found() -> Padding:
        trial, point = copied(model), HookPoint.from_dict(plan["point"])
        key, token = positions_key(model, plan), _config(model, "pad_token_id")
        firsts = (0, (token if isinstance(token, int) else 0) + 1) if key else ()

        def tried(lengths: Sequence[int], more: bool, generates: bool = False) -> _Trial:
            generator = torch.Generator().manual_seed(0)
            pictures = any(key.startswith(PICTURES) for key in plan["inputs"]["tensors"])
            counts = [_positions(plan, lengths[0 if pictures else k]) for k in (0, 1, 2, 1)]
            place = like(model)
            values = [torch.randn(1, n, point.width, generator=generator).to(place) for n in counts]
            given = _given(model, plan, len(values), lengths if more else None)

            def runs(rows: Sequence[int], side: Side, mode: Mode, first: int) -> list[Tensor]:
                batch = _batch([{"values": values[i]} for i in rows], side, 0)
                mask = batch[MASK].bool() if MASK in batch else torch.ones(batch["values"].shape[:2]).bool()
                beside = {key: _joined([value[i] for i in rows], side) for key, value in given.items()}
                if generates:
                    found = generate_from(trial, plan, batch["values"], mask.to(place.device), **GENERATED)
                    return [found.logits[0]]
                if mode == "positions" and key is not None:
                    beside[key] = Padding(first=first).positions(mask.to(place.device))
                return _fields(run_suffix(trial, plan, batch["values"], mask.to(place.device), **beside))

            return _Trial(runs, SIDES, () if generates else firsts)

        with _undisturbed(trial):
            whole = _probed(tried, model)
            if not tokens or plan["inject"] != "kept":
                return whole
            prompt = _probed(lambda lengths, more: tried(lengths, more, generates=True), model)
            return replace(whole, generate=prompt.left, why=whole.why or prompt.why)

    return _known(("suffix", type(model), _told(model), json.dumps(plan, sort_keys=True), like(model).dtype), found)


@dataclass(frozen=True)
class _Trial:
    """(rows, side, mode, first) -> what is answered; the sides to try, and first position ids that are worth a try."""

    runs: Callable[[Sequence[int], Side, Mode, int], list[Tensor]]
    sides: Sequence[Side]
    firsts: Sequence[int]


def _probed(tried: Callable[[Sequence[int], bool], _Trial], model: nn.Module) -> Padding:
    """What trials show.

    Args:
        tried: (lengths, whether more inputs are given than models usually need) -> a trial.
    """
    trouble, found = "", None
    for lengths, more in itertools.product(LENGTHS, (False, True)):
        try:
            trial = tried(lengths, more)
            alone = [_seeded(trial, [i]) for i in range(4)]
        except Exception as error:  # each family refuses lengths in its own way
            trouble = trouble or _line(error)
            continue
        found = _compared(trial, alone, like(model).dtype)
        break
    if found is None:
        return Padding("equal", "equal", why=f"it could not be tried on padded batches ({trouble})")
    for width in _windows(model):
        with suppress(Exception):  # longer than the model takes
            trial = tried((width // 2 + 1, width + 3, 2 * width + 5), more)
            alone = [_seeded(trial, [i]) for i in range(4)]
            found = found.or_worse(_compared(trial, alone, like(model).dtype))
    return found


def _windows(model: Any) -> list[int]:
    """Widths of windows in which a model looks at its input: what it does beyond one shows in longer inputs alone."""
    content = {} if getattr(model, "config", None) is None else model.config.to_dict()
    found = [value for name, value in content.items() if WINDOW.search(name) and isinstance(value, int)]
    return sorted({width for width in found if 1 < width <= WIDEST})[-1:]


def _compared(trial: _Trial, alone: Sequence[list[Tensor]], dtype: torch.dtype) -> Padding:
    tolerance = TOLERANCES.get(dtype, 1e-5)
    other = _apart([alone[2]], _seeded(trial, [2], seed=1), "right")
    random = other if other > tolerance else 0.0

    def moved(
        rows: Sequence[int], side: Side, mode: Mode = "mask", first: int = 0, beside: str = PADDED
    ) -> tuple[float, str]:
        try:
            many = _seeded(trial, rows, side, mode, first)
        except Exception as error:  # whatever a batch raises, it cannot be run so
            return math.inf, f"a batch ends in an error ({_line(error)})"
        by = _apart([alone[i] for i in rows], many, side)
        # More than everything: the numbers of random networks say nothing beyond.
        told = "altogether" if by >= 1 else f"by {100 * by:.2g} %"
        return by, f"a sample beside {beside} {told}"

    even, why_not = moved((1, 3), "right", beside="another of its length changes")
    hard: Mode = "equal" if even <= tolerance else "single"
    modes: dict[str, Mode] = dict.fromkeys(SIDES, hard)
    first, why = 0, "" if hard == "equal" else why_not
    for side in trial.sides:
        by, told = moved((0, 1, 2), side)
        if hard == "equal" and by <= tolerance:
            modes[side] = "mask"
            continue
        firsts = trial.firsts if hard == "equal" else ()
        holding = [n for n in firsts if moved((0, 1, 2), side, "positions", n)[0] <= tolerance]
        if holding:
            modes[side], first = "positions", holding[0]
        else:
            why = why or told
    return Padding(modes["right"], modes["left"], first=first, why=why, random=random)


def _seeded(
    trial: _Trial, rows: Sequence[int], side: Side = "right", mode: Mode = "mask", first: int = 0, seed: int = 0
) -> list[Tensor]:
    # One seed for all: what a model draws at random is the same in each, and a second seed shows that it draws.
    torch.manual_seed(seed)
    return trial.runs(rows, side, mode, first)


def _apart(alone: Sequence[list[Tensor]], many: list[Tensor], side: Side) -> float:
    """How far samples in a batch are from themselves alone, relative to their size; the largest of all positions."""
    return max(
        (
            _relative(own.double(), together[row : row + 1].double(), side)
            for row, sample in enumerate(alone)
            for own, together in zip(sample, many, strict=True)
        ),
        default=0.0,
    )


def _relative(one: Tensor, many: Tensor, side: Side) -> float:
    if one.shape[1] != many.shape[1]:
        length = one.shape[1]
        many = many[:, :length] if side == "right" else many[:, -length:]
    if one.shape != many.shape:
        return math.inf
    one, many = (value.nan_to_num(0.0, 0.0, 0.0) for value in (one, many))
    rows = (one.shape[0] * one.shape[1], -1) if one.ndim > 2 else (1, -1)
    sizes, moves = one.reshape(rows).norm(dim=1), (many - one).reshape(rows).norm(dim=1)
    # Positions that hold nearly nothing are measured by the others.
    return float((moves / sizes.clamp(min=max(float(sizes.mean()), 1e-12))).max())


def _sample(make: MakeInputs, length: int, row: int) -> dict[str, Any]:
    """One of two samples of a length, as a model that is given its own inputs has it: its decoder makes its own."""
    made = rows_of({key: value for key, value in make(2, length).items() if not key.startswith("decoder_")}, [row], 2)
    return {key: value for key, value in made.items() if isinstance(value, Tensor)}


def _batch(samples: Sequence[Mapping[str, Tensor]], side: Side, pad: int) -> dict[str, Tensor]:
    """Samples (1, ...) as a padded batch with its mask, where their lengths may differ."""
    inputs: dict[str, Tensor] = {}
    for key in samples[0]:
        values = [sample[key] for sample in samples]
        axis = next((k for k in range(1, values[0].ndim) if len({value.shape[k] for value in values}) > 1), None)
        width = 0 if axis is None else max(value.shape[axis] for value in values)
        filling = pad if key.endswith("input_ids") else 0
        inputs[key] = torch.cat([_padded(value, axis, width, side, filling) for value in values])
        if axis is not None or ((key.endswith("input_ids") or values[0].ndim == 2) and values[0].shape[1] > 1):
            lengths = torch.tensor([value.shape[axis or 1] for value in values], device=values[0].device)
            place = torch.arange(int(lengths.max()), device=lengths.device)
            place = place if side == "right" else place.flip(0)
            inputs.setdefault(MASK, (place < lengths[:, None]).long())
    return inputs


def _padded(value: Tensor, axis: int | None, width: int, side: Side, filling: int) -> Tensor:
    if axis is None or value.shape[axis] == width:
        return value
    shape = list(value.shape)
    shape[axis] = width - shape[axis]
    parts = [value, value.new_full(shape, filling)]
    return torch.cat(parts if side == "right" else parts[::-1], axis)


def _positions(plan: Mapping[str, Any], length: int) -> int:
    """Positions at a suffix's hook point of so long an input."""
    count = 1
    for dim in _axes(plan):
        count *= symbolic_shapes.size(dim, 1, length)
    return count


def _given(model: Any, plan: Mapping[str, Any], count: int, lengths: Sequence[int] | None) -> dict[str, list[Any]]:
    """What a suffix is given beside its activations, of each sample; as long as these where `lengths` are given."""
    given: dict[str, list[Any]] = {}
    names = [key for key in plan.get("given", ()) if key != MASK]
    for i in range(count):
        length = 5 if lengths is None else (*lengths, lengths[1])[i]
        made = make_inputs_for(model)(2, length) if any(name != STATES for name in names) else {}
        for key in names:
            if key in made:
                given.setdefault(key, []).append(made[key][:1])
    if STATES in names:
        config = model.config
        width = getattr(config, "hidden_size", None) or config.encoder.hidden_size
        states = torch.randn(count, 5, width, generator=torch.Generator().manual_seed(1)).to(like(model))
        given[STATES] = [BaseModelOutput(last_hidden_state=one[None]) for one in states]
    return given


def _joined(values: Sequence[Any], side: Side) -> Any:
    if isinstance(values[0], BaseModelOutput):
        return BaseModelOutput(last_hidden_state=torch.cat([one.last_hidden_state for one in values]))
    width = max(value.shape[1] for value in values)
    return torch.cat([_padded(value, 1, width, side, 0) for value in values])


def _decoder_inputs(make: MakeInputs, count: int) -> dict[str, Any]:
    """What a decoder reads, of one length."""
    return {key: value for key, value in make(count, 5).items() if key.startswith("decoder_")}


def _sides(samples: Sequence[Mapping[str, Tensor]]) -> Sequence[Side]:
    """Sound is padded behind it; and what has one size on no side."""
    one, two = samples[:2]
    text = any(key.endswith("input_ids") for key in one)
    return SIDES if text or all(one[key].shape == two[key].shape for key in one) else ("right",)


def _fields(output: Any) -> list[Tensor]:
    """The tensors of an output with a row a sample; of CLIP not the logits of all pairs."""
    if isinstance(output, Tensor):
        return [output]
    named = output.items() if isinstance(output, ModelOutput) else enumerate(output)
    return [
        value
        for key, value in named
        if isinstance(value, Tensor) and value.ndim > 1 and value.is_floating_point() and "_per_" not in str(key)
    ]


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, the caller's random numbers untouched, and no shortened float32 that would look like a leak."""
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    shortened = torch.backends.cudnn.allow_tf32
    with torch.random.fork_rng(devices=list(devices)), quiet(model):
        torch.backends.cudnn.allow_tf32 = False if devices else shortened
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32 = shortened


def _known(key: Any, find: Callable[[], Padding]) -> Padding:
    if key not in _found:
        _found[key] = find()
    return _found[key]


def _told(model: Any) -> str:
    """A configuration in letters, without the name that it was loaded by."""
    config = getattr(model, "config", None)
    content = {} if config is None else config.to_dict()
    content.pop("_name_or_path", None)
    return json.dumps([content, str(getattr(config, "_attn_implementation", ""))], sort_keys=True, default=str)


def _config(model: Any, name: str) -> Any:
    return getattr(getattr(model, "config", None), name, None)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:120]}"
