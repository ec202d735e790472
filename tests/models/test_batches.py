"""A batch equals one at a time: whole models, both halves, and what is saved, on either side of padding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from families import BLOCKS, POINTS
from more_families import MORE, more
from PIL import Image
from stitches import end, preparer, stitched, words
from tiny_models import tiny
from torch import Tensor

from hf_stitch.activations.hooked_model import HookedModel, hooked_model_of
from hf_stitch.errors import ActivationError
from hf_stitch.hooks.capture import observe
from hf_stitch.hooks.masks import timestep_mask
from hf_stitch.loading.processors import Preparer
from hf_stitch.models.files_digest import seal
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.generation import Generation
from hf_stitch.recipe.side import Side
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.stitching.lengths.length_rule import LengthRule

TEXTS = ["w4 w5 w6 w7 w8 w9 w10 </s>", "w20 w21 </s>", "w30 w31 w32 w33 w34 </s>", "w11 w12 w13 w14 w15 w16 </s>"]
DRAW = np.random.default_rng(0)
SOUNDS = [DRAW.normal(0, 0.1, n).astype(np.float32) for n in (421, 190, 310, 260)]
PICTURES = [Image.fromarray(DRAW.integers(0, 255, (20, 20, 3), dtype=np.uint8)) for _ in range(3)]
VECTORS = list(DRAW.normal(size=(3, 4)))
RAWS = {"text": TEXTS, "audio": SOUNDS, "image": PICTURES, "vector": VECTORS}
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
FAMILIES = {
    name: (lambda name=name: tiny(name.partition("/")[0]), block.format(BLOCKS.get(name, (0, 1))[-1]))
    for name, (_, block) in POINTS.items()
    # CLIP is two models, and a decoder's point of a writer needs what it has written.
    if not name.startswith("clip/") and name not in ("t5/decoder", "mbart/decoder", "speech_encoder_decoder/decoder")
}
FAMILIES |= {name: (lambda name=name: more(name), hook) for name, (_, hook) in MORE.items() if name != "reformer"}
# Whisper's windows are of 30 s, and of this tiny one of another size.
ALL = sorted(FAMILIES.keys() - {"whisper"})


def prepares(model: Any, side: str) -> Preparer:
    made = preparer(model, words(side=side))
    if made.modality == "audio":
        made.tool.do_normalize = False  # by sample: says nothing of batches
    return made


def opened(model: Any, hook: str, side: str = "right", generation: Generation | None = None) -> HookedModel:
    asked = Side(model="by-hand", revision="main", hook=hook)
    return hooked_model_of(asked, model, prepares(model, side), "by hand", Runtime.start("cpu"), generation)


def close(row: Tensor, alone: Tensor, side: str = "right") -> bool:
    """Whether a padded row is what the sample is alone, at all positions that are real."""
    length = alone.shape[0]
    if len(row) != length:
        row = row[:length] if side == "right" else row[len(row) - length :]
    return torch.allclose(row, alone, **TOLERANCE)


def by_sample(model: HookedModel, raws: list[Any]) -> dict[int, list[Tensor]]:
    """Activations (t, m), and logits (k,), of each sample of a batch."""
    found: dict[int, list[Tensor]] = {}
    for one in model.passes(raws):
        with torch.no_grad():
            values, answer = model.seen("source", one.inputs)
        real = timestep_mask(model.model, one.mask, values[0], model.point)
        logits = getattr(answer, "logits", None)
        for i, number in enumerate(one.part.rows):
            own = [logits[i]] if isinstance(logits, Tensor) and logits.ndim == 2 else []
            found[number] = [values[0][i][real[i]], *own]
    return found


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", ALL)
def test_a_whole_model_sees_in_a_batch_what_it_sees_alone(family: str, side: str) -> None:
    make, hook = FAMILIES[family]
    model = opened(make(), hook, side)
    kind = model.preparer.modality
    if side == "left" and kind != "text":
        pytest.skip("only texts are padded before")
    together = by_sample(model, RAWS[kind])
    for i, raw in enumerate(RAWS[kind]):
        inputs = model.preparer.batch([raw])
        if family == "fnet":
            del inputs["attention_mask"]  # which its forward has no argument for
        with torch.no_grad():
            if model.model.config.is_encoder_decoder:
                alone: list[Any] = [by_sample(model, [raw])[0][0]]
            else:
                values, output = observe(model.model, [model.point], inputs)
                alone = [values[0][0], *([output.logits[0]] if getattr(output, "logits", values[0]).ndim == 2 else [])]
        for one, own in zip(together[i], alone):
            assert torch.allclose(one, own, **TOLERANCE), family


def identical(family: str, folder: Path) -> StitchedModel:
    """A model joined to itself by a map of random rows, position by position; saved and loaded in another place."""
    make, hook = FAMILIES[family]
    one = end(make(), hook, prepares(make(), "right"))
    made = stitched(one, one, {"length": "trim", "ratio": 1.0})
    made.save_pretrained(folder)
    return StitchedModel.from_pretrained(folder).eval()


def answer_of(model: StitchedModel, inputs: dict[str, Any]) -> Tensor:
    """The logits, or what else is answered, one row a sample."""
    beside = {}
    if "decoder_input_ids" in model.config.ends["suffix"]["plan"]["given"]:
        beside["decoder_input_ids"] = torch.tensor([[4, 5, 6]]).repeat(len(inputs["input_ids"]), 1)
    with torch.no_grad():
        output = model(**inputs, **beside)
    found = next((output[key] for key in ("logits", "last_hidden_state", "start_logits") if key in output), None)
    assert found is not None
    return found


# BART pools at the end token of its own input; of XLM a block is no hook point; SEW's point, put by hand, knows no
# lengths, ResNet takes larger pictures, and the tanh networks of the tests cannot be loaded by name.
APART = {"bart", "bart/decoder", "xlm", "whisper", "speech_encoder_decoder", "sew", "resnet", "tanh"}
JOINED = sorted(FAMILIES.keys() - APART)


@pytest.mark.parametrize("family", JOINED)
def test_a_stitched_model_answers_to_a_batch_as_to_each(family: str, tmp_path: Path) -> None:
    model = identical(family, tmp_path)
    for side in ("right", "left"):
        model.rule = LengthRule.from_spec(model.rule.spec() | {"padding_side": side})
        preparer = prepares(model.prefix, side)
        raws = RAWS[preparer.modality]
        together = answer_of(model, preparer.batch(raws))
        assert len(together) == len(raws)
        for i, raw in enumerate(raws):
            assert close(together[i], answer_of(model, preparer.batch([raw]))[0], side), (family, side)
        if preparer.modality != "text":
            break
    # What was found is kept with the weights: nothing is probed again.
    content = json.loads((tmp_path / "config.json").read_text())
    assert model.padding("suffix").to_dict() == content["suffix"]["padding"]
    assert model.padding("prefix").to_dict() == content["prefix"]["padding"]


# --- generation ---------------------------------------------------------------------------------------------------

SETTINGS = {"max_new_tokens": 4, "num_beams": 1, "do_sample": False}
WRITERS = {
    "gpt2_lm": "transformer.wte", "llama": "model.embed_tokens", "mamba": "backbone.embeddings",
    "rwkv": "rwkv.embeddings", "t5": "encoder.block.0", "mbart": "model.encoder.layers.0",
}  # fmt: skip


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("family", WRITERS)
def test_what_is_written_does_not_depend_on_the_batch(family: str, side: str) -> None:
    made = FAMILIES[family][0]()
    made.generation_config.update(pad_token_id=1, **SETTINGS)
    whole = opened(made, WRITERS[family], side, Generation())
    assert whole.text_output is not None
    own = {}
    for one in whole.passes(TEXTS):
        own.update(zip(one.part.rows, whole.text_output.own(whole.model, one.inputs)))
    joined = end(made, WRITERS[family], prepares(made, side))
    model = stitched(joined, joined, {"length": "trim", "ratio": 1.0, "padding_side": side}, scale=3)
    batch = model.generate(**joined.preparer.batch(TEXTS), **SETTINGS)
    new = batch.shape[1] - (0 if model.prompt(joined.preparer.batch(TEXTS)) is None else len(TEXTS))
    assert new > 0
    for i, text in enumerate(TEXTS):
        inputs = joined.preparer.batch([text])
        assert own[i].tolist() == whole.text_output.own(whole.model, inputs)[0].tolist()
        alone = model.generate(**inputs, **SETTINGS)[0]
        # Behind the prompt; the rest of a row that has ended is padding.
        prompt = model.prompt(inputs)
        start = 0 if prompt is None else prompt.shape[1]
        behind = 0 if prompt is None else model.prompt(joined.preparer.batch(TEXTS)).shape[1]
        tokens = alone[start:].tolist()
        assert batch[i, behind : behind + len(tokens)].tolist() == tokens


# --- what a user meets ---------------------------------------------------------------------------------------------


class Drawing(tf.BertForSequenceClassification):
    """It forgets a part of what it reads, by chance, whatever mode it is in."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        output = super().forward(input_ids=input_ids, attention_mask=attention_mask)
        output.logits = torch.nn.functional.dropout(output.logits, 0.5, training=True)
        return output


def test_a_model_that_is_random_by_itself_is_told_so() -> None:
    model = tiny("bert")
    state = torch.random.get_rng_state()
    assert not opened(model, "bert.encoder.layer.0").padding.random
    assert torch.equal(torch.random.get_rng_state(), state)  # looking for it draws nothing of the caller's
    drawing = Drawing(model.config).eval()
    # Reformer hashes at random, where a text is longer than a chunk.
    for model, hook in ((drawing, "bert.encoder.layer.0"), (more("reformer"), "reformer")):
        padding = opened(model, hook).padding
        assert padding.random > 0.05
        assert padding.told_of_chance.startswith("is random by itself: two equal runs differ by")


def test_probing_leaves_the_model_as_it_was() -> None:
    model = tiny("wav2vec2").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert opened(model, "wav2vec2.encoder.layers.0").padding.right == "equal"
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_loss_of_a_batch_that_runs_in_parts_is_refused(tmp_path: Path) -> None:
    model = identical("funnel", tmp_path)
    inputs = prepares(model.prefix, "right").batch(TEXTS)
    with pytest.raises(ActivationError, match="labels: FunnelForSequenceClassification runs one length at a time bec"):
        model(**inputs, labels=torch.tensor([0, 1, 0, 1]))
    inputs = prepares(model.prefix, "right").batch(TEXTS[1:2])
    assert model(**inputs, labels=torch.tensor([0])).loss.isfinite()


def test_positions_that_a_user_gives_are_kept(tmp_path: Path) -> None:
    model = identical("gpt2", tmp_path)
    inputs = prepares(model.prefix, "left").batch(TEXTS)
    model.rule = LengthRule.from_spec(model.rule.spec() | {"padding_side": "left"})
    own = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
    plain = answer_of(model, inputs)
    assert torch.equal(answer_of(model, {**inputs, "position_ids": own}), plain)
    assert not torch.allclose(answer_of(model, {**inputs, "position_ids": own + 1}), plain)


def test_models_saved_before_are_probed_when_they_run(tmp_path: Path) -> None:
    identical("gpt2", tmp_path)
    file = tmp_path / "config.json"
    content = json.loads(file.read_text())
    for half in ("prefix", "suffix"):
        assert content[half].pop("padding") in ({}, {"left": "positions"})
    file.write_text(json.dumps({key: value for key, value in content.items() if not key.endswith("_digest")}))
    model = StitchedModel.from_pretrained(tmp_path).eval()
    inputs = prepares(model.prefix, "left").batch(TEXTS)
    alone = answer_of(model, prepares(model.prefix, "left").batch(TEXTS[1:2]))
    assert torch.allclose(answer_of(model, inputs)[1], alone[0], **TOLERANCE)
    model.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["prefix"]["padding"] == {"left": "positions"}


def test_damaged_padding_is_told_as_damage(tmp_path: Path) -> None:
    identical("gpt2", tmp_path)
    file = tmp_path / "config.json"
    content = json.loads(file.read_text())
    for wrong in ({"right": "sometimes"}, {"far": 1}, 3):
        content["suffix"]["padding"] = wrong
        file.write_text(json.dumps(content))
        seal(tmp_path)
        with pytest.raises(Exception, match=r"config\.json is damaged"):
            StitchedModel.from_pretrained(tmp_path)
