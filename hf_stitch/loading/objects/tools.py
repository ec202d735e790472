"""What prepares the inputs of a model in memory: a processor that was given, or the one from where the model came."""

from __future__ import annotations

import copy
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_stitch.errors import ArtifactError, RecipeError
from hf_stitch.hooks.input_shapes import main_input, vocabulary
from hf_stitch.loading.modality import Modality, input_name, modality
from hf_stitch.loading.processors import load_tools, padding_token_given
from hf_stitch.loading.quiet import quiet

WORDS = {"audio": "feature extractor", "image": "image processor", "text": "tokenizer"}
PARTS = {"audio": "feature_extractor", "image": "image_processor", "text": "tokenizer"}
SIGNS = {"audio": ("sampling_rate",), "image": ("image_mean", "preprocess"), "text": ("get_vocab",)}
"""Attributes by which it is known what a processor is for."""


def tools_of(model: PreTrainedModel, given: Any, argument: str, name: str) -> tuple[Any, Any]:
    """The tokenizer, feature extractor or image processor, and of a speech recogniser its tokenizer; copies.

    Args:
        given: what stands for it; None: what lies where the model came from. argument: under which it is given.
        name: what the model is called.

    Raises:
        RecipeError: none is given and none is found, or one for another kind of model.
    """
    kind = modality(model)
    if kind == "vector":
        if given is not None:
            raise RecipeError(f"{argument}: {name} takes numbers, which no {type(given).__name__} makes; leave it out")
        return None, None
    if main_input(model) != input_name(model):
        first = main_input(model)
        raise RecipeError(
            f"{name}: its main input is called {input_name(model)} (main_input_name) and its forward takes {first}: "
            f"set `main_input_name = {first!r}` in the class, or call the argument as transformers does"
        )
    if given is None:
        tool, speller = _from_its_place(model, kind, argument, name)
    else:
        tool, speller = _parts(given, kind, argument, name)
    if kind == "text":
        _check_size(model, tool, argument, name)
    return tool, speller


def reads_as(given: Any) -> Modality:
    """What a model takes whose processor this is: numbers where there is none."""
    kinds: tuple[Modality, ...] = ("image", "audio", "text")
    return next(
        (kind for kind in kinds if given is not None and _fits(getattr(given, PARTS[kind], given), kind)), "vector"
    )


def _fits(tool: Any, kind: Modality) -> bool:
    """Whether it is a tokenizer, a feature extractor, or an image processor."""
    return callable(tool) and any(hasattr(tool, sign) for sign in SIGNS[kind])


def _parts(given: Any, kind: Modality, argument: str, name: str) -> tuple[Any, Any]:
    tool = getattr(given, PARTS[kind], given)
    if not _fits(tool, kind):
        raise RecipeError(f"{argument}: expected the {WORDS[kind]} of {name}; got {type(given).__name__}")
    tool = copy.deepcopy(tool)
    if kind == "text":
        return _padding(tool, argument), None
    speller = getattr(given, "tokenizer", None) if kind == "audio" else None
    return tool, None if speller is None else _padding(copy.deepcopy(speller), argument)


def _padding(tokenizer: Any, argument: str) -> Any:
    try:
        return padding_token_given(tokenizer, argument)
    except ArtifactError as error:
        raise RecipeError(str(error)) from None


def _from_its_place(model: PreTrainedModel, kind: Modality, argument: str, name: str) -> tuple[Any, Any]:
    place = str(getattr(model, "name_or_path", "") or "")
    needed = f"{name} takes {kind} and needs its {WORDS[kind]}"
    if not place:
        raise RecipeError(f"{needed}, and it was loaded from nowhere: give {argument}=")
    try:
        with quiet():
            return load_tools(kind, place, getattr(model.config, "_commit_hash", None))
    except ArtifactError as error:
        raise RecipeError(f"{needed}, and where it came from there is none ({error}): give {argument}=") from None


def _check_size(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, argument: str, name: str) -> None:
    """RecipeError where a tokenizer has tokens that the model does not know: it is that of another model."""
    known, largest = vocabulary(model.config), max(tokenizer.get_vocab().values(), default=0)
    if known is not None and largest >= known:
        raise RecipeError(
            f"{argument}: {type(tokenizer).__name__} has tokens up to {largest}, {name} knows {known}: it is another "
            "model's; give its own, or resize the model's embedding"
        )
