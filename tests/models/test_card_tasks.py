"""Whatever task a model card names, transformers' pipeline of that name answers, as `hf-stitch predict` does."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from composites import whole
from huggingface_hub import ModelCard
from pico_recipes import listening, reading
from PIL import Image
from stitches import ears, end, letters, preparer, saved, words
from tiny_models import tiny

import hf_stitch
from hf_stitch.errors import ActivationError, ArtifactError, DataError
from hf_stitch.experiments.fit import fit
from hf_stitch.loading.modality import modality
from hf_stitch.loading.vector_head import VectorHead, attach
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.predictor import Predictor
from hf_stitch.models.tasks import BUILT_IN, CUSTOM, answer_of, tag_of, tasks_of
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.zoo.networks.tanh import TanhNetworkConfig, TanhNetworkModel

LONG = " ".join(f"w{4 + i % 50}" for i in range(28))
TEXTS = ["w4 w5 w6 w7 w8 w9", "w10 w11", LONG, "w12 w13 w14"]
DRAW = np.random.default_rng(0)
INPUTS: dict[str, list[Any]] = {
    "text": TEXTS,
    "audio": [DRAW.normal(0, 0.1, n).astype(np.float32) for n in (420, 300, 230, 510)],
    "image": [DRAW.integers(0, 256, (20, 20, 3), dtype=np.uint8) for _ in range(3)],
    "vector": list(DRAW.normal(size=(3, 4))),
}
RULES: dict[str, dict[str, Any]] = {
    "ratio": {},
    "constant": {"target_length": "constant", "constant": 4},
    "trim": {"length": "trim", "ratio": 0.9},
    "pool": {"length": "pool", "target_length": "pool"},
    "spans": {"length": "spans", "target_length": "spans"},
}
SHORT = {"max_new_tokens": 4, "num_beams": 1, "do_sample": False}
hf_stitch.register()


def reads(side: str = "right") -> Any:
    return end(source := tiny("roberta"), "roberta.encoder.layer.1", preparer(source, words(side=side)))


def sees() -> Any:
    return end(source := tiny("vit"), "vit.layers.1", preparer(source))


def judges(side: str = "right", **more: Any) -> Any:
    target = tiny("roberta", **{"id2label": {0: "calm", 1: "cross"}, **more})
    return end(target, "roberta.encoder.layer.1", preparer(target, words(side=side)))


def writes(kind: str, hook: str) -> Any:
    target = whole(kind)
    target.generation_config.update(forced_eos_token_id=None, suppress_tokens=[0, 1, 2, 3])
    target.config.pad_token_id = 1
    for name, parameter in target.named_parameters():
        if "encoder_attn." in name and parameter.ndim > 1:
            parameter.data *= 10  # it listens
    return end(target, hook, preparer(target, words()))


def tells() -> Any:
    return writes("bart", "model.encoder.layers.1")


def continues() -> Any:
    return writes("gpt2", "transformer.wte")


def spells(folder: Path) -> Any:
    target = tiny("hubert")
    torch.nn.init.normal_(target.lm_head.weight)
    return end(target, "hubert.encoder.layers.0", preparer(target, letters(folder)))


def embeds() -> Any:
    return end(tiny("clip_text"), "text_model.encoder.layers.1")


def points() -> Any:
    torch.manual_seed(0)
    model = tf.RobertaModel(tiny("roberta").config).eval()
    target = attach(model, VectorHead(steps=[{"kind": "normalize"}], width=32))
    return end(target, "encoder.layer.1", preparer(target, words()))


def numbers() -> Any:
    model = TanhNetworkModel(TanhNetworkConfig(layer_sizes=[4, 8, 6, 3]))
    return end(model, "layers.0", preparer(model))


Made = tuple[str | None, Callable[[Path], Any], Callable[[Path], Any], dict[str, Any]]
MODELS: dict[str, Made] = {
    **{f"text, labels, {name}": ("text-classification", lambda _: reads(), lambda _: judges(), rule)
       for name, rule in RULES.items()},
    **{f"sound, labels, {name}": ("audio-classification", lambda _: ears(), lambda _: judges(), rule)
       for name, rule in RULES.items() if name != "spans"},
    **{f"pictures, labels, {name}": ("image-classification", lambda _: sees(), lambda _: judges(), rule)
       for name, rule in RULES.items() if name != "spans"},
    "text, several labels, spans": (
        "text-classification", lambda _: reads(),
        lambda _: judges(problem_type="multi_label_classification"), RULES["spans"],
    ),
    "sound, text": ("automatic-speech-recognition", lambda _: ears(), lambda _: tells(), {}),
    "sound, text behind a prompt": ("automatic-speech-recognition", lambda _: ears(), lambda _: continues(), {}),
    "sound, letters": ("automatic-speech-recognition", lambda _: ears(), spells, {"ratio": 1.0}),
    "text, text": (None, lambda _: reads(), lambda _: tells(), {}),
    "text, text, spans": (None, lambda _: reads(), lambda _: tells(), RULES["spans"]),
    "text, text that goes on": ("text-generation", lambda _: reads(), lambda _: continues(), {}),
    "text, text that goes on, spans": (None, lambda _: reads(), lambda _: continues(), RULES["spans"]),
    "pictures, text": (None, lambda _: sees(), lambda _: tells(), {}),
    "vectors, vectors": ("tabular-regression", lambda _: numbers(), lambda _: numbers(), {"ratio": 1.0}),
    "text, vectors": (None, lambda _: reads(), lambda _: embeds(), {"ratio": 1.0}),
    **{f"text, a vector, {name}": ("feature-extraction", lambda _: reads(), lambda _: points(), rule)
       for name, rule in RULES.items()},
    "pictures, a vector": ("image-feature-extraction", lambda _: sees(), lambda _: points(), {}),
    "sound, a vector": (None, lambda _: ears(), lambda _: points(), {}),
    "a length that nobody knows": (None, lambda _: reads(), lambda _: judges(), {"target_length": "oracle"}),
    "sound by times of words": (None, lambda _: ears(), lambda _: judges(),
                                RULES["spans"] | {"stride": 20.0}),
}  # fmt: skip


def content(answer: Any) -> Any:
    """What an answer says, whichever pipeline gave it: chances by label, numbers, or a text."""
    rows = answer if isinstance(answer, list) else [answer]
    first = rows[0]
    if isinstance(first, list):
        return first
    if "scores" in first or "values" in first:
        return first.get("scores", first.get("values"))
    if "label" in first:
        return {row["label"]: row["score"] for row in rows}
    return first.get("text", first.get("generated_text"))


def same(one: Any, other: Any) -> bool:
    found, wanted = content(one), content(other)
    return bool(found == wanted if isinstance(wanted, str) else found == pytest.approx(wanted, abs=1e-5))


@pytest.mark.parametrize("name", MODELS)
def test_the_task_of_a_card_answers(name: str, tmp_path: Path) -> None:
    """One input, several, in a batch, of different lengths; beside our own pipeline, which reads as `predict` does."""
    tag, source, target, rule = MODELS[name]
    folder = str(saved(tmp_path / "model", source(tmp_path), target(tmp_path), rule, scale=10))
    config = tf.AutoConfig.from_pretrained(folder)
    assert tag_of(config) == tag
    kind, answer = modality(config), answer_of(config)
    own, raws = tf.pipeline(tasks_of(config)[-1], model=folder, device="cpu"), INPUTS[kind]
    settings = SHORT if answer == "text" else {}
    if (kind == "audio" and rule.get("length") == "spans") or rule.get("target_length") == "oracle":
        with pytest.raises(ActivationError, match="needs `target_"):
            own(raws[0])
        return
    wanted = [own(raw, **settings) for raw in raws]
    if tag is not None:
        more = {"top_k": None} if answer == "labels" and kind != "vector" else settings
        pipe = tf.pipeline(tag, model=folder, device="cpu")
        given = [Image.fromarray(raw) for raw in raws] if kind == "image" else raws
        together = pipe(list(given), batch_size=len(given), **more)
        alone = [pipe(one, **more) for one in given]
        if tag == "text-generation":  # the prompt comes first
            wanted = [{"text": raw + one["text"]} for raw, one in zip(raws, wanted)]
        assert [same(one, other) for one, other in zip(alone, wanted)] == [True] * len(raws)
        assert [same(one, other) for one, other in zip(together, wanted)] == [True] * len(raws)
    assert len({str(content(one)) for one in wanted}) > 1, "nothing that could be mistaken"


# the README's table of tasks

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
HEAD = "| target answers with | source takes | built-in task | own task, any source |"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in README.partition(HEAD)[2].partition("\n\n")[0].splitlines()[2:]
]
OF_A_ROW = {
    "a label": ["sound, labels, ratio", "text, labels, spans", "pictures, labels, pool"],
    "text (encoder-decoder, causal model, CTC)": ["sound, text", "sound, text behind a prompt", "sound, letters"],
    "text, in the source's own tokens (causal models in the middle too)": ["text, text that goes on"],
    "other text": ["text, text", "pictures, text"],
    "numbers": ["vectors, vectors"],
    "a vector (models without a head)": ["text, a vector, ratio", "text, a vector, spans", "pictures, a vector"],
    "anything else": ["text, vectors"],
}
CASES = [(row, name) for row in ROWS for name in OF_A_ROW[row[0]]]


def names_in(cell: str) -> list[str]:
    """The tasks of a cell, of which several may share their ending."""
    names = re.findall(r"`([\w-]+)`", cell)
    return [name + names[-1].partition("-")[2] if name.endswith("-") else name for name in names]


def test_the_table_of_tasks_is_there() -> None:
    assert [row[0] for row in ROWS] == list(OF_A_ROW)
    assert {task for row in ROWS for cell in row[2:] for task in names_in(cell)} >= {
        *BUILT_IN.values(), *CUSTOM.values(), "tabular-regression"
    }  # fmt: skip


@pytest.mark.parametrize(("row", "name"), CASES, ids=[f"{row[0]}: {name}" for row, name in CASES])
def test_a_row_of_the_table_of_tasks(row: list[str], name: str, tmp_path: Path) -> None:
    """The tasks that it names are those of the model, and each of them answers."""
    _, source, target, rule = MODELS[name]
    folder = str(saved(tmp_path / "model", source(tmp_path), target(tmp_path), rule))
    config = tf.AutoConfig.from_pretrained(folder)
    kind = modality(config)
    word = {"audio": "sound", "text": "text", "image": "pictures", "vector": "numbers"}[kind]
    assert word in row[1].split(", ") or row[1] == "anything"
    found = tasks_of(config)
    for tasks, cell in ((found[:-1], row[2]), (found[-1:], row[3])):
        assert set(tasks) <= set(names_in(cell))
        assert bool(tasks) == bool(names_in(cell))
    for task in found:
        given = Image.fromarray(INPUTS[kind][0]) if kind == "image" else INPUTS[kind][0]
        settings = SHORT if answer_of(config) == "text" else {}
        assert content(tf.pipeline(task, model=folder, device="cpu")(given, **settings)) is not None


# spans


@pytest.mark.parametrize("target_side", ["right", "left"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_spans_are_made_for_any_side_of_padding(side: str, target_side: str, tmp_path: Path) -> None:
    """As `predict` makes them, one at a time, in batches, by the Auto class, and when collated."""
    rule = RULES["spans"] | {"padding_side": target_side}
    folder = saved(tmp_path / "model", reads(side), judges(target_side), rule, scale=4)
    predicted = [one["scores"] for one in Predictor(folder, device="cpu")(TEXTS)]
    pipe = tf.pipeline("text-classification", model=str(folder), device="cpu", top_k=None)
    together = pipe(TEXTS, batch_size=4)
    for one, wanted in zip(together, predicted):
        assert {row["label"]: row["score"] for row in one} == pytest.approx(wanted, abs=1e-5)
    for size in (2, 3):
        assert [row[0]["label"] for row in pipe(TEXTS, batch_size=size)] == [row[0]["label"] for row in together]
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    model = StitchedModel.from_pretrained(folder).eval()
    features = [tokenizer(text) for text in TEXTS]
    for made in (tokenizer(TEXTS, return_tensors="pt"), tokenizer.pad(features, return_tensors="pt")):
        with torch.no_grad():
            found = model(**made).logits.softmax(-1)
        assert found.tolist() == [pytest.approx(list(wanted.values()), abs=1e-5) for wanted in predicted]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("spans") / "model", reads(), judges(), RULES["spans"], scale=4)


def test_the_answers_are_those_of_predict(reader: Path) -> None:
    pipe = tf.pipeline("text-classification", model=str(reader), device="cpu")
    predictor = Predictor(reader, device="cpu")
    wanted = [next(predictor([text])) for text in TEXTS]
    for text, one in zip(TEXTS, wanted):
        [found] = pipe(text)
        assert pipe({"text": text}) == found
        assert found == {"label": one["label"], "score": pytest.approx(one["score"], abs=1e-5)}
        both = pipe(text, top_k=2)
        assert {row["label"]: row["score"] for row in both} == pytest.approx(one["scores"], abs=1e-5)
        assert pipe(text, top_k=1)[0]["label"] == one["label"]
    found = [row["score"] for row in pipe((text for text in TEXTS), batch_size=2)]
    assert found == pytest.approx([one["score"] for one in wanted], abs=1e-5)
    assert pipe(TEXTS[2], truncation=True, max_length=6) != pipe(TEXTS[2])


def test_a_text_longer_than_both_models_read_is_cut_as_predict_cuts_it(
    reader: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long = " ".join([LONG] * 3)
    wanted = next(Predictor(reader, device="cpu")([long]))
    [found] = tf.pipeline("text-classification", model=str(reader), device="cpu")(long)
    assert found["score"] == pytest.approx(wanted["score"], abs=1e-5)
    assert "tokens, the model reads" in caplog.text


def test_the_tokenizer_is_copied_kept_and_saved_again(reader: Path, tmp_path: Path) -> None:
    tokenizer = tf.AutoTokenizer.from_pretrained(reader)
    assert type(tokenizer).__name__ == "StitchedTokenizer"
    assert tokenizer.decode(tokenizer(TEXTS[0])["input_ids"]) == TEXTS[0]
    tokenizer.save_pretrained(tmp_path / "again")
    StitchedModel.from_pretrained(reader).save_pretrained(tmp_path / "again")
    loaded = tf.AutoTokenizer.from_pretrained(tmp_path / "again")
    assert type(loaded.source) is type(tokenizer.source) is not type(tokenizer)
    wanted = tokenizer(TEXTS, return_tensors="pt")
    for other in (loaded, copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer)),
                  tf.AutoProcessor.from_pretrained(reader)):  # fmt: skip
        made = other(TEXTS, return_tensors="pt")
        assert made.keys() == wanted.keys() == {"input_ids", "attention_mask", "target_spans"}
        assert all(torch.equal(made[key], wanted[key]) for key in wanted)
    assert all((made := tokenizer(TEXTS, return_tensors="np"))[key].shape == wanted[key].shape for key in wanted)
    assert made["input_ids"].tolist() == tokenizer(TEXTS)["input_ids"]


@pytest.mark.parametrize(
    ("given", "more", "message"),
    [
        (" ", {}, "expected a text that is not blank"),
        (3, {}, "expected a text that is not blank"),
        ({"text": "w4", "text_pair": "w5"}, {}, "takes one text; join both"),
        ("w4", {"add_special_tokens": False}, "are those of its fit; leave it out"),
    ],
)
def test_what_spans_cannot_be_made_of_is_refused(reader: Path, given: Any, more: dict[str, Any], message: str) -> None:
    pipe = tf.pipeline("text-classification", model=str(reader), device="cpu")
    with pytest.raises(DataError, match=message):
        pipe(given, **more)


def test_our_names_of_tasks_refuse_other_models(tmp_path: Path) -> None:
    tiny("bert").save_pretrained(tmp_path)
    for task in ("tabular-classification", "tabular-regression", "stitched-classification"):
        with pytest.raises(ArtifactError, match=f"is no stitched model, and the task '{task}' is for stitched models"):
            tf.pipeline(task, model=str(tmp_path), device="cpu")


# as a fit writes them


def fitted(content: dict[str, Any], folder: Path) -> tuple[str | None, Path]:
    fit(Recipe.parse({**content, "stitch": {"method": "affine"}, "trust": "none"}), folder, device="cpu")
    return ModelCard.load(folder / "README.md").data.pipeline_tag, folder


@pytest.mark.parametrize("parts", [1, 2])
def test_of_a_fit_by_spans(parts: int, tmp_path: Path, pico_roberta: Path, pico_xlnet: Path, written: Path) -> None:
    content = reading(pico_roberta, pico_xlnet, written, sequence={"parts": parts})
    tag, folder = fitted(content, tmp_path / "out")
    assert tag == "text-classification"
    texts = ["the film was very good", "boring", "i never like this play"]
    wanted = list(Predictor(folder, device="cpu")(texts))
    pipe = tf.pipeline(tag, model=str(folder), device="cpu")
    for found in (pipe(texts, batch_size=3), [pipe(text)[0] for text in texts]):
        assert [one["label"] for one in found] == [one["label"] for one in wanted]
        assert [one["score"] for one in found] == pytest.approx([one["score"] for one in wanted], abs=1e-5)


def test_of_a_fit_by_ctc(tmp_path: Path, pico_listener: Path, pico_xlnet: Path, spoken: Path) -> None:
    tag, folder = fitted(listening(pico_listener, pico_xlnet, spoken), tmp_path / "out")
    assert tag == "audio-classification"
    import soundfile

    files = [spoken / f"test-{i}.wav" for i in range(3)]
    wanted = [one["scores"] for one in Predictor(folder, device="cpu")(files)]
    found = tf.pipeline(tag, model=str(folder), device="cpu")([soundfile.read(file)[0] for file in files], batch_size=3)
    for one, scores in zip(found, wanted):
        assert {row["label"]: row["score"] for row in one} == pytest.approx(scores, abs=1e-5)
