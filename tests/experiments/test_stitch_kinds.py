"""Every kind of model that one may hold: stitched, saved, loaded in a fresh process, measured again, pushed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from datasets import Dataset
from locked import ROOT
from own_models import (
    OwnBag,
    OwnConfig,
    Perceptron,
    Quantizer,
    SentenceTransformer,
    Sentiment,
    Words,
    beheaded,
    quantised,
)
from peft import LoraConfig, get_peft_model
from pico_encoders import SIZES, sentence_transformer, tokenizer
from pico_texts import WORDS
from safetensors.torch import save_file

from hf_stitch import StitchedModel, evaluate, fit, stitch
from hf_stitch.cli.main import main
from hf_stitch.errors import HubError, StitchError
from hf_stitch.report.report import Report
from hf_stitch.runtime.progress import Silent

LAYER = "encoder.layer.0"
READER = tokenizer()
SIZE = len(READER.get_vocab())
COLUMNS = {"source": "text", "label": "label"}
TEXTS = ["the film was very good", "so bad", " ".join(WORDS[:14])]
QUIETLY = {"device": "cpu", "progress": False}


def made(kind: Any, *args: Any, **kwargs: Any) -> Any:
    torch.manual_seed(3)
    return kind(*args, **kwargs)


def bert(kind: Any = tf.BertForSequenceClassification) -> Any:
    return made(kind, tf.BertConfig(vocab_size=SIZE, pad_token_id=1, **SIZES))


def adapted() -> Any:
    """A classifier with an adapter and a head of its own."""
    model = get_peft_model(bert(), LoraConfig(target_modules=["query"], r=2, modules_to_save=["classifier"]))
    for name, one in model.named_parameters():
        if "lora_B" in name:
            one.data.fill_(0.3)
    return model


HELD: dict[str, tuple[Callable[[], Any], str, str]] = {
    "own class": (lambda: made(OwnBag, OwnConfig(vocab_size=SIZE)), "hidden", ""),
    "own subclass": (lambda: bert(Sentiment), f"bert.{LAYER}", ""),
    "adapted": (adapted, f"base_model.model.bert.{LAYER}", ""),
    "quantised": (lambda: quantised(bert(), "bert.encoder.layer.1.output.dense", Quantizer()), f"bert.{LAYER}", ""),
    "plain": (lambda: made(Words, SIZE), "hidden", f"Words({SIZE})"),
    "another head": (lambda: beheaded(bert()), f"bert.{LAYER}", "beheaded(bert())"),
}
"""How to make each, where to hook it, and what a fresh process writes to build it where no configuration does."""
BOTH = ("own class", "own subclass", "adapted", "quantised", "plain")
PAIRS = [
    *((name, name) for name in BOTH),
    ("plain", "own class"),
    ("own subclass", "plain"),
    ("adapted", "another head"),
]


@pytest.fixture(scope="module")
def rows() -> dict[str, Dataset]:
    def some(count: int, step: int) -> Dataset:
        texts = [" ".join(WORDS[(i * step + k) % len(WORDS)] for k in range(2 + i % 4)) for i in range(count)]
        return Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(count)]})

    return {"fit": some(30, 5), "test": some(12, 7)}


@pytest.fixture(scope="module")
def numbers() -> list[dict[str, Any]]:
    draw = torch.Generator().manual_seed(0)
    return [{"x": torch.randn(4, generator=draw).tolist()} for _ in range(60)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, rows: dict[str, Dataset], numbers: Any) -> dict[str, Any]:
    """Of each pair the folder's name, the models, and what the stitched model answered."""
    root, found = tmp_path_factory.mktemp("kinds"), {}
    asked = {"columns": COLUMNS, "sequence": {"length": "resample"}, **QUIETLY}
    tools = {"source_processor": READER, "target_processor": READER}
    batches = [TEXTS, TEXTS[1:2]]
    for source, target in PAIRS:
        (one, hook, _), (other, other_hook, _) = HELD[source], HELD[target]
        name = f"{source} to {target}"
        model, report = stitch(one(), hook, other(), other_hook, rows, out=root / name, **asked, **tools)
        inputs = [dict(READER(batch, padding=True, return_tensors="pt")) for batch in batches]
        inputs = [{key: one for key, one in given.items() if key != "token_type_ids"} for given in inputs]
        found[name] = (model, report, inputs)
    slopes = (1.5, 0.7)
    one, other = (made(Perceptron, slope=slope) for slope in slopes)
    model, report = stitch(one, "layers.1", other, "layers.0", numbers, columns={"source": "x"},
                           out=root / "numbers", **QUIETLY)  # fmt: skip
    found["numbers"] = (model, report, [{"inputs": torch.randn(5, 4)}, {"inputs": torch.ones(1, 4)}])
    for name, (model, _, inputs) in found.items():
        for i, given in enumerate(inputs):
            with torch.no_grad():
                save_file({**given, "answer": model(**given).logits}, root / f"{name}.{i}.safetensors")
    return {"root": root, **found}


FRESH = """
import sys
from pathlib import Path
import torch
from safetensors.torch import load_file
from hf_stitch import StitchedModel
from hf_stitch.errors import ArtifactError

root, built = Path(sys.argv[1]), {built}

def told(name, **more):
    try:
        return StitchedModel.from_pretrained(root / name, **more)
    except ArtifactError as error:
        print(name, "->", error)

for name in ("own class to own class", "own subclass to own subclass", "plain to plain"):
    told(name)
from own_models import *

def bert():
    import transformers as tf
    return tf.BertForSequenceClassification(tf.BertConfig(vocab_size={size}, pad_token_id=1, **{sizes}))

told("adapted to another head")
told("plain to plain", source=built["plain"]())
told("plain to plain", source=built["plain"](), target=Words({size}, width=9))
told("numbers", source=Perceptron(), target=Perceptron())
for folder in sorted(one for one in root.iterdir() if one.is_dir()):
    given = {{"source": Perceptron(), "target": Perceptron(slope=0.7)}} if folder.name == "numbers" else {{}}
    for role, name in zip(("source", "target"), folder.name.split(" to ")):
        if name in built:
            given[role] = built[name]()
    model = StitchedModel.from_pretrained(folder, **given).eval()
    for file in sorted(root.glob(folder.name + ".*")):
        inputs = load_file(file)
        answer = inputs.pop("answer")
        with torch.no_grad():
            print(folder.name, torch.equal(model(**inputs).logits, answer))
"""


def test_each_is_loaded_in_a_fresh_process_and_answers_as_it_did(saved: dict[str, Any]) -> None:
    built = ", ".join(f"{name!r}: lambda: {how}" for name, (_, _, how) in HELD.items() if how)
    program = FRESH.format(built="{" + built + "}", size=SIZE, sizes=SIZES)
    where = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'helpers'}", "PATH": "", "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, "-c", program, str(saved["root"])]
    done = subprocess.run(words, capture_output=True, text=True, env=where, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for name, wanted in (
        ("own class", "OwnConfig of the Python module own_models.*from own_models import OwnConfig"),
        ("own subclass", "Sentiment of the Python module own_models.*from own_models import Sentiment"),
        ("plain", r"own_models.Words, which no configuration builds.*from_pretrained\(DIR, source=MODEL\)"),
    ):
        assert re.search(wanted, next(one for one in lines if one.startswith(f"{name} to {name} ->")))
    told = [one for one in lines if "->" in one]
    assert re.search(r"a transformers.BertForSequenceClassification, which no .*target=MODEL", told[3])
    assert "target=MODEL" in told[4]
    assert "target=: the Words is built otherwise than the target of the fit" in told[5]
    assert "target=: the Perceptron is built otherwise" in told[6], "its slope is not saved"
    answers = [one for one in lines if "->" not in one]
    assert len(answers) == 2 * (len(PAIRS) + 1)
    assert all(one.endswith("True") for one in answers), answers


def test_adapters_are_those_of_the_merged_model(
    saved: dict[str, Any], rows: dict[str, Dataset], tmp_path: Path
) -> None:
    whole, hook = adapted().merge_and_unload(), f"bert.{LAYER}"
    _, report = stitch(
        whole, hook, whole, hook, rows, columns=COLUMNS, source_processor=READER, target_processor=READER,
        out=tmp_path / "merged", sequence={"length": "resample"}, **QUIETLY,
    )  # fmt: skip
    _, of_adapted, _ = saved["adapted to adapted"]
    assert report.measures == of_adapted.measures
    files = [folder / "model.safetensors" for folder in (tmp_path / "merged", saved["root"] / "adapted to adapted")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert "BertForSequenceClassification: its adapters were merged into a copy" in of_adapted.notes
    assert any("quantised weights" in note for note in saved["quantised to quantised"][1].notes)


def test_kinds_of_answers_are_known_by_labels_where_classes_do_not_say(saved: dict[str, Any]) -> None:
    for name in (f"{one} to {other}" for one, other in PAIRS):
        assert saved[name][1].value("agreement") is not None, name
    assert saved["numbers"][1].value("output_mse") < 0.1
    notes = saved["numbers"][1].notes
    assert any(note.startswith("one set of 60 rows was given: the first 48 are the fit, the last 12") for note in notes)
    assert any(note.startswith("in memory: Perceptron, Perceptron-2, fit, test;") for note in notes)


def test_a_sentence_transformer_is_what_its_folder_is(rows: dict[str, Dataset], tmp_path: Path) -> None:
    one = sentence_transformer(tmp_path / "one", seed=1)
    other = sentence_transformer(tmp_path / "other", seed=2, inside="0_Transformer", parts=("Dense", "Normalize"))
    files = {name: tmp_path / f"{name}.parquet" for name in rows}
    for name, path in files.items():
        rows[name].to_parquet(path)
    data = {name: {"dataset": str(path), "columns": {"source": "text"}} for name, path in files.items()}
    ends = {"source": {"model": str(one), "hook": LAYER}, "target": {"model": str(other), "hook": LAYER}}
    wanted = fit({**ends, "data": data, "sequence": {"length": "resample"}, "stitch": {"method": "affine"}},
                 tmp_path / "named", **QUIETLY)[1]  # fmt: skip
    _, report = stitch(
        SentenceTransformer(one), f"0.auto_model.{LAYER}", SentenceTransformer(other), LAYER, rows,
        columns={"source": "text"}, sequence={"length": "resample"}, out=tmp_path / "held", **QUIETLY,
    )  # fmt: skip
    assert report.measures == wanted.measures
    assert {"vector_r2", "retrieval_r1"} <= {one.name for one in report.measures}
    files = [tmp_path / name / "model.safetensors" for name in ("named", "held")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_it_is_measured_again_with_what_is_handed_over(saved: dict[str, Any], rows: dict[str, Dataset]) -> None:
    (one, _, _), (other, _, _) = HELD["own subclass"], HELD["plain"]
    folder, models = saved["root"] / "own subclass to plain", {"source": one(), "target": other()}
    again = evaluate(folder, rows["test"], models=models, target_processor=READER, device="cpu", progress=False)
    report = Report.load(folder)
    assert again.value("agreement") == report.value("agreement")
    assert again.value("accuracy", "target") == report.value("accuracy", "target")
    renamed = rows["test"].rename_columns({"text": "words", "label": "mood"})
    more = {"models": models, "target_processor": READER, "columns": {"source": "words", "label": "mood"}}
    by_split = evaluate(folder, {"fit": rows["fit"], "test": renamed}, device="cpu", progress=False, **more)
    assert by_split.measures == again.measures
    changed = one()
    changed.bert.encoder.layer[0].output.dense.bias.data += 1
    for given, words in (
        ({}, "no configuration builds"),
        ({"models": {"target": other()}, "target_processor": READER, "data": rows["test"]}, 'models={"source": MODEL}'),
        ({"models": models, "target_processor": READER}, "evaluate\\(DIR, data=ROWS\\)"),
        ({"models": models, "data": rows["test"]}, "target_processor="),
        ({"models": {**models, "source": changed}, "target_processor": READER, "data": rows["test"]}, "other weights"),
    ):
        with pytest.raises(StitchError, match=words):
            evaluate(folder, **given, device="cpu", progress=False)


def test_the_command_line_says_what_it_cannot_do(saved: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved["root"] / "own class to own class"
    for words in (["evaluate", folder], ["fit", folder / "recipe.yaml", "--out", folder.parent / "again"]):
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert "was" in told
        assert "in memory" in told
        assert "from Python" in told


def test_whoever_pushes_it_is_told_that_its_recipe_cannot_be_run_again(
    saved: dict[str, Any], rows: dict[str, Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "memory:OwnBag, memory:fit, memory:test was in memory, so that the recipe cannot be run again"
    folder = saved["root"] / "own class to own class"
    capsys.readouterr()
    assert main(["push", str(folder), "me/bags", "--dry-run"]) == 0
    assert words in capsys.readouterr().err
    for push in (
        lambda model: model.push_to_hub("me/bags"),
        lambda model: model.save_pretrained(tmp_path / "bags", push_to_hub=True, repo_id="me/bags"),
    ):
        with pytest.warns(UserWarning, match=words), pytest.raises(HubError):
            push(saved["own class to own class"][0])
    card = (folder / "README.md").read_text()
    assert "in memory: OwnBag, fit, test; the recipe cannot be run again from its file" in card
    assert 'data=rows, models={"source": source, "target": target}' in card


def test_a_model_fitted_without_a_folder_saves_all_that_a_fit_writes(
    saved: dict[str, Any], rows: dict[str, Dataset], tmp_path: Path
) -> None:
    folder, (held, hook, _) = saved["root"] / "own class to own class", HELD["own class"]
    model, report = stitch(
        held(), hook, held(), hook, rows, columns=COLUMNS, source_processor=READER, target_processor=READER,
        sequence={"length": "resample"}, name=folder.name, **QUIETLY,
    )  # fmt: skip
    model.save_pretrained(tmp_path / folder.name)
    here = tmp_path / folder.name
    names = [{path.relative_to(place).as_posix() for path in place.rglob("*")} for place in (folder, here)]
    assert names[0] == names[1]
    for name in ("model.safetensors", "config.json", "recipe.yaml", "tokenizer.json", "tokenizer_config.json"):
        assert (here / name).read_bytes() == (folder / name).read_bytes(), name
    again = Report.load(here)
    assert again.measures == report.measures
    assert again.environment["stamps"] == Report.load(folder).environment["stamps"]
    assert again.environment["folder"] == folder.name
    assert not [name for name in model.state_dict() if "companion" in name]
    other = made(OwnBag, OwnConfig(vocab_size=SIZE, width=5))
    with pytest.raises(StitchError, match="another source"):
        stitch(other, hook, other, hook, rows, columns=COLUMNS, source_processor=READER, target_processor=READER,
               sequence={"length": "resample"}, out=here, **QUIETLY)  # fmt: skip


class Stopped(Silent):
    """Stops a fit before the first comparison, or tells what was taken up."""

    def __init__(self, stops: bool) -> None:
        self.stops, self.notes = stops, list[str]()

    def note(self, text: str) -> None:
        self.notes.append(text)
        if self.stops and text.startswith("comparing with"):
            raise KeyboardInterrupt


def test_a_stopped_fit_of_plain_modules_takes_up_what_it_saved(numbers: Any, tmp_path: Path) -> None:
    one, other = made(Perceptron), made(Perceptron, slope=0.7)
    asked = {"columns": {"source": "x"}, "compare": ["orthogonal"], "device": "cpu"}
    whole = stitch(one, "layers.1", other, "layers.0", numbers, progress=False, **asked)[1]
    with pytest.raises(KeyboardInterrupt):
        stitch(one, "layers.1", other, "layers.0", numbers, progress=Stopped(True), out=tmp_path, **asked)
    again = Stopped(False)
    report = stitch(one, "layers.1", other, "layers.0", numbers, progress=again, out=tmp_path, **asked)[1]
    assert "affine: fitted before this run, taken up" in again.notes
    assert report.measures == whole.measures
    finished = Stopped(False)
    model, _ = stitch(one, "layers.1", other, "layers.0", numbers, progress=finished, out=tmp_path, **asked)
    assert any("finished before" in note for note in finished.notes)
    assert type(model.prefix).__name__ == "VectorModule"


def forward_of_x() -> Any:
    class TakesX(tf.PreTrainedModel):
        config_class = OwnConfig

        def __init__(self, config: OwnConfig) -> None:
            super().__init__(config)
            self.layer = torch.nn.Linear(4, 2)
            self.post_init()

        def forward(self, x: torch.Tensor) -> Any:
            return self.layer(x)

    return TakesX(OwnConfig())


class TakesMapping(Words):
    def __init__(self) -> None:
        super().__init__(SIZE)

    def forward(self, batch: Any) -> torch.Tensor:
        return super().forward(**batch)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no tokenizer": ({"source_processor": None}, "OwnBag takes text and needs its tokenizer.*give source_processor="),
    "another's tokenizer": (
        {"source": lambda: made(OwnBag, OwnConfig(vocab_size=5))},
        r"source_processor: .* has tokens up to \d+, OwnBag knows 5",
    ),
    "no tokenizer at all": (
        {"source_processor": tf.ViTImageProcessor()},
        "source_processor: expected the tokenizer of OwnBag; got ViTImageProcessor",
    ),
    "a processor of a name": ({"source": lambda: "zoo:xlnet-sentiment"}, "source_processor: source is a name"),
    "tokens without a tokenizer": (
        {"source": lambda: Words(SIZE), "source_processor": None},
        "Words: nobody knows what this module takes.*source_processor=.*make_inputs",
    ),
    "a batch as a mapping": (
        {"source": TakesMapping},
        r"TakesMapping: it cannot be run.*\(TypeError.{0,300}\); .*wrap",
    ),
    "no model": ({"source": lambda: {"a": 1}}, "source: expected a model, or the name or folder of one; got dict"),
    "no columns": ({"columns": None}, "columns=.*the data have text, label"),
    "no fit": ({"data": {"test": [{"text": "a"}]}}, "no split to fit on"),
    "other splits": ({"data": {"fit": [{"text": "a"}], "exam": [{"text": "a"}]}}, "exam"),
    "sorted rows": (
        {"data": [{"text": "a b", "label": "bad"}] * 12 + [{"text": "c d", "label": "good"}] * 12},
        r"data.test: .* names 1 of the target's 2 classes \(good\).* \(one set of 24 rows .*shuffle sorted ones",
    ),
    "no rows": ({"data": 3}, "data"),
    "no such hook": ({"source_hook": "hiden"}, "did you mean 'hidden'"),
    "a hook by number": ({"source_hook": 3}, "source_hook: expected the name of a module.*got int"),
    "no method": ({"method": None}, "method: expected a name.*got NoneType"),
    "no such method": ({"method": "afine"}, "unknown method 'afine'.*affine"),
    "no such part": ({"sequences": {}}, "sequence"),
    "the map alone": ({"save": "map"}, "save: map leaves the halves where they are"),
    "an argument of its own": ({"source": forward_of_x}, "main_input_name = 'x'"),
    "weights that are elsewhere": ({"source": lambda: made(OwnBag, OwnConfig()).to("meta")}, "not in memory"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_at_once(name: str, rows: dict[str, Dataset]) -> None:
    changes, words = WRONG[name]
    held, hook, _ = HELD["own class"]
    asked = {"source": held, "source_hook": hook, "target": held, "target_hook": hook, "data": rows, "columns": COLUMNS,
             "source_processor": READER, "target_processor": READER, **QUIETLY, **changes}  # fmt: skip
    source, target = (asked.pop(side)() for side in ("source", "target"))
    with pytest.raises(StitchError, match=rf"(?s){words}"):
        stitch(source=source, target=target, **asked)


def test_hooks_may_say_more_and_names_may_stand_beside_objects(rows: dict[str, Dataset], tmp_path: Path) -> None:
    held, hook, _ = HELD["own class"]
    for name, model in (("bags", held()), ("berts", bert(tf.BertModel))):
        READER.save_pretrained(tmp_path / name)
        model.save_pretrained(tmp_path / name)
    path = tmp_path / "test.jsonl"
    rows["test"].to_json(path)
    model, report = stitch(
        str(tmp_path / "berts"), {"hook": LAYER, "features": {"every": 2}}, held(), hook,
        {"train": rows["fit"], "test": str(path)}, columns=COLUMNS, target_processor=READER, **QUIETLY,
        sequence={"length": "resample"}, method="affine+nearest", trust="none",
    )  # fmt: skip
    assert report.recipe["source"] == {"model": "local:berts", "hook": LAYER, "features": {"every": 2}}
    assert report.recipe["data"]["test"]["dataset"] == "local:test.jsonl"
    assert report.method == "affine+nearest"
    assert model.source_point.features == tuple(range(0, 16, 2))
    assert isinstance(model, StitchedModel)
