"""Texts that a tokenizer cuts: the limits of the fit hold at run time, for every length rule and side that cuts."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from pico_recipes import ROBERTA_HOOK, SPEECH_HOOK, XLNET_HOOK, listening, observations, reading
from pico_texts import WORDS
from torch import Tensor

from hf_stitch.activations.activation_set import ActivationSet
from hf_stitch.evaluation.answers import stitched_answers
from hf_stitch.experiments.output_folder import save_model
from hf_stitch.hooks.position_limit import Cut, telling
from hf_stitch.loading.processors import Preparer, target_tokenizer
from hf_stitch.models.assembly import assemble, cut
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.predictor import Predictor
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.stitching.correspondence import Correspondence
from hf_stitch.stitching.layers.fit_layer import fit_layer

LIMIT = 13  # tokens, two of them special; as few positions as probing a model takes
SOUNDED = 5  # of sentences of two to four words, in pieces


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of fit.jsonl and test.jsonl with texts of two to sixteen words."""
    folder, draw = tmp_path_factory.mktemp("long"), random.Random(0)
    for split, count in (("fit", 24), ("test", 12)):
        texts = [" ".join(draw.choices(WORDS, k=draw.randint(2, 16))) for _ in range(count)]
        rows = [{"text": text, "label": i % 2, "group": "a", "id": str(i)} for i, text in enumerate(texts)]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def limited(folder: Path, out: Path, limit: int, side: str = "right", positions: bool = False) -> Path:
    """A model whose tokenizer cuts texts at a limit that it says itself, or that follows from the model's positions."""
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    model = tf.AutoModelForSequenceClassification.from_pretrained(folder)
    if positions:
        config = type(model.config).from_pretrained(folder, max_position_embeddings=limit + 2)
        torch.manual_seed(5)
        model = type(model)(config)
    tokenizer.model_max_length = 10**30 if positions else limit
    tokenizer.truncation_side = side
    tokenizer.save_pretrained(out)
    model.save_pretrained(out)
    return out


def saved(content: dict[str, Any], folder: Path) -> tuple[Tensor, StitchedModel, Any]:
    """A stitched model with a random map, saved; its answers to the test samples as a fit measures them; and these."""
    recipe, seen = Recipe.parse(content), observations(content, "fit", "test").collect()
    rows = Correspondence(seen, recipe)
    halves, rule = cut(seen.source, seen.target, needs_head=recipe.sequence.length == "ctc"), rows.whole_rule()
    torch.manual_seed(0)
    keys = torch.stack([torch.arange(80), torch.zeros(80, dtype=torch.long)], 1)
    width = seen.source.point.width * rule.join
    layer = fit_layer("affine", *(ActivationSet(torch.randn(80, n), keys) for n in (width, 16 * rule.steps)))
    for parameter in layer.parameters():
        parameter.data = torch.randn_like(parameter)
    model = assemble(recipe, halves, layer, rule)
    save_model(folder, model, seen.source, seen.target)
    answers = stitched_answers(model, seen.frames["test"], rows.texts("test"), seen.runtime)
    assert isinstance(answers, Tensor)
    return answers.double(), model, seen.samples["test"]


def check(content: dict[str, Any], folder: Path, most: int, lost: bool = False) -> None:
    """What is saved answers to raw inputs as the fit has measured it, with no more positions than the target takes.

    Args:
        lost: what is behind those is lost under this rule, which is told.
    """
    cuts: list[Cut] = []
    with telling(cuts.append):
        wanted, _, samples = saved(content, folder)
    assert bool(cuts) == lost
    assert all(one.takes == most < one.came for one in cuts)
    raws = [samples.source(i) for i in range(len(samples))]
    loaded = StitchedModel.from_pretrained(folder).eval()
    preparer = Preparer.load(folder, loaded.config)
    for first in range(0, len(raws), 6):
        with torch.no_grad():
            inputs = preparer.batch(raws[first : first + 6])
            assert int(loaded.crossing(dict(inputs))[2].mask.sum(1).max()) <= most
            found = loaded(**inputs).logits.double()
        assert torch.allclose(found, wanted[first : first + 6], atol=1e-5)
    if preparer.modality == "text":
        predictor = Predictor(folder, device="cpu")
        shares = [next(iter(answer["scores"].values())) for answer in predictor(raws)]
        assert torch.allclose(torch.tensor(shares).double(), wanted.softmax(1)[:, 0], atol=1e-5)
        assert len([note for note in predictor.notes if "it maps to" in note]) == len(cuts)


@pytest.mark.parametrize("where", ["target", "target, at the front", "target, by its positions", "source", "both"])
@pytest.mark.parametrize("rule", ["spans", "resample", "trim", "pool", "predicted"])
def test_texts_are_cut_at_run_time_as_in_the_fit(
    rule: str, where: str, pico_xlnet: Path, pico_roberta: Path, long: Path, tmp_path: Path
) -> None:
    cuts = {"source": where in ("source", "both"), "target": where != "source"}
    source, target = pico_xlnet, pico_roberta
    if cuts["source"]:
        source = limited(pico_xlnet, tmp_path / "source", LIMIT - 2)
    if cuts["target"]:
        side = "left" if where.endswith("front") else "right"
        target = limited(pico_roberta, tmp_path / "target", LIMIT, side, positions=where.endswith("positions"))
    content = reading(pico_xlnet, pico_roberta, long)
    content["source"] = {"model": str(source), "hook": XLNET_HOOK}
    content["target"] = {"model": str(target), "hook": ROBERTA_HOOK}
    lengths = {"length": "resample", "target_length": "predicted"} if rule == "predicted" else {"length": rule}
    lost = rule == "trim" and where.startswith("target")  # the other rules squeeze, or are cut by the tokenizer
    check(content | {"sequence": lengths}, tmp_path / "saved", LIMIT if cuts["target"] else 64, lost)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("unit", ["word", "token"])
def test_transcripts_are_cut_as_the_target_cuts_its_texts(
    unit: str, side: str, pico_listener: Path, pico_roberta: Path, spoken: Path, tmp_path: Path
) -> None:
    target = limited(pico_roberta, tmp_path / "target", SOUNDED, side)
    content = listening(pico_listener, pico_listener, spoken, sequence={"length": "ctc", "parts": 2, "unit": unit})
    content["source"] = {"model": str(pico_listener), "hook": SPEECH_HOOK}
    content["target"] = {"model": str(target), "hook": ROBERTA_HOOK}
    check(content, tmp_path / "saved", SOUNDED, lost=True)


def test_limits_are_kept_with_the_tokenizers(pico_xlnet: Path, pico_roberta: Path, long: Path, tmp_path: Path) -> None:
    target = limited(pico_roberta, tmp_path / "target", LIMIT, positions=True)
    content = reading(pico_xlnet, pico_roberta, long) | {"target": {"model": str(target), "hook": ROBERTA_HOOK}}
    saved(content, tmp_path / "saved")
    assert tf.AutoTokenizer.from_pretrained(tmp_path / "saved").model_max_length == 64
    assert target_tokenizer(tmp_path / "saved").model_max_length == LIMIT
    assert tf.AutoTokenizer.from_pretrained(target).model_max_length > 10**9  # the model's own is left as it was
    predictor = Predictor(tmp_path / "saved", device="cpu")
    list(predictor(["the film was very good and so very boring"]))
    [told] = predictor.notes
    assert f"the target takes {LIMIT}, the rest is left out" in told
