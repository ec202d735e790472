"""What a length rule learns from the fit samples."""

from __future__ import annotations

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
    return torch.stack([frames.source[i].mean(0)[features] for i in range(len(frames))])


def fit_special(rule: LengthRule, source: HookedModel, frames: Frames, texts: TargetTexts | None) -> LengthRule:
    """Give the rule the activations of the target's special tokens, where it has positions for them."""
    if texts is None or not rule.rule.special_tokens:
        return rule
    seen: dict[int, list[Tensor]] = {}
    causal = bool(getattr(rule.state, "causal", False))
    for i in range(len(frames)):
        own: dict[int, list[Tensor]] = {}
        special = texts.special(i)
        for place in special:
            own.setdefault(texts.ids[i][place], []).append(frames.target[i][place])
        first = next((k for k in range(len(texts.ids[i])) if k not in special), None)
        if causal and first is not None:
            # What stands at the first token of a text, of which the source says nothing yet.
            own[NOTHING] = [frames.target[i][first]]
        # One mean a sample, so that a token that occurs twice in it does not count double.
        for token, rows in own.items():
            seen.setdefault(token, []).append(torch.stack(rows).mean(0))
    # Tokens outside words that only some texts have, such as a lone blank, do not frame the text.
    ids = sorted(token for token, rows in seen.items() if len(rows) == len(frames))
    if not ids:
        return rule
    values = torch.stack([torch.stack(seen[token]) for token in ids], 1)
    return rule.with_special(SpecialTokens.fit(ids, values, _pooled(source, frames), causal))
