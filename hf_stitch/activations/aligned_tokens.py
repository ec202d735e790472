"""Which tokens of a source may stand for those of a causal target: what is checked before anything is collected.

A position of the target must not see source tokens behind its own token's end, or its next token would be told to it.
Position by position that holds where both have the same tokens; by `spans` by the rule of `causal_spans`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from hf_stitch.activations.hooked_model import HookedModel, saying
from hf_stitch.errors import HookError, RecipeError
from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.causality import sees_later
from hf_stitch.hooks.trace import copied
from hf_stitch.loading.samples import Samples
from hf_stitch.loading.token_offsets import tokenized
from hf_stitch.recipe.recipe import Recipe


def in_the_middle(model: HookedModel) -> bool:
    """Whether a model is a causal language model, hooked behind its token embedding."""
    return model.text_output is not None and model.text_output.mode == "middle"


def check_tokens(recipe: Recipe, source: HookedModel, target: HookedModel, samples: Mapping[str, Samples]) -> None:
    """Refuse what would give positions of a causal target the activations of other, or of later, tokens.

    Raises:
        RecipeError: a source that reads no text, a length rule other than `trim` and `spans`, or `trim` between models
            that split the texts into other tokens.
    """
    if not in_the_middle(target):
        return
    what = f"{target.side.model} at {target.side.hook}, in the middle of a causal language model,"
    for end in (source, target):
        if end.preparer.modality != "text" or end.tokenizer is None:
            raise RecipeError(
                f"{what} needs a source that reads text with a tokenizer, for each of its positions stands for a "
                f"token; {end.side.model} takes {end.preparer.modality}: hook the target's token embedding instead"
            )
        _check_positions(end, samples)
    for label, one in recipe.variants():
        if (one.source, one.target) != (recipe.source, recipe.target):
            continue  # opened, and checked, by itself
        named, asked = "" if label == recipe.label else f"compare: {label}: ", one.sequence
        if asked.length not in ("trim", "spans"):
            raise RecipeError(
                f"{named}sequence.length: {asked.length}: {what} takes `trim` (the same tokens on both sides) or "
                "`spans` (others), by which no position sees tokens behind its own"
            )
        if asked.length == "spans":
            continue
        for key, usual in (("slice", 1), ("target_length", None)):
            if getattr(asked, key) not in (usual, "ratio"):
                raise RecipeError(f"{named}sequence.{key}: {what} is stitched token by token; leave it out")
        for split, some in samples.items():
            _check_same(split, some, source, target, what)


def _check_positions(end: HookedModel, samples: Mapping[str, Samples]) -> None:
    """HookError where a hook point has other positions than a text has tokens, found by its first text."""
    some = next(iter(samples.values()))
    text = some.source(0) if end.preparer is some.preparers[0] else some.target(0)
    [one] = end.passes([text])
    with torch.no_grad():
        positions = capture(end.model, [end.point], one.inputs)[0].shape[1]
    count = one.inputs["input_ids"].shape[1]
    if positions != count:
        raise HookError(
            f"{end.side.model} at {end.side.hook} has {positions} positions for a text of {count} tokens, and each "
            "must stand for one: hook a block that runs over the tokens of the text"
        )


def _check_same(split: str, samples: Samples, source: HookedModel, target: HookedModel, what: str) -> None:
    texts = [[str(read(i)) for i in range(len(samples))] for read in (samples.source, samples.target)]
    both = [
        tokenized(end.tokenizer, own, truncation=longest is not None, max_length=longest)["input_ids"]
        for end, own in zip((source, target), texts)
        for longest in [end.preparer.max_length]
    ]
    other = next((i for i, (one, two) in enumerate(zip(*both)) if list(one) != list(two)), None)
    if same_vocabulary(source, target):
        if other is None:
            return
        counts = [len(ids[other]) for ids in both]
        limits = [end.preparer.most for end in (source, target)]
        if counts[0] != counts[1] and limits[0] != limits[1] and texts[0][other] == texts[1][other]:
            raise RecipeError(
                f"sequence.length: trim: {samples.keys[other]!r} of {split} has more tokens than one of the models "
                f"reads ({source.side.model} {limits[0] or 'any'}, {target.side.model} {limits[1] or 'any'}): cut the "
                "texts of the data into shorter ones"
            )
    sample = "" if other is None else f" (first sample {samples.keys[other]!r} of {split})"
    raise RecipeError(
        f"sequence.length: trim: {what} is stitched position by position, which needs the same tokens on both sides; "
        f"those of {source.side.model} are others{sample}: use sequence.length: spans"
    )


def same_vocabulary(source: HookedModel, target: HookedModel) -> bool:
    """Whether the tokens of two models of text have the same numbers."""
    tools: list[Any] = [source.tokenizer, target.tokenizer]
    return all(tool is not None for tool in tools) and tools[0].get_vocab() == tools[1].get_vocab()


def beside(source: HookedModel, target: HookedModel) -> HookedModel:
    """The source of a causal target, which is asked for its own next tokens too where they can be compared.

    Its notes say where they cannot, and where its activations know later tokens.
    """
    if not in_the_middle(target) or source.text_output is not None:
        return source
    notes = list(source.notes)
    if sees_later(copied(source.model), source.point, source.make_inputs):
        notes.append(
            f"{source.side.model} at {source.side.hook} is not causal: what it gives at a position depends on later "
            "tokens too, so that agreement and losses of the stitched model are not those of a language model"
        )
    answering = saying(source) if same_vocabulary(source, target) else None
    if answering is None:
        why = "its tokens are others" if not same_vocabulary(source, target) else "it has no causal language model head"
        notes.append(f"{source.side.model}: loss and perplexity of the source alone are left out: {why}")
    return replace(answering or source, notes=tuple(notes))
