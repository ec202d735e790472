"""Which rows correspond, from real tokenizers and a real CTC path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clouds import normal
from pico_recipes import XLNET_EMBEDDING, correspondence, listening, observations, reading

from hf_stitch.activations.ctc import words_of
from hf_stitch.activations.hooked_model import alphabet_of
from hf_stitch.activations.ragged import Ragged
from hf_stitch.errors import FitError, RecipeError
from hf_stitch.recipe.overrides import merge
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.sequence import Lengths
from hf_stitch.stitching.lengths.learn import fit_special, make_rule
from hf_stitch.stitching.lengths.length_rule import LengthRule
from hf_stitch.stitching.lengths.target_texts import TargetTexts
from hf_stitch.stitching.paired_rows import activation_sets
from hf_stitch.stitching.pairing import Pairing, columns_of, pair_rows


@pytest.fixture
def text(pico_roberta: Path, pico_xlnet: Path, written: Path) -> dict:
    return reading(pico_roberta, pico_xlnet, written, data={"fit": {"samples": 16}})


@pytest.fixture
def speech(pico_listener: Path, pico_xlnet: Path, spoken: Path) -> dict:
    return listening(pico_listener, pico_xlnet, spoken)


def test_keys_are_sample_and_position(text: dict) -> None:
    pairing = correspondence(text).fitted
    assert len(pairing) == len(pairing.keys) == sum(len(pairs.position) for pairs in pairing.pairs)
    wanted = [[i, int(place)] for i, pairs in enumerate(pairing.pairs) for place in pairs.position]
    assert pairing.keys.tolist() == wanted
    assert len({tuple(key) for key in wanted}) == len(wanted)
    back = pairing.swapped()
    assert back.pairs[0].source is pairing.pairs[0].target


def test_tokens_pair_with_the_pieces_of_the_same_word(text: dict) -> None:
    rows = correspondence(text)
    opened, pairing = rows.observations, rows.fitted
    pieces, words = opened.source.tokenizer, opened.target.tokenizer
    for i in range(16):
        sentence = opened.samples["fit"].target(i)
        mine = pieces.convert_ids_to_tokens(pieces(sentence)["input_ids"])
        theirs = words.convert_ids_to_tokens(words(sentence)["input_ids"])
        pairs = pairing.pairs[i]
        assert len(pairs.position) == len(sentence.split())
        for source, target in zip(pairs.source[:, 0], pairs.target[:, 0]):
            spelled = "".join(piece.removeprefix("##") for piece in mine[source[0] : source[1]])
            assert [spelled] == theirs[target[0] : target[1]]


def test_rows_are_the_means_of_their_windows(text: dict) -> None:
    rows = correspondence(text)
    opened, pairing = rows.observations, rows.fitted
    frames = opened.frames["fit"]
    source, target = (
        side.whole() for side in activation_sets(opened.source, opened.target, frames, pairing, (None, None))
    )
    assert torch.equal(source.keys, target.keys)
    for row, (i, place) in enumerate(pairing.keys.tolist()):
        pairs = pairing.pairs[i]
        [j] = np.flatnonzero(pairs.position == place)
        (a, b), (c, d) = pairs.source[j, 0], pairs.target[j, 0]
        torch.testing.assert_close(source.values[row], frames.source[i][a:b].mean(0))
        torch.testing.assert_close(target.values[row], frames.target[i][c:d].mean(0))
    assert source.full is None
    assert target.full is None


def test_selected_features_of_joined_windows(speech: dict) -> None:
    changed = merge(speech, {"source": {"features": [3, 1]}, "target": {"features": {"every": 8}}})
    rows = correspondence(changed)
    opened, pairing = rows.observations, rows.fitted
    assert columns_of(opened.source, 2) == (3, 1, 16 + 3, 16 + 1)
    whole = observations(speech).collect()
    frames = opened.frames["fit"]
    source, target = (
        side.whole() for side in activation_sets(opened.source, opened.target, frames, pairing, (None, None))
    )
    every = activation_sets(whole.source, whole.target, whole.frames["fit"], pairing, (None, None))[0].whole()
    assert torch.equal(source.values, every.values[:, [3, 1, 19, 17]])
    assert (source.full, source.selected) == (None, None)
    assert target.full is not None
    assert target.selected == (0, 8)
    assert torch.equal(target.values, target.full[:, [0, 8]])


def test_ctc_learns_alphabet_and_frame(speech: dict) -> None:
    rows = correspondence(speech)
    opened, rule, pairing = rows.observations, rows.rule, rows.fitted
    ids = opened.target.tokenizer("a")["input_ids"]
    assert (rule.state.before, rule.state.after) == ([], ids[1:])
    assert rule.state.target_length == "ctc"
    assert rule.state.padding_side == "left"
    alphabet = alphabet_of(opened.source)
    assert len(alphabet.symbols) == 27
    assert alphabet.blank not in alphabet.symbols
    assert alphabet.delimiter not in alphabet.symbols
    frames = opened.frames["fit"]
    assert frames.path is not None
    total, kept = 0, 0
    for i, pairs in enumerate(pairing.pairs):
        heard = words_of(frames.path[i].numpy(), alphabet)
        true = opened.samples["fit"].target(i).split()
        assert len(pairs.position) <= min(len(heard), len(true))
        assert pairs.dropped == len(true) - len(pairs.position)
        assert all((a, b) == (place, place + 1) for (a, b), place in zip(pairs.target[:, 0], pairs.position))
        total, kept = total + len(true), kept + len(pairs.position)
    assert pairing.dropped == total - kept
    assert kept > 0.9 * total  # the pico recogniser hears most words


def test_ctc_needs_a_head_and_a_text(text: dict, speech: dict) -> None:
    opened = correspondence(merge(text, {"sequence": {"length": "ctc"}}))
    with pytest.raises(RecipeError, match=r"ctc needs a source with a CTC head and its tokenizer; got .*pico-roberta"):
        opened.rule  # noqa: B018
    turned = dict(speech["target"], hook=XLNET_EMBEDDING)
    opened = observations({**speech, "source": turned, "sequence": {"length": "spans"}}).collect()
    texts = TargetTexts.of(opened.source, opened.target, opened.samples["fit"], Lengths(length="spans"))
    assert texts.spans is not None
    with pytest.raises(RecipeError, match=r"spans needs a target that reads text; .*pico-listener.* does not"):
        TargetTexts.of(opened.source, observations(speech).source, opened.samples["fit"], Lengths(length="spans"))


def test_texts_framed_differently_have_no_place_for_words(speech: dict) -> None:
    rows = correspondence(speech)
    opened, texts = rows.observations, rows.texts("fit")
    assert texts is not None
    texts.ids[3].insert(0, 2)
    for word in texts.word_tokens[3]:
        word[:] = [place + 1 for place in word]
    with pytest.raises(RecipeError, match="frames different texts differently; use spans"):
        make_rule(rows.recipe, opened.source, opened.target, opened.frames["fit"], texts)


def test_the_ratio_of_lengths_is_learned(text: dict) -> None:
    rows = correspondence(merge(text, {"sequence": {"length": "resample"}}))
    opened, rule, pairing = rows.observations, rows.rule, rows.fitted
    s, t = opened.frames["fit"].source.lengths.double(), opened.frames["fit"].target.lengths.double()
    best = torch.linalg.lstsq(s[:, None], t[:, None]).solution.item()
    assert rule.state.ratio == pytest.approx(best)
    assert rule.state.constant == int(t.median())
    assert len(pairing) == int(t.sum())


def test_long_samples_give_at_most_per_sample_rows(text: dict) -> None:
    rows = correspondence(text)
    opened, rule, every = rows.observations, rows.rule, rows.fitted
    keys, frames, texts = opened.samples["fit"].keys, opened.frames["fit"], rows.texts("fit")

    def some(seed: int) -> Pairing:
        recipe = Recipe.parse(merge(text, {"sequence": {"per_sample": 2}, "seed": seed}))
        return pair_rows(recipe, rule, frames, keys, texts)

    few = some(0)
    assert all(len(pairs.position) == min(2, len(whole.position)) for pairs, whole in zip(few.pairs, every.pairs))
    assert {tuple(key) for key in few.keys.tolist()} < {tuple(key) for key in every.keys.tolist()}
    assert all((np.diff(pairs.position) > 0).all() for pairs in few.pairs)
    assert torch.equal(some(0).keys, few.keys)
    assert not torch.equal(some(1).keys, few.keys)


def test_nothing_in_common_is_told(speech: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = correspondence(speech)
    opened = rows.observations
    frames, texts = opened.frames["fit"], rows.texts("fit")
    assert frames.path is not None
    path = frames.path.whole()
    silent = replace(frames, path=Ragged(torch.full_like(path.values, alphabet_of(opened.source).blank), path.lengths))
    with pytest.raises(FitError, match=r"ctc found no corresponding rows in 30 samples; check that source and target"):
        pair_rows(rows.recipe, rows.rule, silent, opened.samples["fit"].keys, texts)


def test_special_tokens_are_learned_where_the_target_has_them(speech: dict) -> None:
    rows = correspondence(speech)
    opened, rule = rows.observations, rows.rule
    frames, texts = opened.frames["fit"], rows.texts("fit")
    found = fit_special(rule, opened.source, frames, texts)
    assert found.special is not None
    assert found.special.spec["ids"] == sorted(rule.state.after)
    embedding = opened.target.model.get_input_embeddings().weight
    assert found.special.slope is None  # at the embedding they are constants
    torch.testing.assert_close(found.special.constant, embedding[sorted(rule.state.after)].detach())
    trim = LengthRule.from_spec({"length": "trim", "target_length": "ratio"})
    assert fit_special(trim, opened.source, frames, texts) is trim


def test_special_tokens_pair_with_the_source_of_their_own_sample(text: dict) -> None:
    """A token outside words that only some texts have must not shift the others against their samples."""
    rows = correspondence(text)
    opened, rule = rows.observations, rows.rule
    frames, texts = opened.frames["fit"], rows.texts("fit")
    assert texts is not None
    sources, targets = [], []
    weight = normal(16, 16).float()
    for i in range(len(frames)):
        source = frames.source[i]
        target = torch.zeros_like(frames.target[i]) + source.mean(0) @ weight  # all say the pooled source
        sources.append(source)
        targets.append(target)
    made = type(frames)(**{**vars(frames), "source": Ragged.pack(sources), "target": Ragged.pack(targets)})
    plain = fit_special(rule, opened.source, made, texts)
    odd = next(i for i in range(5, 16) if len(texts.word_tokens[i]) > 1)
    texts.word_tokens[odd][0].clear()  # its first token now belongs to no word
    again = fit_special(rule, opened.source, made, texts)
    assert plain.special is not None
    assert again.special is not None
    assert again.special.slope is not None, "one odd text made constants of all special tokens"
    place = [again.special.spec["ids"].index(token) for token in plain.special.spec["ids"]]
    torch.testing.assert_close(again.special.slope[place], plain.special.slope, rtol=1e-3, atol=1e-4)
