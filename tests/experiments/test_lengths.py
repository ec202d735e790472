"""Length rules from recipe to exported model: what was saved answers as what was fitted, and a batch as its samples."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pico_recipes import correspondence, listening, observations, reading
from pico_speech import FRAMES, RATE, STEP, say, sentences
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel, WordPiece
from tokenizers.pre_tokenizers import Split, Whitespace
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hf_stitch.activations.ctc import words_of
from hf_stitch.errors import ActivationError, ArtifactError, DataError, RecipeError
from hf_stitch.experiments.evaluate import evaluate
from hf_stitch.experiments.fit import fit
from hf_stitch.hooks.points import HookPoint
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.token_offsets import Said
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.predictor import Predictor
from hf_stitch.recipe.overrides import merge
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import Side
from hf_stitch.stitching.correspondence import Correspondence
from hf_stitch.stitching.lengths.spans import samples_per_frame

SPOKEN = ("a so not it", "not it", "it i a so not i")
WRITTEN = ("the film was very good", "so bad", "i never like this boring play")


def answers(model: StitchedModel, preparer: Preparer, raws: list[Any], **more: Any) -> Tensor:
    with torch.no_grad():
        return model(**preparer.batch(raws), **more).logits


def stitched(model: StitchedModel, preparer: Preparer, raws: list[Any], said: list[Said] | None = None) -> list[Tensor]:
    """Target activations (t', m') of each input."""
    inputs = preparer.batch(raws, said)
    spans = inputs.pop("target_spans", None)
    with torch.no_grad():
        frames, mask, path = model.activations(inputs)
        plan = model.plan(mask, path, spans, None, frames)
        return [one[own] for one, own in zip(model.stitch(frames, mask, plan), plan.mask)]


def exported(content: dict, folder: Path) -> tuple[StitchedModel, Preparer]:
    """The model that was saved; it answers bit for bit as the one that was fitted."""
    fitted, report = fit(Recipe.parse(content), folder, device="cpu")
    if fitted.rule.predictor is not None:
        told = report.diagnostics.fits["affine"]["target_length"]
        assert told == fitted.rule.predictor.spec
        assert 0 <= told["error"] <= 1.5 * told["error_of_ratio"]
    saved = StitchedModel.from_pretrained(folder).eval()
    preparer = Preparer.load(folder, saved.config)
    texts = preparer.modality == "text"
    raws = list(WRITTEN) if texts else [say(text) for text in SPOKEN]
    assert torch.equal(answers(saved, preparer, raws), answers(fitted, preparer, raws))
    together, alone = stitched(saved, preparer, raws), [stitched(saved, preparer, [raw])[0] for raw in raws]
    for one, other in zip(together, alone):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    means = torch.stack([one.mean(0) for one in together])
    assert means.std(0).max() > 1e-3, "all inputs got one activation"
    return saved, preparer


HEARD = [
    {"length": "trim", "slice": 2, "slicing": "strided"},
    {"length": "resample", "target_length": "predicted", "slice": 3, "slicing": "strided"},
    {"length": "pool", "parts": 3},
]


@pytest.mark.parametrize("sequence", HEARD, ids=lambda one: "-".join(map(str, one.values())))
def test_a_saved_rule_answers_as_the_fitted_one(
    pico_listener: Path, pico_xlnet: Path, spoken: Path, tmp_path: Path, sequence: dict
) -> None:
    content = {**listening(pico_listener, pico_xlnet, spoken), "sequence": sequence}
    model, _ = exported(content, tmp_path / "out")
    assert model.layer.features_in == 16 * sequence.get("slice", 1) * sequence.get("parts", 1)
    assert model.layer.features_out == 16 * sequence.get("slice", 1)
    assert (model.rule.predictor is not None) == (sequence.get("target_length") == "predicted")


def with_tokenizer(folder: Path, out: Path, unit: str) -> Path:
    """The pico XLNet with another tokenizer: a token for each character, or two for the word `not`."""
    model = shutil.copytree(folder, out)
    own = AutoTokenizer.from_pretrained(folder)
    frame = ["<unk>", "<pad>", "<sep>", "<cls>"]
    if unit == "character":
        backend = Tokenizer(WordLevel({piece: i for i, piece in enumerate([*frame, *"ainost "])}, "<unk>"))
        backend.pre_tokenizer = Split(Regex("."), "isolated")
    else:
        pieces = [*frame, "a", "i", "it", "so", "n", "##ot"]
        backend = Tokenizer(WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))
        backend.pre_tokenizer = Whitespace()
    backend.post_processor = own.backend_tokenizer.post_processor
    names = {"unk_token": "<unk>", "pad_token": "<pad>", "sep_token": "<sep>", "cls_token": "<cls>"}
    PreTrainedTokenizerFast(
        tokenizer_object=backend, padding_side="left", model_max_length=64, **names
    ).save_pretrained(model)
    return model


@pytest.mark.parametrize("unit", ["character", "token"])
def test_units_of_what_is_heard(pico_listener: Path, pico_xlnet: Path, spoken: Path, tmp_path: Path, unit: str) -> None:
    target = with_tokenizer(pico_xlnet, tmp_path / "target", unit)
    content = merge(listening(pico_listener, target, spoken), {"sequence": {"unit": unit, "parts": 2}})
    model, preparer = exported(content, tmp_path / "out")
    inputs, read = preparer.batch([say(text) for text in sentences(30, seed=3)]), AutoTokenizer.from_pretrained(target)
    with torch.no_grad():
        frames, mask, path = model.activations(inputs)
        plan = model.plan(mask, path, None, None, frames)
    right = 0
    for i in range(30):
        heard = [word.text for word in words_of(path[i, mask[i]].numpy(), model.rule.rule.alphabet)]
        if unit == "character" or all(word in model.rule.state.pieces for word in heard):
            right += 1
            assert int(plan.mask[i].sum()) == len(read(" ".join(heard))["input_ids"])
    assert right > 4


def test_a_target_of_words_has_no_place_for_characters(pico_listener: Path, pico_xlnet: Path, spoken: Path) -> None:
    content = merge(listening(pico_listener, pico_xlnet, spoken), {"sequence": {"unit": "character"}})
    with pytest.raises(RecipeError, match=r"unit: character needs a target with a token for each character; .* 3: use"):
        fit(Recipe.parse(content), device="cpu")


@pytest.mark.parametrize("fill", ["mean", "reference"])
def test_partial_features_of_strided_slices(
    pico_roberta: Path, pico_xlnet: Path, written: Path, tmp_path: Path, fill: str
) -> None:
    """As in the thesis's second experiment: slices of equidistant timesteps, some features mapped, the rest filled."""
    changes = {
        "source": {"features": {"every": 2}},
        "target": {"features": {"every": 4}},
        "sequence": {"length": "trim", "slice": 2, "slicing": "strided", "fill": fill},
    }
    model, preparer = exported(merge(reading(pico_roberta, pico_xlnet, written), changes), tmp_path / "out")
    values = torch.cat(stitched(model, preparer, list(WRITTEN)))
    rest, kept = [i for i in range(16) if i % 4], values[:, ::4]
    if fill == "mean":
        torch.testing.assert_close(values[:, rest], kept.mean(1, keepdim=True).expand(-1, 12))
    else:
        own = model.layer.reference.reshape(2, 16).float()
        near = (values[:, None, rest] - own[None, :, rest]).abs().amax(2).min(1).values
        assert near.max() < 1e-6, "neither timestep of a slice has its mean of the fit"


def test_an_identity_stitch_by_strided_slices_agrees_with_itself(pico_roberta: Path, written: Path) -> None:
    content = merge(
        reading(pico_roberta, pico_roberta, written),
        {"sequence": {"length": "trim", "slice": 2, "slicing": "strided"}, "stitch": {"ridge": 1e-9}},
    )
    _, report = fit(Recipe.parse(content), device="cpu")
    assert report.value("agreement") == 1
    assert report.value("r2") == pytest.approx(1, abs=1e-5)


# spans from sound: words with their times


def timed(spoken: Path, folder: Path, as_mappings: bool = False, **wrong: Any) -> Path:
    """The spoken samples with a column of the times of their words, which `say` knows."""
    for split in ("fit", "test"):
        rows = [json.loads(line) for line in (spoken / f"{split}.jsonl").read_text().splitlines()]
        for row in rows:
            row["audio"] = str(spoken / row["audio"])
            times = times_of(row["text"])
            row["times"] = [{"start": a, "end": b} for a, b in times] if as_mappings else times
        rows[3] = {**rows[3], **wrong}
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def times_of(text: str) -> list[list[float]]:
    letter = FRAMES * STEP / RATE
    return [[letter * word.start(), letter * word.end()] for word in re.finditer(r"\S+", text)]


def by_times(listener: Path, target: Path, folder: Path) -> dict:
    content = listening(listener, target, folder)
    for split in ("fit", "test"):
        content["data"][split]["columns"]["times"] = "times"
    return {**content, "sequence": {"length": "spans", "parts": 2}}


@pytest.mark.parametrize("as_mappings", [False, True])
def test_words_with_times_meet_the_frames_in_which_they_are_said(
    pico_listener: Path, pico_xlnet: Path, spoken: Path, tmp_path: Path, as_mappings: bool
) -> None:
    rows = correspondence(by_times(pico_listener, pico_xlnet, timed(spoken, tmp_path, as_mappings)))
    opened, pairing = rows.observations, rows.fitted
    assert rows.rule.state.stride == STEP
    assert pairing.dropped == 0
    for i, pairs in enumerate(pairing.pairs):
        text = opened.samples["fit"].target(i)
        starts = [word.start() * FRAMES for word in re.finditer(r"\S+", text)]
        assert pairs.source[:, 0, 0].tolist() == starts
        assert len(pairs.position) == len(text.split())
        assert pairs.source.max() <= opened.frames["fit"].source.lengths[i]


def test_a_model_by_times_takes_them_with_the_sound(
    pico_listener: Path, pico_xlnet: Path, spoken: Path, tmp_path: Path
) -> None:
    content = by_times(pico_listener, with_tokenizer(pico_xlnet, tmp_path / "target", "token"), timed(spoken, tmp_path))
    fitted, report = fit(Recipe.parse(content), tmp_path / "out", device="cpu")
    saved = StitchedModel.from_pretrained(tmp_path / "out").eval()
    preparer = Preparer.load(tmp_path / "out", saved.config)
    sounds, said = [say(text) for text in SPOKEN], [Said(text, np.array(times_of(text))) for text in SPOKEN]
    inputs = preparer.batch(sounds, said)
    assert torch.equal(saved(**inputs).logits, fitted(**inputs).logits)
    together = stitched(saved, preparer, sounds, said)
    for i, text in enumerate(SPOKEN):
        [alone] = stitched(saved, preparer, sounds[i : i + 1], said[i : i + 1])
        torch.testing.assert_close(together[i], alone, rtol=1e-3, atol=1e-5)
        assert len(alone) == len(AutoTokenizer.from_pretrained(tmp_path / "target")(text)["input_ids"])
    assert evaluate(saved).value("agreement") == report.value("agreement")
    with pytest.raises(ActivationError, match="spans needs `target_spans`: the words of each sound with their times"):
        saved(**preparer.batch(sounds))
    with pytest.raises(ArtifactError, match=r"takes the words of a sound and their times.*columns.times"):
        Predictor(tmp_path / "out")


WRONG = {
    "few": ({"times": [[0, 1]]}, "has the times of 1 words, the text has"),
    "order": ({"text": "a i", "times": [[0.5, 1], [0.2, 0.3]]}, "must be finite and in order"),
    "kind": ({"text": "a i", "times": [[1, 2, 3], [1, 2, 3]]}, r"must hold \[start, end\]"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG.keys())
def test_times_that_cannot_be_used_are_refused(
    pico_listener: Path, pico_xlnet: Path, spoken: Path, tmp_path: Path, changes: dict, message: str
) -> None:
    rows = [{"text": "a i", "times": [[0.0, 0.1], [0.2, 0.3]]}, {"text": "so", "times": [[0.0, 0.1]]}]
    rows = [{"audio": str(spoken / "fit-0.wav"), "label": 0, "id": i, "group": "a", **r} for i, r in enumerate(rows)]
    (tmp_path / "fit.jsonl").write_text("\n".join(json.dumps(row) for row in [{**rows[0], **changes}, rows[1]]))
    content = by_times(pico_listener, pico_xlnet, tmp_path)
    content["data"].pop("test")
    for key in ("label", "group", "text"):
        content["data"]["fit"]["columns"].pop(key)
    opened = observations(content)
    with pytest.raises(DataError, match=message):
        Correspondence(opened, Recipe.parse(content)).texts("fit")


def test_spans_from_sound_need_times(pico_listener: Path, pico_xlnet: Path, spoken: Path) -> None:
    content = {**listening(pico_listener, pico_xlnet, spoken), "sequence": {"length": "spans"}}
    opened = observations(content)
    with pytest.raises(DataError, match=r"data.fit.columns.times is missing: .* or use length: ctc"):
        Correspondence(opened, Recipe.parse(content)).texts("fit")


class Ears(nn.Module):
    """Gives so many timesteps for so many audio samples."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, frames: Callable[[int], int]) -> None:
        super().__init__()
        self.frames, self.layer = frames, nn.Identity()

    def forward(self, input_values: Tensor) -> Tensor:
        return self.layer(torch.zeros(len(input_values), self.frames(input_values.shape[1]), 1))


def listener_of(frames: Callable[[int], int], **tool: Any) -> Any:
    """A hooked model of such ears."""
    batch = lambda raws: {"input_values": torch.from_numpy(np.stack(raws))}  # noqa: E731
    preparer = SimpleNamespace(rate=RATE, tool=SimpleNamespace(**tool), batch=batch)
    point, side = HookPoint("layer", None, "batch_first", 1), Side(model="ears", hook="layers.3")
    return SimpleNamespace(preparer=preparer, model=Ears(frames), point=point, side=side)


def test_audio_samples_of_a_timestep() -> None:
    assert samples_per_frame(listener_of(lambda n: (n - 400) // 320 + 1)) == 320
    assert samples_per_frame(listener_of(lambda n: n // 640 + 7)) == 640
    assert samples_per_frame(listener_of(lambda n: 1500, chunk_length=30)) == 320
    with pytest.raises(RecipeError, match=r"ears has 12 at layers.3 for any sound: take another hook"):
        samples_per_frame(listener_of(lambda n: 12))
