"""What is pushed names no place of this machine, whatever the recipe names; and the folder itself works as before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers as tf
import yaml
from huggingface_hub import ModelCard
from local_hub import LocalHub, python
from pico_recipes import ROBERTA_HOOK, SPEECH_HOOK, XLNET_EMBEDDING, reading
from pico_speech import RATE, say, sentences
from PIL import Image
from safetensors import safe_open

from hf_stitch.cli.main import main
from hf_stitch.errors import ArtifactError, StitchError
from hf_stitch.experiments.evaluate import evaluate
from hf_stitch.experiments.fit import fit
from hf_stitch.experiments.output_folder import check_output_folder
from hf_stitch.models.hub.publishing import public_form
from hf_stitch.recipe.public import is_public, local_names, told
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.rendering.card import card_for
from hf_stitch.report.report import Report

USER = "quillfeather"  # in no word of a page
PLACES = ("/fsx/", "~/", "../", "mine/", "my data/")

FITS = """
import json, os, shutil
from huggingface_hub import HfApi
import hf_stitch
from hf_stitch.cli.main import main
from hf_stitch.models.predictor import Predictor
HfApi().create_repo("me/hubbed")
HfApi().upload_folder(repo_id="me/hubbed", folder_path="models/roberta")
made = {}
for name, (recipe, given) in RECIPES.items():
    out = OUTS.get(name, f"out/{name}")
    hf_stitch.fit(recipe, out, device="cpu")
    if name == "like an id":
        os.rename("mine", "gone")  # now it looks like ids of the Hub, and was none
    assert main(["push", out, f"me/{name.replace(' ', '-')}"]) == 0
    if name == "like an id":
        os.rename("gone", "mine")
    if name in EVALUATED:
        assert main(["evaluate", out, "--quiet"]) == 0
    answers = [list(Predictor(one)([given]))[0] for one in (out, f"me/{name.replace(' ', '-')}")]
    made[name] = [{k: v for k, v in one.items() if k in ("label", "score")} for one in answers]
print(json.dumps(made))
"""


def text_rows(folder: Path, written: Path) -> None:
    for split in ("fit", "test"):
        rows = (written / f"{split}.jsonl").read_text().splitlines()[:24]
        (folder / f"{split}.jsonl").write_text("\n".join(rows))


def sounds(folder: Path) -> None:
    """A folder of sounds for each split, with a table that names them in full."""
    for split, count in (("fit", 12), ("test", 6)):
        rows, place = [], folder / split
        place.mkdir(parents=True)
        for i, text in enumerate(sentences(count, seed=len(split))):
            soundfile.write(place / f"{i}.wav", say(text), RATE)
            rows.append({"file_name": str(place / f"{i}.wav"), "text": text, "label": i % 2})
        (place / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))


def pictures(folder: Path) -> None:
    draw = np.random.default_rng(0)
    for split, count in (("fit", 12), ("test", 6)):
        for i in range(count):
            place = folder / split / ("dark", "light")[i % 2]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(place / f"{i}.png")


def seeing(folder: Path) -> None:
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = tf.ViTConfig(**small, image_size=16, patch_size=8, id2label={0: "dark", 1: "light"})
    tf.ViTForImageClassification(config).save_pretrained(folder)
    tf.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, pico_roberta: Path, pico_xlnet: Path, written: Path, **_: Any
) -> Path:
    """A user's folder: models, data, and a project beneath it."""
    folder = tmp_path_factory.mktemp("machine") / USER
    project = folder / "project"
    for place in (folder / "models", project / "models", project / "mine"):
        place.mkdir(parents=True)
        shutil.copytree(pico_roberta, place / "roberta")
        shutil.copytree(pico_xlnet, place / "xlnet")
    for place in (folder / "data", project / "my data", project / "mine"):
        place.mkdir(exist_ok=True)
        text_rows(place, written)
    # What tools of others leave in the settings of a tokenizer.
    settings = folder / "models" / "roberta" / "tokenizer_config.json"
    left = {"special_tokens_map_file": f"{folder}/x/special_tokens_map.json", "name_or_path": "/fsx/someone/roberta"}
    settings.write_text(json.dumps(json.loads(settings.read_text()) | left))
    return folder


@pytest.fixture(scope="module")
def spread(home: Path, pico_listener: Path) -> Path:
    """The same with sounds and pictures."""
    shutil.copytree(pico_listener, home / "models" / "listener")
    sounds(home / "sounds")
    pictures(home / "pictures")
    seeing(home / "models" / "vit")
    return home


def reads(source: str, target: str, data: str, **changes: Any) -> dict[str, Any]:
    columns = {"columns": {"source": "text", "label": "label", "id": "id"}}
    content = reading(Path(source), Path(target), Path(data), sequence={"length": "resample"}, trust="none", **changes)
    content["source"]["model"], content["target"]["model"] = source, target
    content["data"] = {name: {"dataset": f"{data}/{name}.jsonl", **columns} for name in ("fit", "test")}
    return {"name": "two readers", "description": "of my own", **content}


def recipes(home: Path) -> dict[str, tuple[dict[str, Any], str]]:
    """By kind: the recipe, and an input."""
    text = "the film was very good"
    hubbed = reads("models/roberta", "~/models/xlnet", "../data")
    hubbed["source"] = {"model": "me/hubbed", "hook": ROBERTA_HOOK}
    other = {"source": {"model": f"{home}/project/models/roberta"}, "data": {"fit": {"dataset": "mine/fit.jsonl"}}}
    hubbed["compare"] = ["rbf", {"name": "others", **other}]
    hubbed["description"] = f"made of {home}/models/xlnet and ~/data/fit.jsonl"
    vit = {"model": str(home / "models" / "vit"), "hook": "vit.layers.0"}
    seen = {name: {"dataset": f"~/pictures/{name}", "columns": {"source": "image", "label": "label", "id": "file_name"}}
            for name in ("fit", "test")}  # fmt: skip
    columns = {"source": "audio", "target": "text", "text": "text", "label": "label", "id": "file_name"}
    heard = {
        "source": {"model": "../models/listener", "hook": SPEECH_HOOK},
        "target": {"model": str(home / "models" / "xlnet"), "hook": XLNET_EMBEDDING},
        "data": {name: {"dataset": str(home / "sounds" / name), "columns": columns} for name in ("fit", "test")},
        "sequence": {"length": "ctc", "parts": 2},
    }
    return {
        "in full": (reads(f"{home}/models/roberta", f"{home}/models/xlnet", f"{home}/data"), text),
        "beside": (reads("~/models/roberta", "./models/../models/xlnet", "my data"), text),
        "like an id": (reads("mine/roberta", "mine/xlnet", "mine"), text),
        "of the Hub": (hubbed, text),
        "pictures": ({"source": vit, "target": vit, "data": seen, "trust": "none"}, f"{home}/pictures/fit/dark/0.png"),
        "sounds": (heard, f"{home}/sounds/fit/0.wav"),
    }


@pytest.fixture(scope="module")
def pushed(spread: Path) -> Iterator[tuple[LocalHub, dict[str, Any]]]:
    """The Hub after all was fitted and pushed by somebody whose machine has names of its own."""
    outs = {"in full": str(spread / "results" / "in full")}
    code = f"RECIPES, OUTS, EVALUATED = {recipes(spread)!r}, {outs!r}, ('beside',)\n"
    code += f"import os\nos.chdir({str(spread / 'project')!r})\n{FITS}"
    with LocalHub() as serving:
        more = {"HOME": str(spread), "USER": USER, "LOGNAME": USER, "HF_STITCH_CACHE": str(spread / "cache")}
        answers = json.loads(python(serving, spread / "hf", code, **more).splitlines()[-1])
        yield serving, answers


KINDS = ("in full", "beside", "like an id", "of the Hub", "pictures", "sounds")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_pushed_names_no_place(pushed: tuple[LocalHub, dict[str, Any]], kind: str, spread: Path) -> None:
    serving, answers = pushed
    repo = f"me/{kind.replace(' ', '-')}"
    files = serving.repositories[repo].at("main")[1]
    assert {"config.json", "model.safetensors", "recipe.yaml", "report.json", "report.html", "README.md"} <= set(files)
    for name, raw in files.items():
        weights = name.endswith(".safetensors")
        for place in (USER, str(spread.parent), *(() if weights else PLACES)):
            assert place.encode() not in raw, (name, place)
    card = ModelCard(files["README.md"].decode()).data
    assert card.base_model == (["me/hubbed"] if kind == "of the Hub" else None)
    assert card.get("datasets") is None
    recipe, config = yaml.safe_load(files["recipe.yaml"]), json.loads(files["config.json"])
    assert is_public(recipe)
    assert recipe["target"]["model"] == config["suffix"]["model"] in ("local:xlnet", "local:vit")
    report = json.loads(files["report.json"])
    assert report["recipe"] == {"name": report["recipe"]["name"], **recipe}
    assert Report.from_dict(report).name
    assert files["README.md"].decode() == card_for(Report.from_dict(report)), "the card is that of its report"
    assert answers[kind][0] == answers[kind][1], "by id it answers as in its folder"


def test_the_weights_hold_no_place(pushed: tuple[LocalHub, dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(
        pushed[0].repositories["me/in-full"].at("main")[1]["model.safetensors"]
    )
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert file.metadata() in (None, {"format": "pt"})


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_to_be_read_names_no_place(
    pushed: tuple[LocalHub, dict[str, Any]], kind: str, spread: Path
) -> None:
    """In the folder itself: its recipe and configuration alone keep the places, so that it can be evaluated here."""
    del pushed
    folder = spread / "results" / kind if kind == "in full" else spread / "project" / "out" / kind
    for name in ("README.md", "report.html", "report.json"):
        text = (folder / name).read_text(encoding="utf-8")
        assert not [place for place in (USER, str(spread.parent), *PLACES) if place in text]
    assert not is_public(yaml.safe_load((folder / "recipe.yaml").read_text()))
    assert ModelCard.load(folder / "README.md").data.get("datasets") is None


SAVED = Path(__file__).parents[1] / "fixtures" / "saved_by_0.1.0" / "full"

OLD = {
    "hf_stitch/zoo-parabola-a-0": "models/one",
    "hf_stitch/zoo-parabola\n": "rows.csv\n",
    "zoo:parabola-a-0": "models/one",
    "zoo:parabola-b-0": f"{{}}/{USER}/models/two",
    "zoo:parabola": "rows.csv",
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """What 0.1.0 wrote of a recipe with paths: the paths everywhere, and in the card's metadata as ids."""
    folder = shutil.copytree(SAVED, tmp_path / USER / "saved")
    for path in folder.iterdir():
        if path.suffix in (".json", ".yaml", ".md"):
            text = path.read_text(encoding="utf-8")
            for name, other in OLD.items():
                text = text.replace(name, other.format(tmp_path))
            path.write_text(text, encoding="utf-8")
    (folder / "report.html").write_text(f"<p>first half of {tmp_path}/{USER}/models/two</p></var>")
    return folder


def test_a_folder_of_before_is_pushed_by_names_too(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models" / "one").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    edited = (old / "README.md").read_text() + "\nThanks to all.\n"
    (old / "README.md").write_text(edited)
    (old / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": f"{tmp_path}/{USER}/runs/step-5"}))
    (old / "notes.md").write_text(f"run on {tmp_path}/{USER}/models/two and {tmp_path}/{USER}/saved/log")
    (old / "vocab.json").write_text('{"/tmp": 1, "a/b": 2}')
    before = {path: path.read_bytes() for path in old.iterdir()}
    with public_form(old, "me/old") as public:
        for path in public.folder.iterdir():
            if path.suffix != ".safetensors":
                text = path.read_text(encoding="utf-8")
                assert not [one for one in (USER, str(tmp_path), "~/", "models/") if one in text], path.name
        card = ModelCard.load(public.folder / "README.md")
        assert "Thanks to all." in card.text
        assert card.data.base_model == ["hf_stitch/zoo-parabola-b-0"], "as somebody wrote it there"
        assert card.data.datasets is None
        assert {result.dataset_type for result in card.data.eval_results} == {"unknown"}
        assert json.loads((public.folder / "trainer_state.json").read_text()) == {"best_model_checkpoint": "step-5"}
        assert (public.folder / "notes.md").read_text() == "run on local:two and log"
        assert (public.folder / "vocab.json").read_text() == '{"/tmp": 1, "a/b": 2}', "tokens are no paths"
        assert "local:two" in (public.folder / "report.html").read_text()
        assert (public.folder / "report.html").read_text().endswith("</var>")
    assert {path: path.read_bytes() for path in old.iterdir()} == before, "what lies here stays as it is"


def test_a_dry_run_shows_what_would_go(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (old / "weights.bin").write_bytes(b"pickle")
    assert main(["push", str(old), "me/old", "--dry-run"]) == 0
    said = capsys.readouterr()
    for word in ("model.safetensors", "kB", "nothing was sent", f"{tmp_path}/{USER}/models/two as local:two"):
        assert word in said.out
    assert "base models of the card:" in said.out
    assert "weights.bin was left out" in said.err
    assert "weights.bin" not in said.out


def test_a_push_tells_what_it_gives_away_of_the_data(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(old), "me/old", "--dry-run"]) == 0
    assert "data of the test" not in capsys.readouterr().err
    plain = json.loads((old / "report.json").read_text())
    sample = {"sample": "a", "inputs": {"source": {"text": "secret", "characters": 6}}, "answers": {}}
    plain["diagnostics"]["failures"] = {"failing": 1, "of": 2, "samples": [sample]}
    (old / "report.json").write_text(json.dumps(plain))
    assert main(["push", str(old), "me/old", "--dry-run"]) == 0
    said = "hold data of the test, which go there too: the inputs of 1 sample (texts) with the answers to them"
    assert said in capsys.readouterr().err


def test_the_file_system_says_what_is_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / USER))
    snapshot = f"{USER}/.cache/hub/models--org--base/snapshots/0123abc"
    for place in ("org/model", "mine", "other/mine", "a b/c d", snapshot):
        (tmp_path / place).mkdir(parents=True)
    kinds = {
        "org/model": "local:model", "mine": "local:mine", "other/mine": "local:mine-2", "./mine": "local:mine",
        f"{tmp_path}/mine/../mine": "local:mine", "a b/c d": "local:c d", "~": "local:folder", "~/gone/x": "local:x",
        "/no/such/place": "local:place", "rows.csv": "local:rows.csv", f"./{snapshot}": "local:org--base",
    }  # fmt: skip
    of_others = ("org/other", "bert-base-uncased", "zoo:parabola", "org/set:configuration", "local:mine")
    content = [{"model": name} for name in (*kinds, *of_others)]
    names = local_names(content)
    assert names == kinds
    assert [one["model"] for one in told(content, names)] == [*kinds.values(), *of_others]
    text = {"note": f"'{tmp_path}/gone.wav' and a b/c d/x of https://a.b{tmp_path}, 1/2 or mine", "column": "mine"}
    assert told(text, names) == {"note": f"'gone.wav' and a b/c d/x of https://a.b{tmp_path}, 1/2 or mine",
                                 "column": "mine"}  # fmt: skip


@pytest.mark.parametrize("home", ["/", None], ids=["the root", "none"])
def test_a_user_without_a_folder(home: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in containers, whose user may be in no list."""
    monkeypatch.delenv("HOME")
    if home is not None:
        monkeypatch.setenv("HOME", home)
    text = f"{tmp_path}/x.wav of /no/such/place and 3 km/h"
    assert told({"note": text}, {}) == {"note": "x.wav of /no/such/place and 3 km/h"}
    assert local_names({"model": f"{tmp_path}/mine"}) == {f"{tmp_path}/mine": "local:mine"}


def test_what_was_pushed_is_evaluated_where_the_models_are(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their places are not told, so they are asked for; another model in the place of one is refused."""
    asked = Recipe.parse(reads(f"{home}/models/roberta", f"{home}/models/xlnet", f"{home}/data"))
    fit(asked, tmp_path / "out", device="cpu")
    data = {"dataset": f"{home}/data/test.jsonl"}
    with public_form(tmp_path / "out", "me/x") as public:
        with pytest.raises(StitchError, match=r"lay where the map was fitted.*dataset=FILE"):
            evaluate(public.folder, models={"source": f"{home}/models/roberta", "target": f"{home}/models/xlnet"})
        with pytest.raises(StitchError, match=r"'local:roberta'.*source.model=FOLDER"):
            evaluate(public.folder, data)
        torch.manual_seed(5)
        config = tf.AutoConfig.from_pretrained(home / "models" / "roberta")
        shutil.copytree(home / "models" / "roberta", tmp_path / "other")
        tf.RobertaForSequenceClassification(config).save_pretrained(tmp_path / "other")
        with pytest.raises(ArtifactError, match=r"source\.model=.*has other weights than the source of the fit"):
            evaluate(public.folder, data, models={"source": f"{tmp_path}/other", "target": f"{home}/models/xlnet"})
        assert check_output_folder(public.folder, asked), "it is the finished result of that recipe"
        with pytest.raises(ArtifactError, match="another recipe"):
            check_output_folder(public.folder, Recipe.parse(asked.plain(), ["seed=3"]))
