"""The base of all stitching layers: state, spec, forward, landing and fill; and the registry of methods.

A layer is a finished value: `fit` makes it, `forward` applies it. Its tensors are its whole state (frozen parameters
and persistent buffers), and `spec` with those tensors is the whole layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from hf_stitch.activations.activation_set import RowSet
from hf_stitch.errors import ActivationError, ArtifactError, FitError, RecipeError, nearest
from hf_stitch.geometry.distances import nearest_rows
from hf_stitch.recipe.side import Role
from hf_stitch.recipe.stitch import METHODS, Landing, Stitch
from hf_stitch.stitching.keep_dtype import keep_dtype

Fill = Literal["predict", "mean", "zero", "reference"]
GIVEN = "module"
"""Of maps that somebody made, which no recipe asks for."""
_METHODS: dict[str, type[StitchingLayer]] = {}


class StitchingLayer(nn.Module):
    """A map (..., features_in) -> (..., features_out) with any leading shape; the result has the input's dtype.

    It computes in the widest dtype of its own tensors, at least float32, with autocast off, and keeps these dtypes
    through `.to(dtype)` and `.half()`. Subclasses give `method`, `learned` (the names of their coefficients),
    `predict` and the classmethod `fit`; their options and facts are the method's class in `recipe.stitch`. One that
    goes through coordinates of its own gives `coordinate_sides`, `coordinates` and `target_coordinates` too.
    """

    method: ClassVar[str] = ""
    learned: ClassVar[tuple[str, ...]] = ()
    shared: ClassVar[bool] = False  # `fit` takes a `Rows` after the two sets

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.method:
            _METHODS[cls.method] = cls

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        features_in: int,
        features_out: int,
        options: Mapping[str, Any] | None = None,
        landing: Landing = "none",
        fill: Fill = "predict",
    ) -> None:
        super().__init__()
        self.features_in, self.features_out = features_in, features_out
        self.options = dict(options or {})
        self.landing, self.fill, self.steps = landing, fill, 1
        self.diagnostics: dict[str, Any] = {}
        self.place(tensors)

    def place(self, tensors: Mapping[str, Tensor]) -> None:
        """Register the tensors; a subclass whose state lies in submodules hands those their part first."""
        for name, tensor in tensors.items():
            if name in self.learned:
                # A parameter, so that `StitchedModel.trainable` can set it free for a trainer.
                self.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(name, tensor)

    @classmethod
    def fit(cls, source: RowSet, target: RowSet, options: Any) -> StitchingLayer:
        """Fit on paired rows by the options of its class in `recipe.stitch`; predicts the target's `outputs`."""
        raise NotImplementedError

    def predict(self, rows: Tensor) -> Tensor:
        """(b, features_in) -> (b, predicted features), before landing and fill."""
        raise NotImplementedError

    @property
    def facts(self) -> type[Stitch]:
        """The class of the method's options, which says what the method needs."""
        return METHODS[self.method]

    @property
    def coordinate_sides(self) -> tuple[Role, ...]:
        """The sides whose activations the layer can place in coordinates of its own."""
        return ()

    def coordinates(self, x: Tensor) -> Tensor:
        """Source coordinates (..., l) of activations (..., m); FitError where the layer has none."""
        raise FitError(f"the {self.method} layer has no coordinates: it maps activations straight to activations")

    def target_coordinates(self, y: Tensor) -> Tensor:
        """The target's coordinates (..., l) of its activations (..., m'); FitError where the layer has none."""
        raise FitError(f"the {self.method} layer has no coordinates: it maps activations straight to activations")

    def forward(self, x: Tensor) -> Tensor:
        """Map activations; ActivationError when the last dimension is not `features_in`."""
        if x.shape[-1] != self.features_in:
            raise ActivationError(f"the {self.method} layer takes {self.features_in} features, got {x.shape[-1]}")
        # Distances and cumulated products lose their digits in bfloat16, so autocast of the halves ends here.
        with torch.autocast(x.device.type, enabled=False):
            rows = x.reshape(-1, self.features_in).to(self._computing(x.dtype))
            found = self._filled(self._landed(self.predict(rows)))
        return found.to(x.dtype).reshape(*x.shape[:-1], self.features_out)

    def _computing(self, dtype: torch.dtype) -> torch.dtype:
        wide = torch.promote_types(dtype, torch.float32)
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.is_floating_point():
                wide = torch.promote_types(wide, tensor.dtype)
        return wide

    def _landed(self, found: Tensor) -> Tensor:
        if self.landing == "none":
            return found
        points = self.get_buffer("landing_points")
        landed = points[nearest_rows(found.detach().to(points.dtype), points)].to(found.dtype)
        # Straight through (Bengio et al. 2013): the value is the landing point exactly, the gradient the prediction's.
        return landed + (found - found.detach()) if found.requires_grad else landed

    def _filled(self, found: Tensor) -> Tensor:
        if self.fill == "predict":
            return found
        if self.fill == "reference":
            filler = self.get_buffer("reference").to(found.dtype).expand(len(found), -1)
        else:
            by_step = found.unflatten(1, (self.steps, found.shape[1] // self.steps)).mean(2, keepdim=True)
            filler = by_step if self.fill == "mean" else torch.zeros_like(by_step)
            filler = filler.expand(-1, -1, self.features_out // self.steps).flatten(1)
        # Not in place: `filler` is an expanded view, and gradients flow through `found`.
        return filler.index_copy(1, self.get_buffer("selected"), found)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> StitchingLayer:
        return keep_dtype(self, fn, recurse)

    @property
    def spec(self) -> dict[str, Any]:
        """The layer without its numbers, as JSON-able data: what `from_spec` needs."""
        tensors = {}
        for role, named in (("parameter", self.named_parameters()), ("buffer", self.named_buffers())):
            for name, tensor in named:
                dtype = str(tensor.dtype).removeprefix("torch.")
                tensors[name] = {"shape": list(tensor.shape), "dtype": dtype, "role": role}
        return {
            "method": self.method,
            "landing": self.landing,
            "fill": self.fill,
            "steps": self.steps,
            "features_in": self.features_in,
            "features_out": self.features_out,
            "options": self.options,
            "tensors": tensors,
        }

    @classmethod
    def empty(cls, spec: Mapping[str, Any]) -> StitchingLayer:
        """Of a spec, with tensors that are still to be filled."""
        tensors = {
            name: torch.empty(tuple(one["shape"]), dtype=getattr(torch, one["dtype"]))
            for name, one in spec["tensors"].items()
        }
        sizes = int(spec["features_in"]), int(spec["features_out"])
        return cls(tensors, *sizes, spec["options"], spec["landing"], spec["fill"])

    @staticmethod
    def from_spec(spec: Mapping[str, Any]) -> StitchingLayer:
        """An empty layer of the right shapes and dtypes, to be filled by `load_state_dict`.

        Raises:
            ArtifactError: a key is missing or unreadable.
            RecipeError: the method is unknown.
        """
        try:
            made = layer_class(spec["method"]).empty(spec)
            # The first saved form has no `steps`.
            made.steps = int(spec.get("steps", 1))
            return made
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ArtifactError(f"the saved stitching layer is damaged ({error!r}): fit it again") from None


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with `prefix.`, without it."""
    return {name.removeprefix(f"{prefix}."): one for name, one in tensors.items() if name.startswith(f"{prefix}.")}


def layer_class(method: str) -> type[StitchingLayer]:
    """The layer of a method; RecipeError names the nearest known one."""
    if method not in (*methods(), GIVEN):
        raise RecipeError(f"unknown stitching method {method!r}; {nearest(str(method), methods())}")
    # A method's file is loaded when it is asked for; its class then registers itself.
    import_module(f"{__package__}.{method}")
    return _METHODS[method]


def methods() -> list[str]:
    """Sorted names of the known methods."""
    return sorted(METHODS)
