"""A model that somebody holds, with all that a fit needs of it beside."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_stitch.errors import HookError, RecipeError
from hf_stitch.hooks.input_shapes import vector_width
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.trace import COMBOS, MakeInputs, run_probe
from hf_stitch.hooks.trace import quiet as at_rest
from hf_stitch.loading.model_classes import is_custom, kind_name
from hf_stitch.loading.models import load_model, resolve, uniform
from hf_stitch.loading.objects.own_copy import WRAPPERS, base_of, own_copy
from hf_stitch.loading.objects.stamp import stamp_of, stamp_of_tools
from hf_stitch.loading.objects.tools import reads_as, tools_of
from hf_stitch.loading.objects.wrapped import INSIDE, VectorModule, kind_for, wrapped
from hf_stitch.loading.processors import Preparer, load_tools
from hf_stitch.loading.quiet import quiet
from hf_stitch.loading.sentence_transformers import SentenceTransformer, whole
from hf_stitch.loading.vector_head import VectorHead
from hf_stitch.recipe.digest import digest
from hf_stitch.recipe.names import MEMORY
from hf_stitch.recipe.side import Role, Side
from hf_stitch.runtime.device import pick_device, pick_dtype

CLASSES = "single_label_classification"  # transformers' name for it, `problem_type`


@dataclass(frozen=True)
class GivenModel:
    """A model in memory. What runs are copies of it: the object itself is never changed.

    Attributes:
        held: the object. name: of its class.
        stamp: a digest of model and processor by which caches and finished folders know them.
        tool, speller: what prepares its inputs, and a speech recogniser's tokenizer.
        head: what makes the vector of a model of sentence-transformers, or of one that comes from such a folder.
        built: whether its configuration builds it, so that a fresh process can; else its structure has to be given.
        classes: how many classes it tells apart, of one whose own class does not say so; else 0.
        reads: kind of wrapper round a plain module; "" of a model of transformers.
        notes: what is to be told of it.
    """

    held: Any
    name: str
    stamp: str
    tool: Any = None
    speller: Any = None
    head: VectorHead | None = None
    built: bool = True
    classes: int = 0
    reads: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        held: Any,
        role: Role,
        processor: Any = None,
        labelled: bool = False,
        make: MakeInputs | None = None,
        needs_processor: bool = True,
    ) -> GivenModel:
        """A model as `source` or `target` of a stitch.

        Args:
            processor: what prepares its inputs; absent: what lies where it came from.
            labelled: the data have true classes. make: (batch, length) -> keyword arguments, for probes.
            needs_processor: one that is neither given nor found is an error.

        Raises:
            RecipeError: no model, or one that cannot be used; a processor that is missing or another model's.
        """
        argument = f"{role}_processor"
        if is_sentence_transformer(held):
            if processor is not None:
                raise RecipeError(f"{argument}: a {type(held).__name__} brings its own; leave it out")
            return cls._of_sentence_transformer(held, role)
        if not isinstance(held, nn.Module):
            raise RecipeError(f"{role}: expected a model, or the name or folder of one; got {type(held).__name__}")
        name = type(base_of(held)).__name__
        reads = _wrapper_for(held, processor)
        model, notes = _copy_of(held, name, reads, _padding_token(processor))
        if reads == VectorModule.__name__ and make is None and vector_width(model) is None:
            raise RecipeError(
                f"{name}: nobody knows what this module takes, for it does not begin with a linear layer: give the "
                f"tokenizer, feature extractor or image processor that prepares its inputs as {argument}=, or for "
                f'numbers make_inputs={{"{role}": f}} with f(batch, length) -> {{"inputs": tensor}}'
            )
        tool, speller = None, None
        with suppress(*([] if needs_processor or processor is not None else [RecipeError])):
            tool, speller = tools_of(model, processor, argument, name)
        built = not reads and _is_built(model)
        if not built and not reads:
            notes.append(f"{name}: its configuration builds another model; to load the stitched one again, give it")
        classes = 0
        if reads:
            width = _width(_probed(model, tool, make, name))
            classes = width if labelled else 0
        elif labelled and _may_tell_classes(model):
            with suppress(RecipeError):  # told by opening it
                classes = _width(_probed(model, tool, make, name))
        head = None if reads else _head_where_from(base_of(held))
        parts = [] if head is None else [repr(head), stamp_of(head)]
        stamp = digest([stamp_of(model), stamp_of_tools(tool, speller), classes, *parts])
        return cls(held, name, stamp, tool, speller, head, built, classes, reads, tuple(notes))

    @classmethod
    def _of_sentence_transformer(cls, held: Any, role: Role) -> GivenModel:
        """By way of the folder that it writes, so that it is read as any other."""
        with tempfile.TemporaryDirectory() as folder:
            save = getattr(held, "save_pretrained", None) or held.save
            save(folder)
            found = SentenceTransformer.at(folder)
            if found is None:
                raise RecipeError(
                    f"{role}: the {type(held).__name__} holds no transformer; expected one with a pooling"
                )
            side = Side.model_validate({"model": folder, "hook": ""})
            model, head = load_model(side), found.head()
            place = str(Path(folder) / found.transformer)
            tool, speller = load_tools("text", place, None)
        model.name_or_path = model.config.name_or_path = ""
        parts = [] if head is None else [repr(head), stamp_of(head)]
        stamp = digest([stamp_of(model), stamp_of_tools(tool, speller), *parts])
        return cls(model, type(held).__name__, stamp, tool, speller, head)

    def opened(self, dtype: Any = None, device: Any = None) -> PreTrainedModel:
        """A copy to run, in evaluation mode; of that dtype, where one is named, on that device (absent: the CPU)."""
        model, _ = _copy_of(self.held, self.name, self.reads, _padding_token(self.tool))
        if self.classes:
            model.config.problem_type = CLASSES
            if model.config.num_labels != self.classes:
                model.config.num_labels = self.classes
        if (wanted := pick_dtype(dtype)) is not None:
            model.config.dtype = uniform(model, wanted).dtype
        return model.to(pick_device(device or "cpu")).eval()

    def preparer(self, model: PreTrainedModel) -> Preparer:
        """What prepares the inputs of such a copy."""
        return Preparer.with_tools(model, self.tool, self.speller)

    def hook(self, name: str) -> str:
        """The name in the copy of a module that the object may know by another, as wrappers and adapters give it."""
        return hook_in(self.held, name)


def _head_where_from(base: Any) -> VectorHead | None:
    """How the folder of sentence-transformers, from which an encoder was loaded, makes its vectors; None of others.

    Raises:
        ArtifactError: parts that are not known.
    """
    place = str(getattr(base, "name_or_path", "") or "")
    found = None
    with suppress(RecipeError, OSError):  # it came from nowhere that is still there
        found = SentenceTransformer.at(whole(resolve(place))) if place else None
    return None if found is None else found.head()


def named_beside(given: GivenModel, others: Mapping[str, GivenModel]) -> str:
    """The name in a recipe of a model: that of its class, with a number where another bears it."""
    name = MEMORY + given.name
    known = [name, *(f"{name}-{number}" for number in range(2, len(others) + 2))]
    return next(one for one in known if one not in others or others[one].stamp == given.stamp)


def hook_in(held: Any, name: str) -> str:
    """As `GivenModel.hook`; a name of no module stays as it is."""
    base = base_of(held) if isinstance(held, nn.Module) else held
    plain = isinstance(base, nn.Module) and not isinstance(base, PreTrainedModel)
    known = {path for path, _ in base.named_modules()} if isinstance(base, nn.Module) else set()
    short = name
    while short.partition("#")[0] not in known:
        before = next((one for one in WRAPPERS if short.startswith(one)), None)
        if before is None:
            return name
        short = short.removeprefix(before)
    return INSIDE + short if plain else short


def is_sentence_transformer(held: Any) -> bool:
    """Whether it is a `SentenceTransformer`, told by name: the library need not be installed."""
    named = any(kind.__name__ == "SentenceTransformer" for kind in type(held).__mro__)
    return named and (hasattr(held, "save_pretrained") or hasattr(held, "save"))


def structure_of(held: Any, reads: str, config: Any) -> PreTrainedModel:
    """A copy of a model that says how a stitched one is built; its weights do not matter.

    Args:
        reads: name of the wrapper's class, of a plain module. config: that of the model that was saved.

    Raises:
        RecipeError: it is no model.
    """
    if not isinstance(held, nn.Module):
        raise RecipeError(f"expected the model by which it is built; got {type(held).__name__}")
    made, _ = own_copy(held, type(base_of(held)).__name__)
    return made if isinstance(made, PreTrainedModel) else wrapped(made, reads, config)


def _wrapper_for(held: nn.Module, processor: Any) -> str:
    """The kind of wrapper that a plain module needs; "" of a model of transformers."""
    base = base_of(held)
    return "" if isinstance(base, PreTrainedModel) else kind_for(base, reads_as(processor))


def _padding_token(processor: Any) -> int | None:
    return getattr(getattr(processor, "tokenizer", processor), "pad_token_id", None)


def _copy_of(held: nn.Module, name: str, reads: str, pad: int | None) -> tuple[Any, list[str]]:
    """A copy that is a model of transformers, and what is told of it."""
    made, notes = own_copy(held, name)
    return (wrapped(made, reads, pad_token_id=pad) if reads else made), notes


def _is_built(model: PreTrainedModel) -> bool:
    """Whether its class and configuration give a model of the same weights' names and shapes."""
    try:
        with quiet(), torch.device("meta"):
            fresh = type(model)._from_config(copy.deepcopy(model.config))
    except Exception:  # whatever a constructor of the user's wants
        return False
    return _shapes(fresh) == _shapes(model)


def _may_tell_classes(model: PreTrainedModel) -> bool:
    """Whether a model's class leaves open if its answers are classes, and its configuration does too."""
    known = "Classification" in kind_name(type(model)) or not is_custom(type(model))
    return not known and getattr(model.config, "problem_type", None) != "regression"


def _shapes(model: nn.Module) -> dict[str, Any]:
    return {name: tuple(one.shape) for name, one in model.state_dict().items() if isinstance(one, Tensor)}


def _probed(model: PreTrainedModel, tool: Any, make: MakeInputs | None, name: str) -> Any:
    """What a model answers to random inputs.

    Raises:
        RecipeError: it does not take what the likes of it are given.
    """
    sizes = Preparer.with_tools(model, tool).sizes()
    try:
        inputs = dict((make or make_inputs_for(model, None, sizes))(*COMBOS[0]))
        with at_rest(model):
            return run_probe(model, inputs)
    except HookError as error:
        cause = error.__cause__ or error
        said = " ".join(str(cause).split())
        # By hand: some begin with the whole model.
        said = said if len(said) <= 300 else f"...{said[-200:]}"
        raise RecipeError(
            f"{name}: it cannot be run on random inputs ({type(cause).__name__}: {said}); a module takes its main "
            "input, such as tokens (b, t), as its first argument, and the mask as attention_mask where it has that: "
            "wrap yours in one that does"
        ) from error


def _width(output: Any) -> int:
    """k of logits (b, k), where these are more than one; else 0."""
    logits = getattr(output, "logits", None)
    return logits.shape[1] if isinstance(logits, Tensor) and logits.ndim == 2 and logits.shape[1] > 1 else 0
