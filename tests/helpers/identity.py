"""A model stitched to itself by the identity, saved and loaded: what comes out must be what the whole model gives.

    python tests/helpers/identity.py TABLE.tsv [CLASS ...]

writes a row for each hook point of each family of `many_families`: identical, WRONG, refused or traceback.
"""

from __future__ import annotations

import copy
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import logging

from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.errors import StitchError
from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.masks import timestep_mask
from hf_stitch.hooks.probe_inputs import describe_inputs, make_inputs_for, masked
from hf_stitch.hooks.trace import RUNS, ModelTrace, copied
from hf_stitch.models.assembly import cut
from hf_stitch.models.configuration_stitched import StitchedConfig
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.side import Side
from hf_stitch.recipe.stitch import Affine
from hf_stitch.stitching.layers.affine import AffineLayer
from hf_stitch.stitching.lengths.length_rule import LengthRule

SHORT, LONG, PADDED = (1, 5), (2, 23), (3, 12)  # none of them probed
NAMED = ("logits", "last_hidden_state")


def hooks_of_stacks(model: nn.Module) -> list[str]:
    """The earliest usable hook point, and the first, middle and last block of each stack of blocks."""
    trace = ModelTrace(copied(model), make_inputs_for(model))
    usable = [name for name in trace.modules if name and (trace.calls(name) > 1 or trace.examine(name)[0])]
    stacks: dict[str, list[str]] = {}
    for name in usable:
        stem, _, number = name.rpartition(".")
        inside = any(part.isdecimal() for part in stem.split("."))
        if number.isdecimal() and not inside and isinstance(trace.modules[stem], nn.ModuleList):
            stacks.setdefault(stem, []).append(name)
    blocks = [name for stack in stacks.values() for name in stack]
    early = sorted((trace.traces[0].left[n][0], n) for n in usable if not any(n.startswith(f"{b}.") for b in blocks))
    chosen = [early[0][1]] if early else []
    for stack in stacks.values():
        chosen += [stack[0], stack[len(stack) // 2], stack[-1]]
    return [f"{name}#0" if trace.calls(name) > 1 else name for name in dict.fromkeys(chosen)]


def stitched_to_itself(model: Any, module: str) -> StitchedModel:
    """The identity between the two halves of one model."""
    make = make_inputs_for(model)
    point = ModelTrace(copied(model), make).point(module)
    side = Side(model="by-hand", revision="main", hook=module)
    ends = [HookedModel(side, copy.deepcopy(model), None, point, None, None, {}) for _ in "st"]  # type: ignore[arg-type]
    halves = cut(*ends, needs_head=False)
    width = point.width
    layer = AffineLayer({"weight": torch.eye(width), "bias": torch.zeros(width)}, width, width, Affine().resolved())
    rule = LengthRule.from_spec({"length": "resample", "target_length": "ratio", "ratio": 1.0})
    config = StitchedConfig(
        source=halves.prefix.config, target=halves.suffix.config, prefix=halves.prefix_config,
        suffix=halves.suffix_config, layer=layer.spec, sequence=rule.spec(),
    )  # fmt: skip
    return StitchedModel(config, halves.prefix, layer, halves.suffix, rule).eval()


def inputs_of(model: Any, combo: tuple[int, int], padded: bool = False) -> dict[str, Any] | None:
    """Inputs of a batch; padded on the right where the model takes a mask, else None."""
    make = make_inputs_for(model)
    inputs = dict(make(*combo))
    if not padded:
        return inputs
    described = describe_inputs(model, [dict(make(*combo)) for combo in RUNS])
    if described["mask"] is None:
        return None
    mask = torch.arange(combo[1]) < combo[1] - 3 * torch.arange(combo[0])[:, None]
    inputs = masked(inputs, described, *combo, mask, torch.device("cpu"))
    if "decoder_input_ids" in inputs and inputs["decoder_input_ids"].shape == inputs.get("input_ids", mask).shape:
        inputs["decoder_attention_mask"] = mask.long()
    return inputs


def answers(model: Any, inputs: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of an output by name."""
    with torch.no_grad():
        output = model(**inputs)
    items = output.items() if hasattr(output, "items") else enumerate(output if isinstance(output, tuple) else [output])
    return {str(key): value for key, value in items if isinstance(value, Tensor)}


def run(stitched: StitchedModel, whole: Any, inputs: dict[str, Any]) -> dict[str, Tensor]:
    """What the stitched model gives on the inputs of the whole one."""
    given = stitched.config.ends["suffix"]["plan"].get("given", ())
    extra: dict[str, Any] = {}
    if "encoder_outputs" in given:
        # inside a decoder: the source reads the decoder's tokens, the target gets the encoder's states
        main = next(v for k, v in inputs.items() if isinstance(v, Tensor) and not k.startswith("decoder_"))
        mask = {"attention_mask": inputs["attention_mask"]} if "attention_mask" in inputs else {}
        with torch.no_grad():
            states = BaseModelOutput(copy.deepcopy(whole).get_encoder()(main, **mask)[0])
            extra = mask | {"encoder_outputs": states}
            frames = capture(stitched.prefix, [stitched.source_point], inputs)[0]
            ones = timestep_mask(whole, inputs.get("decoder_attention_mask"), frames, stitched.source_point)
            plan = stitched.plan(ones, None, None, None, frames)
            output = stitched.finish(stitched.stitch(frames, ones, plan), plan.mask, **extra)
        return answers(lambda: output, {})
    switches = {"use_cache", "use_mems"}
    return answers(stitched, {k: v for k, v in inputs.items() if k not in switches})


def same(found: dict[str, Tensor], expected: dict[str, Tensor], mask: Tensor | None = None) -> bool:
    """Whether the main output is bit for bit the same, where the mask (b, t) says that a position is real."""
    main = next((k for k in NAMED if k in expected), next(iter(expected)))
    if main not in found:
        return False
    one, two = found[main], expected[main]
    if mask is not None and one.shape[:2] == two.shape[:2] == mask.shape:
        one, two = one[mask.bool()], two[mask.bool()]
    return torch.equal(one, two)


def as_alone(found: dict[str, Tensor], model: Any, inputs: dict[str, Any]) -> bool:
    """Whether each row of a padded batch is what the whole model gives for it alone, where padding gets in with it."""
    mask = inputs["attention_mask"]
    for row, count in enumerate(mask.sum(1).tolist()):
        one = {key: value for key, value in inputs.items() if not key.endswith("attention_mask")}
        for key, value in one.items():
            if isinstance(value, Tensor):
                part = value[row : row + 1]
                one[key] = part[:, :count] if part.shape[1:2] == mask.shape[1:] else part
        expected = answers(copy.deepcopy(model), one)
        main = next((k for k in NAMED if k in expected), next(iter(expected)))
        got = found[main][row : row + 1]
        got = got if got.shape == expected[main].shape else got[:, : expected[main].shape[1]]
        if not torch.allclose(got, expected[main], rtol=1e-4, atol=1e-5):
            return False
    return True


def loaded_again(stitched: StitchedModel) -> StitchedModel:
    with tempfile.TemporaryDirectory() as folder:
        stitched.save_pretrained(folder)
        model = StitchedModel.from_pretrained(folder).eval()
    for one in (*model.parameters(), *model.buffers()):
        one.data = one.data.clone()  # tensors of a file begin anywhere in memory, and sums round by where they begin
    return model


def checks(stitched: StitchedModel, model: Any, once: bool = False) -> Iterator[tuple[str, str]]:
    """(what was tried, how it ended): at all lengths, or `once`, at one that was not probed."""
    for name, combo in (("long", LONG), ("short", SHORT), ("padded", PADDED))[: 1 if once else None]:
        try:
            inputs = inputs_of(model, combo, name == "padded")
            expected = None if inputs is None else answers(copy.deepcopy(model), inputs)
        except Exception as error:  # the whole model cannot
            yield name, f"whole model cannot: {_line(error)}"
            continue
        if expected is not None and inputs is not None:

            def holds() -> bool:
                found = run(stitched, model, inputs)  # noqa: B023 - used at once
                inside = "encoder_outputs" in stitched.config.ends["suffix"]["plan"].get("given", ())
                mask = inputs.get("decoder_attention_mask" if inside else "attention_mask")  # noqa: B023
                return same(found, expected, mask) or (mask is not None and as_alone(found, model, inputs))  # noqa: B023

            yield name, _ended(holds)
    if stitched.can_generate() and not once:
        inputs = {k: v for k, v in (inputs_of(model, SHORT) or {}).items() if not k.startswith(("decoder_", "use_"))}
        settings = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "num_beams": 1}
        try:
            expected = copy.deepcopy(model).generate(**inputs, **settings)
        except Exception as error:
            yield "generate", f"whole model cannot: {_line(error)}"
            return

        def writes() -> bool:
            found = stitched.generate(**inputs, **settings)
            return torch.equal(found, expected[:, -found.shape[1] :])

        yield "generate", _ended(writes)


def _ended(trial: Any) -> str:
    try:
        return "identical" if trial() else "WRONG"
    except StitchError as error:
        return f"refused: {_line(error)}"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"traceback: {_line(error)} ({Path(place.filename).name}:{place.lineno})"


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def verdicts(model: Any, module: str, once: bool = False) -> Iterator[tuple[str, str]]:
    """(what was tried, how it ended) at one hook point, the model saved and loaded."""
    made: list[StitchedModel] = []

    def make() -> bool:
        made.append(loaded_again(stitched_to_itself(copy.deepcopy(model), module)))
        return True

    ended = _ended(make)
    if ended != "identical":
        yield "plan", ended
    else:
        yield from checks(made[0], model, once)


def main(table: str, *names: str) -> None:
    from many_families import CLASSES, build

    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with Path(table).open("w") as file:
        for name in names or CLASSES:
            with suppress(KeyboardInterrupt):
                _family(name, build, file)


def _family(name: str, build: Any, file: Any) -> None:
    def row(*cells: str) -> None:
        print(name, *cells, sep="\t", file=file, flush=True)

    try:
        model = build(name)
    except Exception as error:
        return row("-", "build", f"no model: {_line(error)}")
    try:
        hooks = hooks_of_stacks(model)
    except StitchError as error:
        return row("-", "probe", f"refused: {_line(error)}")
    except Exception as error:
        return row("-", "probe", f"traceback: {_line(error)}")
    for hook in hooks:
        for what, ended in verdicts(model, hook):
            row(hook, what, ended)


if __name__ == "__main__":
    main(*sys.argv[1:])
