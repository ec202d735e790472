"""Activations of more positions than a target takes: the limit is found in the model, inputs are cut to it and told."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from pico_recipes import reading
from pico_writers import gpt2
from stitches import ears, end, preparer, saved, stitched
from tiny_models import tiny
from transformers.modeling_outputs import BaseModelOutput

from hf_stitch.errors import ActivationError, HookError
from hf_stitch.experiments.evaluate import evaluate
from hf_stitch.experiments.fit import fit
from hf_stitch.hooks.position_limit import Cut, cut_samples, position_limit, within_positions
from hf_stitch.hooks.suffix import apply_suffix_plan, run_suffix
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.models.files_digest import seal
from hf_stitch.models.predictor import Predictor

# family / of its decoder: hook point before the positions are added, and the most of them (None: no limit)
LIMITS: dict[str, tuple[str, int | None]] = {
    "bert": ("bert.embeddings.word_embeddings", 40),
    "roberta": ("roberta.embeddings.word_embeddings", 38),  # two are before the first
    "distilbert": ("distilbert.embeddings.word_embeddings", 40),
    "electra": ("electra.embeddings.word_embeddings", 40),
    "mpnet": ("mpnet.embeddings.word_embeddings", 38),
    "albert": ("albert.embeddings.word_embeddings", 512),
    "gpt2": ("transformer.wte", 40),
    "gpt2_lm": ("transformer.wte", 40),
    "clip_text": ("text_model.embeddings.token_embedding", 40),
    "clip/text": ("text_model.embeddings.token_embedding", 40),
    "mbart": ("model.encoder.embed_tokens", 40),
    "mbart/decoder": ("model.decoder.embed_tokens", 40),
    "bart/decoder": ("model.decoder.embed_tokens", 40),
    "whisper/decoder": ("decoder.embed_tokens", 30),
    "xlnet": ("transformer.word_embedding", None),
    "deberta_v2": ("deberta.embeddings.word_embeddings", None),  # a table of relative positions ends at 40
    "t5_encoder": ("encoder.embed_tokens", None),
    "t5/decoder": ("decoder.embed_tokens", None),
    "llama": ("model.embed_tokens", None),
    "modernbert": ("model.embeddings", None),
    "wav2vec2": ("wav2vec2.feature_projection", None),
    "vit": ("vit.embeddings", None),  # a fixed number, which is another matter
    "bert/later": ("bert.encoder.layer.0", None),  # positions are in the activations by then
}


def suffix(family: str, hook: str) -> tuple[Any, dict[str, Any]]:
    model = tiny(family.split("/")[0])
    plan = plan_suffix(model, end(model, hook).point)
    return apply_suffix_plan(model, plan), plan


def given_to(model: Any, plan: dict[str, Any]) -> dict[str, Any]:
    """What a suffix needs beside its activations."""
    made: dict[str, Any] = {"decoder_input_ids": torch.zeros(2, 1, dtype=torch.long)}
    if "encoder_outputs" in plan["given"]:
        made["encoder_outputs"] = BaseModelOutput(last_hidden_state=torch.randn(2, 7, model.config.hidden_size))
    if "pixel_values" in plan["given"]:
        size = model.config.vision_config.image_size
        made["pixel_values"] = torch.randn(2, 3, size, size)
    return {name: made[name] for name in plan["given"] if name in made}


@pytest.mark.parametrize("family", LIMITS)
def test_the_limit_is_where_the_model_fails(family: str) -> None:
    hook, limit = LIMITS[family]
    model, plan = suffix(family, hook)
    width, given = plan["point"]["width"], given_to(model, plan)
    assert position_limit(model, plan, torch.randn(2, 5, width), given) == limit
    if limit is not None and limit < 100:
        with torch.no_grad():
            run_suffix(model, plan, torch.randn(2, limit, width), **given)
            with pytest.raises((RuntimeError, IndexError, ValueError)):
                run_suffix(model, plan, torch.randn(2, limit + 1, width), **given)


SOUND = {"length": "resample", "target_length": "ratio", "ratio": 1.0}


@pytest.fixture(scope="module")
def target() -> Any:
    model = tiny("bert")
    return end(model, "bert.embeddings.word_embeddings", preparer(model))


@pytest.fixture(scope="module")
def folder(target: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound onto a BERT of 40 positions, a frame each: 20 samples."""
    return saved(tmp_path_factory.mktemp("limit") / "out", ears(), target, SOUND)


def sounds(*frames: int) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.standard_normal(20 * count + 40).astype(np.float32) for count in frames]


def files(folder: Path, *frames: int) -> list[Path]:
    import soundfile

    paths = [folder / f"{i}.wav" for i in range(len(frames))]
    for path, samples in zip(paths, sounds(*frames)):
        soundfile.write(path, samples, 16_000, subtype="FLOAT")
    return paths


def test_what_is_longer_is_cut_and_told(target: Any, caplog: pytest.LogCaptureFixture) -> None:
    source = ears()
    model = stitched(source, target, SOUND)
    inputs = source.preparer.batch(sounds(20, 70, 30))
    with torch.no_grad(), caplog.at_level(logging.WARNING):
        frames, mask, plan = model.crossing(inputs)
        values = model.stitch(frames, mask, plan)
        together = model(**inputs).logits
        alone = model.finish(values[1:2, :40], plan.mask[1:2, :40]).logits
    lengths = plan.mask.sum(1).tolist()
    [told] = [record.getMessage() for record in caplog.records]
    assert told == (
        f"input 2 of 3: it maps to {lengths[1]} positions, the target takes 40, the rest is left out: "
        "give it in shorter pieces"
    )
    assert torch.allclose(together[1], alone[0], atol=1e-6)


def test_padding_on_the_left_is_cut_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    model, plan = suffix("gpt2", "transformer.wte")
    values, mask = torch.randn(2, 60, plan["point"]["width"]), torch.ones(2, 60, dtype=torch.bool)
    mask[1, :50] = False
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def run(values: torch.Tensor, mask: torch.Tensor) -> Any:
        with torch.no_grad():
            found = run_suffix(model, plan, values, mask)
        seen.append((values, mask))
        return found

    within_positions(model, plan, values, mask, run)
    [(kept, real)] = seen
    assert kept.shape[1] == 40
    assert real.sum(1).tolist() == [40, 10]
    assert torch.equal(kept[0], values[0, :40])
    assert torch.equal(kept[1, -10:], values[1, -10:])
    assert len(caplog.records) == 1


def test_predict_answers_all_and_notes_what_was_cut(folder: Path, tmp_path: Path) -> None:
    paths = files(tmp_path, 20, 70, 30, 41)
    predictor = Predictor(folder, device="cpu")
    refused: list[str] = []
    found = list(predictor(paths, lambda error: refused.append(str(error))))
    assert [row["input"] for row in found] == [str(path) for path in paths]
    assert refused == []
    assert [note.split(": ")[0] for note in predictor.notes] == [str(paths[1]), str(paths[3])]
    assert all("the target takes 40" in note for note in predictor.notes)
    alone = next(iter(predictor([paths[0]])))
    assert alone["score"] == pytest.approx(found[0]["score"], abs=1e-5)


def test_pipelines_answer_all_and_say_what_was_cut(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    import hf_stitch  # noqa: F401 - pipelines know stitched models from here on

    pipeline = tf.pipeline("stitched-classification", model=str(folder), device="cpu")
    with caplog.at_level(logging.WARNING, logger="hf_stitch"):
        found = pipeline(sounds(20, 70, 30), batch_size=2)
    assert len(found) == 3
    [told] = [record.getMessage() for record in caplog.records if record.name.startswith("hf_stitch")]
    assert told.startswith("input 2: it maps to ")
    plain = tf.pipeline("audio-classification", model=str(folder), device="cpu")
    assert len(plain(sounds(20, 70, 30))) == 3


WRITERS = {"gpt2_lm": ("transformer.wte", 40), "mbart": ("model.encoder.embed_tokens", 40)}


@pytest.mark.parametrize("family", WRITERS)
def test_generation_leaves_room_for_what_it_writes(family: str, caplog: pytest.LogCaptureFixture) -> None:
    hook, most = WRITERS[family]
    source, writer = ears(), tiny(family)
    model = stitched(source, end(writer, hook, preparer(writer)), SOUND)
    inputs = source.preparer.batch(sounds(20, 70))
    with caplog.at_level(logging.WARNING, logger="hf_stitch"):
        found = model.generate(**inputs, max_new_tokens=6, min_new_tokens=6, do_sample=False)
    assert len(found) == 2
    [told] = [record.getMessage() for record in caplog.records if record.name.startswith("hf_stitch")]
    assert f"the target takes {most - 5 if family == 'gpt2_lm' else most}, the rest is left out" in told
    with pytest.raises(HookError, match=r"new tokens.*ask for fewer \(max_new_tokens\)"):
        model.generate(**inputs, max_new_tokens=60, min_new_tokens=60, do_sample=False)


def test_a_model_that_fails_for_another_reason_says_so(target: Any) -> None:
    """No limit is looked for where the positions are few."""
    model = stitched(ears(), target, SOUND)
    with pytest.raises(ValueError, match=r"input batch_size|size"):
        model(**ears().preparer.batch(sounds(20, 30)), labels=torch.zeros(5, dtype=torch.long))


def few_positions(pico_roberta: Path, folder: Path, **changes: Any) -> Path:
    """The tiny RoBERTa with 18 positions, of which texts have 16."""
    made = tf.RobertaForSequenceClassification.config_class.from_pretrained(pico_roberta, **changes)
    torch.manual_seed(2)
    tf.RobertaForSequenceClassification(made).save_pretrained(folder)
    tokenizer = tf.AutoTokenizer.from_pretrained(pico_roberta)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def long_texts(pico_roberta: Path, pico_xlnet: Path, written: Path, tmp_path: Path) -> dict[str, Any]:
    """XLNet, which reads any text, onto a RoBERTa of 16 positions; in the test some are longer."""
    content = reading(
        pico_xlnet, few_positions(pico_roberta, tmp_path / "roberta", max_position_embeddings=18), written,
        sequence={"length": "trim"}, neighborhoods={"kind": "none"},
    )  # fmt: skip
    content["target"]["hook"] = "roberta.embeddings.word_embeddings"
    table = tmp_path / "test.jsonl"
    rows = [json.loads(line) for line in (written / "test.jsonl").read_text().splitlines()]
    for row in rows[:5]:
        row["text"] = " ".join(["good"] * 60)
    table.write_text("\n".join(map(json.dumps, rows)))
    content["data"]["test"]["dataset"] = str(table)
    return content


def test_a_fit_and_its_evaluation_answer_all(long_texts: dict[str, Any], tmp_path: Path) -> None:
    """The rule knows the limit of the target's tokenizer, and so maps no sample to more positions."""
    _, report = fit({**long_texts, "compare": ["orthogonal"]}, tmp_path / "out", device="cpu", progress=False)
    told = re.compile(r"test: 5 texts are longer than the 16 tokens that \S*roberta reads")
    assert [note for note in report.notes if told.match(note)]
    assert report.measure("agreement").n == 18
    again = evaluate(tmp_path / "out", device="cpu", progress=False)
    assert [note for note in again.notes if told.match(note)]
    assert again.value("agreement", "affine") == report.value("agreement", "affine")


def test_samples_of_a_split_that_were_cut_are_told_in_a_line() -> None:
    assert cut_samples("test", [], "roberta") == []
    [line] = cut_samples("test", [Cut(0, 20, 16), Cut(3, 40, 16)], "roberta")
    assert line == "test: 2 samples map to more positions than the 16 that roberta takes; the rest of them is left out"


def test_a_target_that_fails_on_its_own_texts_is_named(long_texts: dict[str, Any], tmp_path: Path) -> None:
    """A writer of 20 positions that is asked for 64 new tokens."""
    folder = gpt2(tmp_path / "gpt2")
    config = tf.GPT2Config.from_pretrained(folder, n_positions=20)
    tf.GPT2LMHeadModel(config).save_pretrained(folder)
    long_texts["target"] = {"model": str(folder), "hook": "transformer.wte", "class": "GPT2LMHeadModel"}
    del long_texts["data"]["test"]
    with pytest.raises(ActivationError, match=r"gpt2 fails on a batch of .*IndexError") as told:
        fit(long_texts, device="cpu", progress=False)
    assert "\n" not in str(told.value)


def test_a_sound_that_lasts_is_told_before_it_is_read(target: Any, tmp_path: Path) -> None:
    import soundfile

    folder = saved(tmp_path / "out", ears(), target, {**SOUND, "ratio": 0.01})
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    # At 50 Hz minutes are few samples.
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, "sampling_rate": 50}))
    seal(folder)
    for name, seconds in (("short", 299), ("long", 360)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(50 * seconds, 0.1, np.float32), 50)
    predictor, told, asked = Predictor(folder, device="cpu"), list[str](), list[int]()
    predictor.on_note = told.append
    predictor.model.register_forward_pre_hook(lambda *given: asked.append(len(told)))
    assert len(list(predictor([tmp_path / "short.wav", tmp_path / "long.wav"]))) == 2
    [note] = told
    assert note.startswith(f"{tmp_path / 'long.wav'}: 6 minutes are read in one piece")
    assert predictor.notes == told
    assert asked == [1]
