"""What a length rule learns from the fit samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from hf_stitch.activations.frames import Frames
from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.stitching.lengths.length_predictor import LengthPredictor
from hf_stitch.stitching.lengths.length_rule import LengthRule
from hf_stitch.stitching.lengths.rule import rule_class
from hf_stitch.stitching.lengths.special_tokens import NOTHING, SpecialTokens
from hf_stitch.stitching.lengths.target_texts import TargetTexts

SAMPLES_AT_ONCE = 4096  # of which the special tokens' activations are in memory; by hand


def make_rule(
    recipe: Recipe, source: HookedModel, target: HookedModel, frames: Frames, texts: TargetTexts | None
) -> LengthRule:
    """The length rule of a recipe, with what it learns from the fit samples.

    Raises:
        RecipeError: the rule does not suit these models.
    """
    asked = recipe.sequence
    rule = LengthRule(rule_class(asked.length).learn(asked, source, target, frames, texts))
    if rule.state.target_length != "predicted":
        return rule
    s, t = frames.source.lengths.double(), frames.target.lengths.double()
    return rule.with_predictor(LengthPredictor.fit(s, _pooled(source, frames), t))


def _pooled(source: HookedModel, frames: Frames) -> Tensor:
    """(n, features) mean activation of each sample on the source's selected features."""
    features = slice(None) if source.features is None else list(source.features)
    rows: Tensor | None = None
    for i, own in frames.source.each():
        mean = own.mean(0)[features]
        rows = mean.new_empty(len(frames), len(mean)) if rows is None else rows
        rows[i] = mean
    assert rows is not None
    return rows


def fit_special(rule: LengthRule, source: HookedModel, frames: Frames, texts: TargetTexts | None) -> LengthRule:
    """Give the rule the activations of the target's special tokens, where it has positions for them."""
    if texts is None or not rule.rule.special_tokens:
        return rule
    causal = bool(getattr(rule.state, "causal", False))
    counted = Counter(token for i in range(len(frames)) for token in _places(texts, i, causal))
    # Tokens outside words that only some texts have, such as a lone blank, do not frame the text.
    ids = sorted(token for token, count in counted.items() if count == len(frames))
    if not ids:
        return rule
    blocks = partial(_blocks, ids, source, frames, texts, causal)
    return rule.with_special(SpecialTokens.fit_blocks(ids, blocks, causal))


def _places(texts: TargetTexts, i: int, causal: bool) -> dict[int, list[int]]:
    """Positions of each special token of a sample's text."""
    special, found = texts.special(i), dict[int, list[int]]()
    for place in special:
        found.setdefault(texts.ids[i][place], []).append(place)
    first = next((k for k in range(len(texts.ids[i])) if k not in special), None)
    if causal and first is not None:
        # What stands at the first token of a text, of which the source says nothing yet.
        found[NOTHING] = [first]
    return found


def _blocks(
    ids: list[int], source: HookedModel, frames: Frames, texts: TargetTexts, causal: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Special tokens (b, S, width) and mean source activations (b, features) of samples, block by block."""
    features = slice(None) if source.features is None else list(source.features)
    waiting: dict[int, tuple[Tensor, Tensor]] = {}
    for part in frames.target.parts:
        if waiting and len(waiting) + len(part) > SAMPLES_AT_ONCE:
            yield _in_order(waiting)
            waiting = {}
        for i, theirs, ours in zip(part, frames.target.take(part), frames.source.take(part)):
            places = _places(texts, i, causal)
            # One mean a sample, so that a token that occurs twice in it does not count double.
            own = torch.stack([theirs[places[token]].mean(0) for token in ids])
            waiting[i] = (own, ours.mean(0)[features])
    yield _in_order(waiting)


def _in_order(found: dict[int, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    values, pooled = zip(*(found[i] for i in sorted(found)))
    return torch.stack(values), torch.stack(pooled)
