"""How one model is fed: random inputs when it is probed, and fixed ones beside those that its processor makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from hf_stitch.errors import ProbeError, RecipeError, nearest
from hf_stitch.hooks.arguments import arguments_of
from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.given_inputs import FixedInputs, GivenInput, constant_in
from hf_stitch.hooks.input_shapes import float_shape, main_input, vocabulary
from hf_stitch.hooks.points import HookPoint
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.symbolic_shapes import fit, fit_dim, record
from hf_stitch.hooks.trace import COMBOS, MakeInputs, ModelTrace, quiet
from hf_stitch.recipe.side import Side

START = "decoder_input_ids"
MADE = ("input_ids", "attention_mask", "input_values", "input_features", "pixel_values")  # by processors
IN_RECIPE = (
    "describe them as `inputs:` at this side of the recipe, for each name its shape in b and t, and its dtype or value"
)
OWN = "mend the function `make_inputs` that was given for it"


@dataclass(frozen=True)
class ModelInputs:
    """How one model is fed.

    Attributes:
        make: (batch, length) -> keyword arguments, for probes. own: it is a function of the user's.
        given: inputs that the recipe describes. sizes: of one sample, by name, as its processor makes it.
    """

    make: MakeInputs
    given: Mapping[str, GivenInput]
    sizes: Mapping[str, tuple[int, ...]]
    own: bool = False

    @classmethod
    def of(
        cls, side: Side, model: nn.Module, sizes: Mapping[str, tuple[int, ...]], own: MakeInputs | None = None
    ) -> ModelInputs:
        """From what the recipe, the processor and the configuration say, or by the user's own function.

        Raises:
            RecipeError: an input that the model does not take. ProbeError: nobody knows what it takes.
        """
        given = {name: GivenInput.from_dict(one) for name, one in _described(side, model).items()}
        if own is not None:
            return cls(own, {**constants_of(own, main_input(model)), **given}, sizes, own=True)
        return cls(make_inputs_for(model, given, sizes), given, sizes)

    def started(self, model: Any, hook: str, trace: ModelTrace) -> ModelInputs:
        """These inputs, with a start token for a decoder that reads nothing by itself and in which the hook lies.

        Args:
            trace: of a copy of the model.

        Raises:
            RecipeError: nobody knows the start token.
        """
        if START not in trace.inputs[0] or START in self.given:
            return self
        point, alone = trace.point(hook), {k: v for k, v in trace.inputs[0].items() if k != START}
        try:
            with quiet(trace.model):
                capture(trace.model, [point], alone)
            return self  # before the decoder, or in one that is given the input's own tokens (BART)
        except Exception:  # each model says in its own way that its decoder needs tokens
            token = _start_token(model)
        given = {**self.given, START: GivenInput(([1, 0, 1], 1), "int64", token)}
        return replace(self, given=given, make=self.make if self.own else make_inputs_for(model, given, self.sizes))

    def check_real(self, trace: ModelTrace, point: HookPoint, side: Side) -> None:
        """RecipeError where a model cannot run without an input that is random in probes and that nobody makes then.

        Args:
            trace: of a copy of the model.
        """
        main = main_input(trace.model)
        open_ones = [name for name, one in self.given.items() if not one.fixed and name not in (main, *MADE)]
        if self.own or not open_ones:
            return
        try:
            with quiet(trace.model):
                capture(trace.model, [point], {k: v for k, v in trace.inputs[0].items() if k not in open_ones})
        except Exception as error:  # each model says in its own way that something is missing
            raise RecipeError(
                f"{side.model}: inputs.{open_ones[0]}: no processor makes it, and the model cannot run without; give "
                f"it a `value` that it always has"
            ) from error

    def fixed(self, model: nn.Module, side: Side) -> FixedInputs | None:
        """What stands beside each real input; None where nothing does.

        Raises:
            RecipeError: one as long as an input that has no length.
        """
        fixed = {name: one for name, one in self.given.items() if one.fixed}
        if not fixed:
            return None
        main = main_input(model)
        seen = [self.make(*combo)[main] for combo in COMBOS]
        sizes = [value.shape[1] if value.ndim > 1 else 1 for value in seen]
        time = fit_dim(sizes, COMBOS) or 1
        long = [name for name, one in fixed.items() if any(isinstance(d, list) and d[1] for d in one.shape)]
        if long and isinstance(time, int):
            raise RecipeError(
                f"{side.model}: inputs.{long[0]}: its shape has t, the tokens or frames of an input, and {main} has "
                "neither; give a number instead"
            )
        return FixedInputs(fixed, main, time)

    def to_dict(self, model: nn.Module, fixed: FixedInputs | None) -> dict[str, Any]:
        """Plain data of what the configuration does not say, for a saved model; empty where there is nothing."""
        found: dict[str, Any] = {}
        if self.given:
            found["given"] = {name: one.to_dict() for name, one in self.given.items()}
        if fixed is not None:
            found["fixed"] = fixed.to_dict()
        config = getattr(model, "config", None)
        told = {k: v for k, v in self.sizes.items() if float_shape(model, config, k, {}) != [[1, 0, 1], *v]}
        return found | ({"sizes": {name: list(size) for name, size in told.items()}} if told else {})


def constants_of(own: MakeInputs, main: str) -> dict[str, GivenInput]:
    """What a function of the user's gives beside the main input that is the same for every sample."""
    first, second = (dict(own(*combo)) for combo in COMBOS)
    found = {}
    for name, value in first.items():
        fitted = fit([record(value), record(second.get(name))], COMBOS)
        if name == main or not isinstance(fitted, dict):
            continue
        if "value" in fitted:
            found[name] = GivenInput(value=fitted["value"])
        elif "tensor" in fitted and (constant := constant_in(value, fitted["tensor"])) is not None:
            found[name] = GivenInput(tuple(fitted["tensor"]), fitted["dtype"], constant)
    return found


@contextmanager
def told_by_side(side: Side, own: bool = False) -> Iterator[None]:
    """Inside, a model that cannot be probed is told with what can be done in its recipe."""
    try:
        yield
    except ProbeError as error:
        raise ProbeError(f"{side.model}: {error.cause}", OWN if own else IN_RECIPE) from error


def _described(side: Side, model: nn.Module) -> dict[str, Any]:
    """The recipe's `inputs` in full.

    Raises:
        RecipeError: one that the model does not take.
    """
    if not side.inputs:
        return {}
    taken = {*arguments_of(model)} - {"args", "kwargs"}
    for half, before in (("encoder", ""), ("decoder", "decoder_")):  # composites hand these on
        inner = getattr(model, half, None)
        if isinstance(inner, PreTrainedModel):
            taken |= {f"{before}{name}" for name in arguments_of(inner)}
    for name in side.inputs:
        if name not in taken:
            kind = type(model).__name__
            raise RecipeError(f"{side.model}: inputs.{name}: {kind} takes no such input; {nearest(name, taken)}")
    config = getattr(model, "config", None)
    return {name: one.plain(name, vocabulary(config, name.startswith("decoder_"))) for name, one in side.inputs.items()}


def _start_token(model: Any) -> int:
    names = ("decoder_start_token_id", "bos_token_id")
    for config in (model.config, getattr(model, "generation_config", None), getattr(model.config, "decoder", None)):
        for name in names:
            token = getattr(config, name, None)
            if isinstance(token, int):
                return token
    raise RecipeError(
        f"{type(model).__name__} has no start token for its decoder, in which the hook lies; give it in the recipe: "
        f"inputs: {{{START}: {{shape: [b, 1], value: TOKEN}}}}"
    )
