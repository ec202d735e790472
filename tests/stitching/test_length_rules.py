"""Length rules: which source timesteps each target position is made of, in the fit and at run time."""

from __future__ import annotations

import dataclasses
import itertools
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clouds import normal
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from hf_stitch.activations.ctc import CtcAlphabet, Word, match_words, words_of
from hf_stitch.activations.windows import pool_windows, single_steps, split_evenly
from hf_stitch.errors import ActivationError, ArtifactError
from hf_stitch.recipe.sequence import RULES, Lengths, facts_of
from hf_stitch.stitching import lengths
from hf_stitch.stitching.lengths.ctc import learn_pieces
from hf_stitch.stitching.lengths.length_predictor import LengthPredictor
from hf_stitch.stitching.lengths.length_rule import LengthRule, masked_mean
from hf_stitch.stitching.lengths.position_plan import MAPPED, MEAN, PADDING, SPECIAL, Plan
from hf_stitch.stitching.lengths.rule import SampleShape
from hf_stitch.stitching.lengths.slicing import places, slices
from hf_stitch.stitching.lengths.special_tokens import SpecialTokens

BLANK, DELIMITER = 0, 4
ALPHABET = CtcAlphabet(BLANK, DELIMITER, {5: "a", 6: "b", 7: "c"})
LETTERS = {"-": BLANK, "|": DELIMITER, "?": 3, "a": 5, "b": 6, "c": 7}


def path(letters: str) -> np.ndarray:
    return np.array([LETTERS[letter] for letter in letters])


def rule(length: str, target_length: str = "", **more: Any) -> LengthRule:
    default = {"trim": "ratio", "resample": "ratio", "pool": "constant"}.get(length, length)
    if length == "ctc":
        more["alphabet"] = ALPHABET.to_dict()
    return LengthRule.from_spec({"length": length, "target_length": target_length or default, **more})


def masks(lengths: list[int], side: str = "right") -> Tensor:
    place = torch.arange(max(lengths))[None]
    long = torch.tensor(lengths)[:, None]
    return place < long if side == "right" else place >= max(lengths) - long


def ran(made: LengthRule, frames: Tensor, mask: Tensor, **more: Any) -> tuple[Tensor, Plan]:
    """Frames through a rule with the identity in place of a layer."""
    plan = made.plan(mask, **more)
    return made.assemble(made.rows(frames, plan), frames, mask, plan), plan


# windows


@given(st.integers(0, 40), st.integers(0, 60), st.integers(1, 12))
@settings(deadline=None, max_examples=200)
def test_even_windows_cover_every_frame_in_order(start: int, count: int, parts: int) -> None:
    found = split_evenly(start, start + count, parts)
    end = start + max(count, 1)
    assert found.shape == (parts, 2)
    assert (found[:, 1] > found[:, 0]).all()
    assert found[0, 0] == start
    assert found[-1, 1] == end
    assert (np.diff(found, axis=0) >= 0).all()
    assert (found[1:, 0] <= found[:-1, 1]).all()
    assert set(range(start, end)) == {frame for a, b in found for frame in range(a, b)}
    sizes = found[:, 1] - found[:, 0]
    assert sizes.max() - sizes.min() <= 1 + (max(count, 1) % parts > 0)


@given(st.integers(1, 20), st.integers(1, 10))
@settings(deadline=None, max_examples=60)
def test_even_windows_that_divide_are_disjoint(width: int, parts: int) -> None:
    found = split_evenly(0, width * parts, parts)
    assert (found[1:, 0] == found[:-1, 1]).all()
    assert (found[:, 1] - found[:, 0] == width).all()


@given(st.integers(1, 40), st.integers(1, 9), st.sampled_from(["windows", "strided"]))
@settings(deadline=None, max_examples=200)
def test_slices_put_together_again_are_the_sequence(count: int, size: int, slicing: str) -> None:
    found, back = slices(count, size, slicing), places(count, size, slicing)
    assert found.shape == (-(-count // size), size)
    assert (found.ravel()[back] == np.arange(count)).all()
    assert len(set(back.tolist())) == count
    assert found.max() == count - 1


def test_strided_slices_are_those_of_the_thesis() -> None:
    found = slices(100, 25, "strided")  # 4 slices of 25 points, each 4 timesteps from the next
    assert found.shape == (4, 25)
    assert (np.diff(found, axis=1) == 4).all()
    assert found[:, 0].tolist() == [0, 1, 2, 3]
    assert slices(5, 3, "strided").tolist() == [[0, 2, 4], [1, 3, 4]]  # the last timestep stands in for a sixth
    assert slices(5, 3, "windows").tolist() == [[0, 1, 2], [3, 4, 4]]
    assert single_steps(3).tolist() == [[0, 1], [1, 2], [2, 3]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_pooling_is_the_plain_mean(dtype: torch.dtype) -> None:
    frames = normal(2, 9, 3).to(dtype)
    windows = torch.tensor([[[[0, 9], [2, 3]], [[4, 7], [5, 5]]]] * 2)
    found = pool_windows(frames, windows)
    assert found.dtype == dtype
    assert found.shape == (2, 2, 6)
    for i in range(2):
        wanted = [frames[i].double().mean(0), frames[i, 2].double(), frames[i, 4:7].double().mean(0), torch.zeros(3)]
        close = torch.cat(wanted).to(dtype)
        torch.testing.assert_close(found[i].flatten(), close, rtol=1e-6, atol=torch.finfo(dtype).eps)


def test_pooling_keeps_its_digits_on_long_audio() -> None:
    frames = 1000 + normal(1, 50_000, 1).float()
    found = pool_windows(frames, torch.tensor([[[[49_990, 50_000]]]]))
    torch.testing.assert_close(found[0, 0], frames[0, 49_990:].double().mean(0).float(), rtol=1e-7, atol=0)


def test_pooling_is_differentiable() -> None:
    frames = normal(1, 5, 2).requires_grad_()
    windows = torch.tensor([[[[0, 3]], [[2, 5]]]])
    assert torch.autograd.gradcheck(lambda x: pool_windows(x, windows), [frames])


# ctc


def test_words_of_a_path() -> None:
    #                         0123456789012345
    found = words_of(path("--aab--|?c-cc---"), ALPHABET)
    assert [word.text for word in found] == ["ab", "cc"]
    assert found == [Word("ab", 0, 7), Word("cc", 7, 15)]


@given(st.text(alphabet="-|?abc", max_size=30))
@settings(deadline=None, max_examples=200)
def test_words_are_parts_of_the_path_in_order(letters: str) -> None:
    found = words_of(path(letters) if letters else np.zeros(0, int), ALPHABET)
    for word in found:
        assert 0 <= word.start < word.end <= len(letters)
        assert word.text
    for before, after in itertools.pairwise(found):
        assert before.start < after.end
        assert before.end <= after.start + 1
    # what is heard is what CTC decoding gives: repeats collapse, blanks vanish
    collapsed = "".join(a for a, b in zip(letters, "-" + letters) if a != b)
    assert " ".join(word.text for word in found) == " ".join(
        collapsed.replace("-", "").replace("?", "").replace("|", " ").split()
    )


def test_silence_has_no_words() -> None:
    assert words_of(path("---|--||"), ALPHABET) == []
    assert words_of(np.zeros(0, int), ALPHABET) == []


def test_an_alphabet_survives_json() -> None:
    assert CtcAlphabet.from_dict(ALPHABET.to_dict()) == ALPHABET


def test_matching_words() -> None:
    assert match_words(["so", "good"], ["so", "good"]) == [(0, 0), (1, 1)]
    assert match_words(["so", "gud"], ["so", "very", "good"]) == [(0, 0), (1, 2)]
    assert match_words(["a", "xx", "film"], ["a", "film"]) == [(0, 0), (2, 1)]
    assert match_words(["xyz"], ["a"]) == []
    assert match_words([], ["a"]) == match_words(["a"], []) == []


@given(st.lists(st.sampled_from(["so", "good", "film", "it"]), max_size=6), st.data())
@settings(deadline=None, max_examples=60)
def test_matching_keeps_every_word_that_was_heard_right(true: list[str], data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.booleans(), min_size=len(true), max_size=len(true)))
    heard = [word for word, keep in zip(true, kept) if keep]
    found = match_words(heard, true)
    assert len(found) == len(heard)
    assert all(heard[i] == true[j] for i, j in found)
    assert found == sorted(found)
    assert len({j for _, j in found}) == len(found)


# trim, resample, pool


def test_trim_pairs_step_by_step() -> None:
    found = rule("trim").pairs(SampleShape(5, 3))
    assert found.source.tolist() == found.target.tolist() == [[[0, 1]], [[1, 2]], [[2, 3]]]
    assert found.position.tolist() == [0, 1, 2]


@pytest.mark.parametrize("length", ["trim", "resample"])
def test_strided_slices_pair_timesteps_of_the_same_places(length: str) -> None:
    found = rule(length, slice=2, slicing="strided").pairs(SampleShape(6, 6))
    steps = [[[0, 1], [3, 4]], [[1, 2], [4, 5]], [[2, 3], [5, 6]]]
    assert found.source.tolist() == found.target.tolist() == steps
    assert found.position.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("length", "rows"), [("trim", 2), ("resample", 3)])
def test_slices_join_consecutive_timesteps(length: str, rows: int) -> None:
    found = rule(length, slice=2).pairs(SampleShape(5, 7))
    assert found.source.shape == found.target.shape == (rows, 2, 2)
    assert found.target.tolist() == [[[2 * j, 2 * j + 1], [2 * j + 1, 2 * j + 2]] for j in range(rows)]
    assert found.position.tolist() == [2 * j for j in range(rows)]
    assert rule(length, slice=2).join == 2


def test_a_slice_longer_than_the_sample_gives_no_pair() -> None:
    assert len(rule("trim", slice=4).pairs(SampleShape(9, 3)).position) == 0


@given(st.integers(1, 12), st.integers(1, 12))
@settings(deadline=None, max_examples=60)
def test_resampling_uses_every_frame_and_fills_every_position(t: int, u: int) -> None:
    pairs = rule("resample").pairs(SampleShape(t, u))
    plan = rule("resample", "constant", constant=u).plan(masks([t]))
    assert pairs.source.tolist() == plan.windows[0].tolist() == split_evenly(0, t, u)[:, None].tolist()
    assert (plan.kind == MAPPED).all()
    assert plan.kind.shape == (1, u)


@pytest.mark.parametrize("state", [{}, {"slice": 2}, {"slice": 3, "slicing": "strided"}])
@pytest.mark.parametrize("length", ["trim", "resample"])
def test_the_same_length_is_the_identity(length: str, state: dict) -> None:
    frames = normal(2, 6, 3)
    out, plan = ran(rule(length, "constant", constant=6, **state), frames, masks([6, 6]))
    assert (plan.kind == MAPPED).all()
    assert torch.equal(out, frames)


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(["trim", "resample"]), st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_constants_stay_constant(t: int, u: int, length: str, size: int) -> None:
    slicing = "strided" if size > 1 else "windows"
    frames = torch.full((1, t, 2), 3.25, dtype=torch.float64)
    out, _ = ran(rule(length, "constant", constant=u, slice=size, slicing=slicing), frames, masks([t]))
    assert torch.equal(out, torch.full((1, u, 2), 3.25, dtype=torch.float64))


def test_parts_of_the_whole_and_of_spans() -> None:
    frames = normal(1, 7, 2)
    pooled = rule("pool", parts=3)
    plan = pooled.plan(masks([7]))
    assert (pooled.join, plan.kind.tolist()) == (3, [[MAPPED]])
    wanted = torch.cat([frames[0, a:b].mean(0) for a, b in split_evenly(0, 7, 3)])
    torch.testing.assert_close(pooled.rows(frames, plan)[0, 0], wanted)
    spoken = rule("spans", parts=2)
    spans = torch.tensor([[[0, 4], [-1, 9], [4, 5]]])
    plan = spoken.plan(masks([7]), spans=spans)
    assert plan.windows.tolist() == [[[[0, 2], [2, 4]], [[4, 5], [4, 5]]]]
    assert spoken.pairs(SampleShape(7, 3, spans=spans[0].numpy())).source.tolist() == plan.windows[0].tolist()


def test_pool_is_one_position() -> None:
    frames = normal(2, 6, 3)
    mask = masks([6, 4])
    out, plan = ran(rule("pool"), frames, mask)
    assert out.shape == (2, 1, 3)
    assert plan.mask.all()
    torch.testing.assert_close(out[:, 0], masked_mean(frames, mask))
    torch.testing.assert_close(out[1, 0], frames[1, :4].mean(0))
    assert rule("pool").pairs(SampleShape(6, 4)).target.tolist() == [[[0, 4]]]


def test_trim_past_the_sources_end_is_filled_with_the_mean() -> None:
    frames = normal(1, 3, 2)
    out, plan = ran(rule("trim", "constant", constant=5), frames, masks([3]))
    assert plan.kind.tolist() == [[MAPPED] * 3 + [MEAN] * 2]
    assert torch.equal(out[0, :3], frames[0])
    torch.testing.assert_close(out[0, 3:], frames[0].mean(0).expand(2, 2))


@pytest.mark.parametrize("length", ["trim", "resample"])
def test_the_target_length_comes_from_where_the_recipe_says(length: str) -> None:
    mask = masks([8, 4])

    def lengths(made: LengthRule, **more: Any) -> list[int]:
        return made.plan(mask, **more).mask.sum(1).tolist()

    assert lengths(rule(length, "ratio", ratio=0.5)) == [4, 2]
    assert lengths(rule(length, "ratio", ratio=0.01)) == [1, 1]
    assert lengths(rule(length, "constant", constant=3)) == [3, 3]
    assert lengths(rule(length, "oracle"), target_lengths=torch.tensor([2, 5])) == [2, 5]
    assert lengths(rule(length, "oracle"), target_lengths=[1, 6]) == [1, 6]
    with pytest.raises(ActivationError, match="oracle needs `target_lengths`; use ratio"):
        rule(length, "oracle").plan(mask)
    with pytest.raises(ActivationError, match="predicted needs a fitted predictor; got none"):
        rule(length, "predicted").plan(mask)


def predicted(lengths: Tensor, pooled: Tensor, wanted: Tensor) -> LengthRule:
    return rule("resample", "predicted").with_predictor(LengthPredictor.fit(lengths, pooled, wanted))


@pytest.mark.parametrize("features", [2, 60])
def test_a_length_that_the_source_tells_is_predicted(features: int) -> None:
    lengths, pooled = torch.arange(20, 80), normal(60, features, seed=5)
    wanted = (3 + 0.5 * lengths + 4 * pooled[:, 0]).round().long()
    made = predicted(lengths[:48], pooled[:48], wanted[:48])
    assert made.predictor is not None
    spec = made.predictor.spec
    found = torch.tensor(made.predictor(lengths, pooled))
    if features == 2:
        assert spec["error"] < 0.5  # rounding alone
        assert (found - wanted).abs().max() <= 1
    assert spec["error"] < spec["error_of_ratio"]
    by_ratio = (spec["ratio"] * lengths).round()
    assert (found - wanted)[48:].abs().sum() < (by_ratio - wanted)[48:].abs().sum()


def test_where_all_are_of_one_length_so_is_the_prediction() -> None:
    made = predicted(torch.full((6,), 9), normal(6, 3), torch.full((6,), 4))
    assert made.predictor is not None
    assert made.predictor(torch.tensor([9]), normal(1, 3, seed=1)) == [4]


def test_a_predicted_length_stays_within_reach_of_the_fit() -> None:
    made = predicted(torch.arange(20, 50), normal(30, 2), torch.arange(20, 50) // 2)
    far = normal(1, 2) + 1e6
    assert made.predictor is not None
    assert 5 <= made.predictor(torch.tensor([30]), far)[0] <= 48
    assert 5 <= made.predictor(torch.tensor([30]), -far)[0] <= 48
    assert made.predictor(torch.tensor([300]), far * 0)[0] == pytest.approx(150, abs=2)


def test_a_predictor_survives_saving_and_low_precision() -> None:
    made = predicted(torch.arange(20, 50), normal(30, 2), torch.arange(20, 50) // 2)
    again = LengthRule.from_spec(json.loads(json.dumps(made.spec())))
    again.load_state_dict(made.state_dict())
    frames, mask = normal(2, 40, 2), masks([40, 25])
    plans = [one.plan(mask, frames=frames) for one in (made, again, again.to(torch.bfloat16))]
    assert plans[0].mask.sum(1).tolist() == [20, 12]
    assert all(torch.equal(plan.windows, plans[0].windows) for plan in plans)
    with pytest.raises(ActivationError, match="predicted needs the source's `frames`; got none"):
        made.plan(mask)


@pytest.mark.parametrize("length", ["trim", "resample"])
@pytest.mark.parametrize("slicing", ["windows", "strided"])
@pytest.mark.parametrize("t", [1, 4, 5])
def test_slices_are_taken_apart_again(length: str, t: int, slicing: str) -> None:
    frames = normal(1, t, 2)
    out, plan = ran(rule(length, "constant", constant=5, slice=2, slicing=slicing), frames, masks([t]))
    plain, same = ran(rule(length, "constant", constant=5), frames, masks([t]))
    assert torch.equal(plan.kind, same.kind)
    torch.testing.assert_close(out, plain)


# ctc and spans


def heard(letters: list[str], side: str) -> tuple[Tensor, Tensor]:
    mask = masks([len(row) for row in letters], side)
    found = torch.zeros(mask.shape, dtype=torch.int64)
    for i, row in enumerate(letters):
        found[i, mask[i]] = torch.from_numpy(path(row))
    return found, mask


def special(ids: list[int], width: int = 2, features: int = 2) -> SpecialTokens:
    values = torch.stack([torch.full((1, width), float(token)) for token in ids], 1)
    return SpecialTokens.fit(ids, values, torch.zeros(1, features))


def test_ctc_pairs_words_with_their_tokens() -> None:
    tokens = [[1], [2, 3], [], [5]]
    sample = SampleShape(15, 7, path("-aa-|bb-b|-|ccc"), words=("a", "bb", "b", "ccc"), word_tokens=tokens)
    found = rule("ctc", parts=3).pairs(sample)
    assert found.source.shape == (2, 3, 2)
    assert found.target.tolist() == [[[1, 2]], [[2, 4]]]
    assert found.position.tolist() == [1, 2]
    assert found.dropped == 2
    assert rule("ctc", parts=3).join == 3


def test_ctc_without_a_word_in_common_gives_no_pair_of_the_right_shape() -> None:
    found = rule("ctc", parts=2).pairs(SampleShape(3, 4, path("-a-"), words=("ccc",), word_tokens=[[1]]))
    assert found.source.shape == (0, 2, 2)
    assert found.target.shape == (0, 1, 2)
    assert found.dropped == 1


@pytest.mark.parametrize("padding", ["left", "right"])
def test_ctc_places_words_between_special_tokens(padding: str) -> None:
    paths, mask = heard(["aa|bb", "-c-"], "right")
    made = rule("ctc", before=[1], after=[2, 3], padding_side=padding).with_special(special([1, 2, 3]))
    frames = normal(2, 5, 2)
    out, plan = ran(made, frames, mask, path=paths)
    words = [SPECIAL, MAPPED, MAPPED, SPECIAL, SPECIAL]
    short = [SPECIAL, MAPPED, SPECIAL, SPECIAL]
    assert plan.kind.tolist() == [words, [PADDING, *short] if padding == "left" else [*short, PADDING]]
    torch.testing.assert_close(out[0, 0], torch.ones(2, dtype=out.dtype))
    torch.testing.assert_close(out[0, 3:].mean(1).tolist(), [2.0, 3.0])
    bounds = words_of(path("aa|bb"), ALPHABET)[0]
    torch.testing.assert_close(out[0, 1], frames[0, bounds.start : bounds.end].mean(0))
    assert torch.equal(out[~plan.mask], torch.zeros(1, 2, dtype=out.dtype))


def test_ctc_that_heard_nothing_still_answers() -> None:
    paths, mask = heard(["--|-", "a"], "right")
    frames = normal(2, 4, 2)
    out, plan = ran(rule("ctc", parts=2), frames, mask, path=paths)
    assert plan.kind.tolist() == [[MAPPED], [MAPPED]]  # one position of silence, since there are no special tokens
    made = rule("ctc", before=[1], after=[2]).with_special(special([1, 2]))
    nothing, mask = heard(["--", "|-"], "right")
    out, plan = ran(made, frames[:, :2], mask, path=nothing)
    assert plan.kind.tolist() == [[SPECIAL, SPECIAL]] * 2
    torch.testing.assert_close(out[:, :, 0].tolist(), [[1.0, 2.0]] * 2)
    with pytest.raises(ActivationError, match="ctc needs the CTC head's output; got none"):
        rule("ctc").plan(mask)


SPANS = torch.tensor([[[-1, 1], [0, 2], [2, 3], [1, 1], [-1, 2]], [[-2, -2], [0, 0], [-1, 1], [0, 1], [-1, 2]]])


def test_spans_place_tokens_where_the_target_has_them() -> None:
    frames, mask = normal(2, 3, 2), masks([3, 1])
    made = rule("spans", padding_side="left").with_special(special([1, 2]))
    out, plan = ran(made, frames, mask, spans=SPANS)
    assert plan.kind.tolist() == [
        [SPECIAL, MAPPED, MAPPED, MEAN, SPECIAL],
        [PADDING, PADDING, SPECIAL, MAPPED, SPECIAL],
    ]
    torch.testing.assert_close(out[0, 1], frames[0, :2].mean(0))
    torch.testing.assert_close(out[0, 2], frames[0, 2])
    torch.testing.assert_close(out[0, 3], (frames[0, :2].mean(0) + frames[0, 2]) / 2)
    torch.testing.assert_close(out[1, 3], frames[1, 0])
    torch.testing.assert_close(out[1, 4], torch.full((2,), 2.0, dtype=out.dtype))
    with pytest.raises(ActivationError, match=r"spans needs `target_spans` from the processor.*got none"):
        made.plan(mask)


def test_spans_pair_the_tokens_that_are_words() -> None:
    found = rule("spans").pairs(SampleShape(3, 5, spans=SPANS[0].numpy()))
    assert found.source.tolist() == [[[0, 2]], [[2, 3]]]
    assert found.target.tolist() == [[[1, 2]], [[2, 3]]]
    assert found.position.tolist() == [1, 2]
    with pytest.raises(ActivationError, match="spans needs"):
        rule("spans").pairs(SampleShape(3, 5))


# laws of all rules

TABLE = [
    ("trim", {}),
    ("trim", {"slice": 2}),
    ("trim", {"target_length": "constant", "constant": 6}),
    ("trim", {"target_length": "constant", "constant": 6, "slice": 3}),
    ("trim", {"ratio": 1.0, "slice": 2, "slicing": "strided"}),
    ("resample", {"ratio": 0.6}),
    ("resample", {"ratio": 1.7, "slice": 2}),
    ("resample", {"ratio": 1.7, "slice": 3, "slicing": "strided"}),
    ("resample", {"target_length": "predicted"}),
    ("pool", {}),
    ("pool", {"parts": 2}),
    ("ctc", {"parts": 2}),
    ("ctc", {"before": [1], "after": [2]}),
    ("ctc", {"unit": "character", "blanks": True}),
    ("ctc", {"unit": "character", "before": [1, 2], "parts": 2}),
    ("ctc", {"unit": "token", "tokens_per_character": 0.6, "parts": 2}),
    ("ctc", {"unit": "token", "tokens_per_character": 0.6, "pieces": {"bc": [1, 1]}, "after": [2]}),
    ("spans", {}),
    ("spans", {"parts": 2}),
    ("spans", {"stride": 20.0}),
]
TEXTS = ["aa|bb-c|c", "-c-", "ab|"]
TEXT_SPANS = [
    np.array([(-1, 1), (0, 2), (2, 6), (4, 4), (7, 9), (-1, 2)]),  # a token without source, as an added word has
    np.array([(-1, 1), (0, 3), (-1, 2)]),
    np.array([(-1, 1), (0, 1), (1, 3), (-1, 2)]),
]
SIDES = [
    pytest.param(length, state, side, id=f"{length}-{state}-{side}")
    for length, state in TABLE
    for side in ("left", "right")
    if side == "right" or "stride" not in state  # sounds, which have times, are padded on the right
]


def test_every_rule_is_in_the_table_of_laws() -> None:
    assert len(RULES) == 5
    assert {length for length, _ in TABLE} == set(RULES)
    files = {file.stem for file in Path(lengths.__path__[0]).glob("*.py")}
    assert {file for file in files if hasattr(import_module(f"{lengths.__name__}.{file}"), "RULE")} == set(RULES)


@pytest.mark.parametrize("length", RULES)
def test_a_recipe_takes_what_the_facts_of_a_rule_say(length: str) -> None:
    facts = RULES[length]
    assert Lengths(length=length).default_length() == (facts.target_lengths or (length,))[0]
    for known in facts.target_lengths:
        assert Lengths(length=length, target_length=known).default_length() == known
    assert set(facts.options) <= set(Lengths.model_fields)
    assert facts_of({"length": length}) is facts
    assert facts_of({}) is RULES["trim"]
    assert not facts_of({"length": "of a later version"}).needs_target_texts


OPTIONS = {"slice": 2, "slicing": "strided", "parts": 2, "unit": "token", "align": "forced"}


@pytest.mark.parametrize("length", RULES)
def test_a_recipe_refuses_options_of_other_rules_and_names_those(length: str) -> None:
    for key in {key for rule in RULES.values() for key in rule.options}:
        content = {"length": length, key: OPTIONS[key]} | ({"slice": 2} if key == "slicing" else {})
        takers = [name for name, rule in RULES.items() if key in rule.options]
        assert RULES[length].takes(key, OPTIONS[key]) == (length in takers)
        if length in takers:
            assert getattr(Lengths.model_validate(content), key) == OPTIONS[key]
            continue
        with pytest.raises(ValidationError, match=f"needs length {' or '.join(takers)}; got {length}"):
            Lengths.model_validate(content)


def made_of(length: str, state: dict, padding_side: str = "right") -> LengthRule:
    made = rule(length, **state, padding_side=padding_side)
    if made.rule.special_tokens:
        return made.with_special(special([1, 2], width=3))
    if state.get("target_length") == "predicted":
        lengths, pooled = torch.arange(1, 13), normal(12, 2, seed=4)
        return made.with_predictor(LengthPredictor.fit(lengths, pooled, lengths + pooled[:, 0].exp().round().long()))
    return made


def spans_of(made: LengthRule, i: int) -> np.ndarray:
    """(t', 2) spans of text i, in what the rule counts."""
    spans, unit = TEXT_SPANS[i], int(made.rule.state.stride) if made.needs_times else 1
    return np.where(spans[:, :1] < 0, spans, unit * spans)


def told(made: LengthRule, texts: list[int], source_side: str, target_side: str = "right") -> tuple[Tensor, dict]:
    """The mask of a batch of texts, and what a rule is told of it beside the activations."""
    paths, mask = heard([TEXTS[i] for i in texts], source_side)
    more: dict[str, Tensor] = {"path": paths} if made.facts.needs_ctc_head else {}
    if made.facts.needs_target_spans:
        found = [spans_of(made, i) for i in texts]
        spans = torch.full((len(texts), max(map(len, found)), 2), -2)
        for i, own in enumerate(found):
            spans[i, masks([*map(len, found)], target_side)[i]] = torch.from_numpy(own)
        more["spans"] = spans
    return mask, more


def in_the_fit(made: LengthRule, i: int, target_length: int) -> SampleShape:
    """What the rule is told of text i in the fit, where the target says what was heard."""
    shape = SampleShape(len(TEXTS[i]), target_length)
    if made.facts.needs_target_spans:
        return dataclasses.replace(shape, spans=spans_of(made, i))
    if not made.facts.needs_ctc_head:
        return shape
    state, letters = made.rule.state, path(TEXTS[i])
    words, tokens, cuts, blanks, place = [], [], [], [], len(state.before)
    for word in (word.text for word in words_of(letters, ALPHABET)):
        sizes = {"word": [len(word)], "character": [1] * len(word)}.get(state.unit)
        ends = list(itertools.accumulate(sizes or (state.pieces or {}).get(word, [len(word)])))
        words.append(word)
        cuts.append(list(zip([0, *ends], ends)))
        tokens.append(list(range(place, place + len(ends))))
        place += len(ends) + state.blanks
        blanks.append(place - 1 if state.blanks else None)
    blanks = blanks[:-1]
    return dataclasses.replace(shape, path=letters, words=words, word_tokens=tokens, word_cuts=cuts, blanks=blanks)


def layered(made: LengthRule, frames: Tensor, mask: Tensor, weight: Tensor, **more: Any) -> tuple[Tensor, Plan]:
    plan = made.plan(mask, frames=frames, **more)
    return made.assemble(made.rows(frames, plan) @ weight, frames, mask, plan), plan


@pytest.mark.parametrize("target_side", ["left", "right"])
@pytest.mark.parametrize(("length", "state", "source_side"), SIDES)
def test_a_padded_batch_is_what_its_samples_are_alone(
    length: str, state: dict, source_side: str, target_side: str
) -> None:
    made = made_of(length, state, target_side)
    mask, more = told(made, [0, 1, 2], source_side, target_side)
    weight = normal(2 * made.join, 3 * made.steps, seed=3)
    frames = torch.where(mask[..., None], normal(*mask.shape, 2), 7.0)
    out, plan = layered(made, frames, mask, weight, **more)
    assert torch.equal(plan.mask, masks(plan.mask.sum(1).tolist(), target_side))
    assert not out[~plan.mask].any()
    for i in range(len(TEXTS)):
        own, more = told(made, [i], source_side, target_side)
        alone, one = layered(made, frames[i : i + 1, mask[i]], own, weight, **more)
        assert one.mask.all()
        torch.testing.assert_close(out[i, plan.mask[i]], alone[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("length", "state", "source_side"), SIDES)
def test_positions_are_made_of_timesteps_of_their_own_sample(length: str, state: dict, source_side: str) -> None:
    made = made_of(length, state)
    mask, more = told(made, [0, 1, 2], source_side)
    plan = made.plan(mask, frames=normal(*mask.shape, 2), **more)
    for i, own in enumerate(mask):
        windows, (first, *_, last) = plan.windows[i, plan.used[i]], own.nonzero()[:, 0].tolist()
        assert (first <= windows[..., 0]).all()
        assert (windows[..., 0] < windows[..., 1]).all()
        assert (windows[..., 1] <= last + 1).all()
        mapped = plan.row[i, plan.kind[i] == MAPPED]
        assert plan.used[i, mapped // made.steps].all()
        assert len(mapped) > 0
        assert set(plan.row[i, plan.kind[i] == SPECIAL].tolist()) <= {1, 2}


@pytest.mark.parametrize("i", range(len(TEXTS)))
@pytest.mark.parametrize(("length", "state"), TABLE)
def test_what_is_fitted_is_what_runs(length: str, state: dict, i: int) -> None:
    """Where the fit and the run know the same of a sample, a position is made of the same timesteps in both."""
    made = made_of(length, state)
    mask, more = told(made, [i], "right")
    plan = made.plan(mask, frames=normal(*mask.shape, 2), **more)
    count = int(plan.mask.sum())
    fitted = made.pairs(in_the_fit(made, i, count))
    places, mapped = fitted.position.tolist(), (plan.kind[0] == MAPPED).nonzero()[:, 0].tolist()
    assert (plan.row[0, places] % made.steps == 0).all()
    assert fitted.source.tolist() == plan.windows[0, plan.row[0, places] // made.steps].tolist()
    assert fitted.target.shape[1] == made.steps
    assert fitted.target[:, 0, 0].tolist() == places
    assert ((fitted.target >= 0) & (fitted.target <= count)).all()
    assert fitted.dropped == 0
    if made.steps == 1:
        assert places == mapped
    else:  # a slice that is not full, or that the target does not reach, is no row of the fit
        assert set(places) <= set(mapped)
        assert len(places) >= len(mapped) // made.steps


@pytest.mark.parametrize(("length", "state"), TABLE)
def test_rules_are_differentiable(length: str, state: dict) -> None:
    made = made_of(length, state)
    mask, more = told(made, [0, 1], "right")
    weight = normal(2 * made.join, 3 * made.steps, seed=3)
    frames = normal(*mask.shape, 2).requires_grad_()
    layered(made, frames, mask, weight, **more)[0].square().sum().backward()
    assert frames.grad is not None
    assert frames.grad[mask].isfinite().all()
    assert frames.grad.any()
    assert not frames.grad[~mask].any()


@pytest.mark.parametrize(("length", "state"), TABLE)
def test_a_rule_survives_its_spec(length: str, state: dict) -> None:
    made = made_of(length, state)
    again = LengthRule.from_spec(json.loads(json.dumps(made.spec())))
    again.load_state_dict(made.state_dict())
    assert again.state == made.state
    mask, more = told(made, [0, 1, 2], "right")
    frames, weight = normal(*mask.shape, 2), normal(2 * made.join, 3 * made.steps, seed=3)
    assert torch.equal(*(layered(one, frames, mask, weight, **more)[0] for one in (again, made)))


@pytest.mark.parametrize(("length", "state"), TABLE)
def test_typical_inputs_give_a_rule_positions(length: str, state: dict) -> None:
    made = made_of(length, state)
    noise = torch.full((1, 48), BLANK) if made.facts.needs_ctc_head else None  # of which 16 each are a word
    letters, spans = made.rule.typical(48, noise, torch.device("cpu"))
    plan = made.plan(masks([48]), letters, spans, frames=normal(1, 48, 2))
    least = 48 if length == "spans" and not made.needs_times else 3 if made.facts.needs_target_texts else 1
    assert int((plan.kind == MAPPED).sum()) >= least


FIRST_FORM: dict[str, Any] = {
    "slice": 1, "slicing": "windows", "parts": 1, "stride": 0.0, "ratio": 1.0, "constant": 1, "before": [], "after": [],
    "padding_side": "right", "alphabet": None, "unit": "word", "blanks": False, "pieces": None,
    "tokens_per_character": 0.0, "special": None, "predictor": None,
}  # fmt: skip
"""Fields of the first saved form, which held all of them whatever the rule, with what stood in them by default."""
SPECIAL_SPEC = {"ids": [1, 2], "width": 3, "features": 2, "varies": False}
LETTERS_SPEC = {"blank": BLANK, "delimiter": DELIMITER, "symbols": {"5": "a", "6": "b", "7": "c"}}
SAVED = {
    "trim": {"target_length": "ratio", "ratio": 0.75, "constant": 4, "slice": 2, "slicing": "strided"},
    "resample": {
        "target_length": "predicted", "ratio": 1.25, "constant": 6,
        "predictor": {"features": 2, "ratio": 1.25, "shortest": 2, "longest": 9, "error": 0.5, "error_of_ratio": 0.75},
    },
    "pool": {"target_length": "pool", "parts": 3, "ratio": 0.5, "constant": 2},
    "ctc": {
        "target_length": "ctc", "parts": 2, "ratio": 0.5, "constant": 2, "before": [1], "after": [2], "unit": "token",
        "padding_side": "left", "alphabet": LETTERS_SPEC, "pieces": {"bc": [1, 1]}, "tokens_per_character": 0.6,
        "special": SPECIAL_SPEC,
    },
    "spans": {
        "target_length": "spans", "parts": 2, "stride": 20.0, "ratio": 0.5, "constant": 2, "padding_side": "left",
        "special": SPECIAL_SPEC,
    },
}  # fmt: skip


SAVED_KINDS = {
    "trim": [[1, 1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]],
    "resample": [[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]],
    "pool": [[1], [1], [1]],
    "ctc": [[3, 1, 1, 1, 1, 3], [0, 0, 0, 3, 1, 3], [0, 0, 0, 3, 1, 3]],
    "spans": [[3, 1, 1, 2, 1, 3], [0, 0, 0, 3, 1, 3], [0, 0, 3, 1, 1, 3]],
}
"""What the version that saved the first form made of these rules and the three texts; windows are of the first."""
SAVED_WINDOWS = {
    "trim": [[[0, 1], [4, 5]], [[1, 2], [5, 6]], [[2, 3], [6, 7]], [[3, 4], [6, 7]]],
    "resample": [[[0, 2]], [[1, 3]], [[3, 5]], [[4, 6]], [[6, 8]], [[7, 9]]],
    "pool": [[[0, 3], [3, 6], [6, 9]]],
    "ctc": [[[0, 1], [1, 2]], [[2, 4], [3, 5]], [[5, 6], [6, 7]], [[7, 8], [8, 9]]],
    "spans": [[[0, 1], [1, 2]], [[2, 4], [4, 6]], [[7, 8], [8, 9]]],
}


@pytest.mark.parametrize("length", SAVED)
def test_a_rule_saved_in_the_first_form_still_loads(length: str) -> None:
    spec = {"length": length, **FIRST_FORM, **SAVED[length]}
    assert len(spec) == 18
    found = LengthRule.from_spec(json.loads(json.dumps(spec)))
    kept = json.loads(json.dumps(found.spec()))
    assert kept.items() <= json.loads(json.dumps(spec)).items()
    unused = {"ratio", "constant"} if not found.facts.target_lengths or length == "ctc" else set()
    assert kept.keys() >= {"length", *SAVED[length]} - unused
    if found.predictor is not None:
        found.predictor.line.copy_(torch.tensor([1.0, 0.5]))
    if found.special is not None:
        found.special.constant.copy_(torch.eye(2, 3))
    mask, more = told(found, [0, 1, 2], "right", found.state.padding_side)
    plan = found.plan(mask, frames=normal(*mask.shape, 2), **more)
    assert plan.kind.tolist() == SAVED_KINDS[length]
    assert plan.windows[0].tolist() == SAVED_WINDOWS[length]


def test_a_spec_of_no_known_rule_is_refused() -> None:
    with pytest.raises(ArtifactError, match="unknown length rule 'resampl'; did you mean 'resample'"):
        LengthRule.from_spec({"length": "resampl", "target_length": "ratio"})
    with pytest.raises(TypeError, match="unheard_of"):
        LengthRule.from_spec({"length": "trim", "target_length": "ratio", "unheard_of": 1})


def test_masked_mean_does_not_look_at_padding() -> None:
    frames = normal(2, 3, 2)
    mask = masks([3, 1], "left")
    frames[~mask] = float("nan")
    found = masked_mean(frames, mask)
    torch.testing.assert_close(found, torch.stack([frames[0].mean(0), frames[1, 2]]))


# special tokens


def test_special_tokens_that_do_not_vary_are_constants() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(6, 2, 2)
    found = SpecialTokens.fit([7, 9], values, normal(6, 3))
    assert found.slope is None
    assert found(torch.tensor([9, 7]), torch.zeros(2, 3)).tolist() == [[3.0, 4.0], [1.0, 2.0]]


def test_special_tokens_follow_the_pooled_source_where_they_vary() -> None:
    pooled = normal(400, 3).float()
    weight = normal(3, 2, seed=5).float()
    values = torch.stack([pooled @ weight + 1, torch.full((400, 2), 4.0)], 1)
    found = SpecialTokens.fit([7, 9], values, pooled)
    first, second = found(torch.tensor([7]), pooled[:1]), found(torch.tensor([9]), pooled[:1])
    torch.testing.assert_close(first - 1, (values[:1, 0] - 1) / 1.1, rtol=0, atol=0.1)  # a ridge of a tenth
    torch.testing.assert_close(second, torch.full((1, 2), 4.0), rtol=0, atol=1e-4)
    assert found.slope is not None
    assert not found.slope.requires_grad
    again = SpecialTokens(found.spec)
    again.load_state_dict(found.state_dict())
    assert torch.equal(again(torch.tensor([7]), pooled[:1]), first)


def test_one_sample_gives_constants() -> None:
    assert SpecialTokens.fit([7], normal(1, 1, 2), normal(1, 3)).slope is None


def test_a_special_token_that_never_occurred_is_named() -> None:
    with pytest.raises(ActivationError, match=r"special tokens \[8\] never occurred in the fit; known: \[7, 9\]"):
        special([7, 9])(torch.tensor([8, 7]), torch.zeros(2, 2))


# ctc: characters and tokens


def test_characters_share_out_the_frames_of_their_word() -> None:
    #                          01234567890123456789
    first, second = words_of(path("-aa-b--|--c-c---"), ALPHABET)
    assert (first.text, first.start, first.end) == ("ab", 0, 7)
    assert [first.within(k, k + 1) for k in range(2)] == [(0, 3), (3, 7)]
    assert first.within(0, 2) == (0, 7)
    assert [second.within(k, k + 1) for k in range(2)] == [(7, 11), (11, 15)]
    assert first.until(second) == (5, 10)


@given(st.text(alphabet="-|?abc", min_size=1, max_size=30))
@settings(deadline=None, max_examples=150)
def test_characters_are_parts_of_their_word_in_order(letters: str) -> None:
    for word in words_of(path(letters), ALPHABET):
        found = [word.within(k, k + 1) for k in range(len(word.text))]
        assert (found[0][0], found[-1][1]) == (word.start, word.end)
        assert all(a < b for a, b in found)
        assert all(before[1] == after[0] for before, after in itertools.pairwise(found))
        assert word.within(0, len(word.text)) == (word.start, word.end)
        for (symbol, first, last), (a, b) in zip(word.runs, found):
            assert a <= first <= last < b
            assert symbol


HALVES = {"words": ("ab", "cc"), "word_tokens": [[1, 2], [4, 5]], "word_cuts": [[(0, 1), (1, 2)]] * 2, "blanks": [3]}
HEARD = "aab--|--c-c-"


def test_ctc_pairs_characters_and_the_blank_between_words() -> None:
    made = rule("ctc", unit="character", blanks=True, parts=2)
    found = made.pairs(SampleShape(12, 7, path(HEARD), **HALVES))
    assert found.position.tolist() == [1, 2, 3, 4, 5]
    assert found.target[:, 0].tolist() == [[k, k + 1] for k in range(1, 6)]
    ends = found.source[:, [0, -1], [0, 1]].tolist()
    assert ends == [[0, 2], [2, 5], [3, 8], [5, 9], [9, 12]]
    plan = made.rule.positions(SampleShape(12, 0, path(HEARD)))
    assert plan.windows.tolist() == found.source.tolist()
    without = rule("ctc", unit="character").rule.positions(SampleShape(12, 0, path(HEARD)))
    assert without.windows[:, 0].tolist() == found.source[[0, 1, 3, 4]][:, [0, -1], [0, 1]].tolist()


def test_a_misheard_character_gives_no_pair() -> None:
    found = rule("ctc", unit="character").pairs(
        SampleShape(3, 4, path("acb"), words=("abb",), word_tokens=[[1, 2, 3]], word_cuts=[[(0, 1), (1, 2), (2, 3)]])
    )
    assert found.position.tolist() == [1, 3]
    assert found.dropped == 0


def test_ctc_pairs_the_tokens_of_a_word() -> None:
    pieces, rate = learn_pieces([["aabb", "c"], ["aabb", "c!"]], [[[(0, 1), (1, 4)], [(0, 1)]]] * 2)
    assert pieces == {"aabb": [1, 3], "c": [1]}
    assert rate == pytest.approx(5 / 9)
    made = rule("ctc", unit="token", pieces=pieces, tokens_per_character=rate)
    sample = SampleShape(13, 5, path("-a-abb-b-|-c-"), words=("aabb", "c"), word_tokens=[[1, 2], [3]])
    sample = dataclasses.replace(sample, word_cuts=[[(0, 1), (1, 4)], [(0, 1)]])
    found = made.pairs(sample)
    assert found.position.tolist() == [1, 2, 3]
    assert found.source[:, 0].tolist() == [[0, 2], [2, 9], [9, 13]]
    assert made.rule.positions(sample).windows.tolist() == found.source.tolist()


def test_a_word_that_the_fit_never_had_is_cut_evenly() -> None:
    made = rule("ctc", unit="token", pieces={"ab": [1, 1]}, tokens_per_character=0.5)
    assert made.rule.positions(SampleShape(8, 0, path("a-b-c-a-"))).windows[:, 0].tolist() == [[0, 3], [3, 8]]
    assert made.rule.positions(SampleShape(4, 0, path("a-b-"))).windows[:, 0].tolist() == [[0, 1], [1, 4]]
    assert len(made.rule.positions(SampleShape(1, 0, path("a"))).windows) == 1


def test_capitals_match_words_in_small_letters() -> None:
    assert match_words(["SO", "GOOD"], ["so", "good"]) == [(0, 0), (1, 1)]
