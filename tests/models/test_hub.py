"""The Hub, over real HTTP to one on this machine: push, load by id, refusals, and answers in a fresh process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
import yaml
from local_hub import TOKEN, LocalHub, Repository, python
from pico_recipes import listening, reading
from pico_speech import RATE, say
from PIL import Image

from hf_stitch.errors import ArtifactError, HubError
from hf_stitch.experiments.fit import fit
from hf_stitch.models.hub.publishing import check_folder
from hf_stitch.models.hub.shim import FILE
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.side import SIDES


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    with LocalHub() as serving:
        yield serving


def made(content: dict[str, Any], folder: Path) -> Path:
    fit(Recipe.parse(content), folder, device="cpu")
    return folder


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, pico_roberta: Path, pico_xlnet: Path, written: Path) -> Path:
    return made(reading(pico_roberta, pico_xlnet, written), tmp_path_factory.mktemp("reader") / "out")


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory, pico_listener: Path, pico_xlnet: Path, spoken: Path) -> Path:
    content = listening(pico_listener, pico_xlnet, spoken, stitch={"method": "affine"})
    return made(content, tmp_path_factory.mktemp("listener") / "out")


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT onto another ViT, on pictures of noise."""
    base, draw = tmp_path_factory.mktemp("viewer"), np.random.default_rng(0)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        config = tf.ViTConfig(**small, image_size=16, patch_size=8, id2label={0: "dark", 1: "light"})
        tf.ViTForImageClassification(config).save_pretrained(base / name)
        tf.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(base / name)
    for split, count in (("fit", 12), ("test", 6)):
        rows = []
        for i in range(count):
            Image.fromarray(draw.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(base / f"{split}{i}.png")
            rows.append({"picture": f"{split}{i}.png", "label": i % 2})
        (base / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ends = {
        side: {"model": str(base / n), "hook": "vit.layers.0"} for side, n in (("source", "one"), ("target", "two"))
    }
    columns = {"source": "picture", "label": "label"}
    data = {split: {"dataset": str(base / f"{split}.jsonl"), "columns": columns} for split in ("fit", "test")}
    return made({**ends, "data": data}, base / "out")


ANSWERS = """
import json, sys
import numpy as np
from PIL import Image
import hf_stitch
from transformers import pipeline
hf_stitch.register()
def ask(name, given):
    pipe = pipeline(model=name)
    return [pipe.task, type(pipe.model).__name__, pipe(given)]
print(json.dumps([
    ask("me/reader", "the film was very good"),
    ask("me/listener", np.load(SOUND)),
    ask("me/viewer", Image.open(PICTURE)),
]))
"""


def test_fit_push_pipeline(hub: LocalHub, tmp_path: Path, reader: Path, listener: Path, viewer: Path) -> None:
    pushes = [["push", str(one), f"me/{one.parent.name.rstrip('0123456789')}"] for one in (reader, listener, viewer)]
    code = f"from hf_stitch.cli.main import main\nprint([main(words) for words in {pushes!r}])"
    said = python(hub, tmp_path / "pusher", code).splitlines()
    assert said[-1] == "[0, 0, 0]"
    assert all(hub.url in line for line in said[:-1])
    held = hub.repositories["me/listener"].at("main")[1]
    wanted = {"config.json", "model.safetensors", "recipe.yaml", "report.json", "report.html", "README.md", FILE}
    assert wanted <= set(held)
    assert not [name for name in held if name.endswith((".bin", ".pt", ".pkl"))]
    np.save(tmp_path / "sound.npy", say("so it not a"))
    picture = viewer.parent / "test0.png"
    code = f"SOUND, PICTURE = {str(tmp_path / 'sound.npy')!r}, {str(picture)!r}\n{ANSWERS}"
    read, heard, seen = json.loads(python(hub, tmp_path / "reader", code).splitlines()[-1])
    assert [read[0], heard[0], seen[0]] == ["text-classification", "audio-classification", "image-classification"]
    assert {read[1], heard[1], seen[1]} == {"StitchedModel"}
    assert read[2][0]["label"] in ("negative", "positive")
    own = StitchedModel.from_pretrained(reader).eval()
    inputs = tf.AutoTokenizer.from_pretrained(reader)("the film was very good", return_tensors="pt")
    with torch.no_grad():
        chances = own(**inputs).logits.softmax(-1)
    assert read[2][0]["score"] == pytest.approx(float(chances.max()), abs=1e-6)
    assert sum(one["score"] for one in heard[2]) == pytest.approx(1, abs=1e-5)
    assert {one["label"] for one in seen[2]} == {"dark", "light"}


LOADS = """
import json, torch, sys
from huggingface_hub import ModelCard, snapshot_download, model_info
from hf_stitch import StitchedModel
from hf_stitch import evaluate
from hf_stitch.models.predictor import Predictor
model = StitchedModel.from_pretrained(FOLDER)
model.push_to_hub("me/sharded", max_shard_size="4KB", commit_message="in pieces")
first = model_info("me/sharded").sha
model.push_to_hub("me/sharded", revision="dev")
model.save_pretrained(FOLDER + "-saved", push_to_hub=True, repo_id="me/saved", commit_message="saved")
there = StitchedModel.from_pretrained("me/sharded")
at_first = StitchedModel.from_pretrained("me/sharded", revision=first)
dev = StitchedModel.from_pretrained("me/sharded", revision="dev")
def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
card = ModelCard.load("me/sharded").data
folder = snapshot_download("me/sharded")
there.push_to_hub("me/again")
def measured(*words, **more):
    return [[m.name, m.value] for m in evaluate(*words, **more).measures if m.method == "affine"]
print(json.dumps({
    "same": [same(model, one) for one in (there, at_first, dev, StitchedModel.from_pretrained("me/again"))],
    "card": [card.library_name, card.pipeline_tag, card.tags], "folder": folder,
    "predicted": [row["label"] for row in Predictor("me/sharded")(["the film was very good"])],
    "measured": [measured(FOLDER), measured("me/sharded", DATA, models=MODELS)],
}))
"""


def test_loading_by_id_in_shards_and_by_revision(hub: LocalHub, tmp_path: Path, reader: Path) -> None:
    asked = yaml.safe_load((reader / "recipe.yaml").read_text())
    data, models = {"dataset": asked["data"]["test"]["dataset"]}, {side: asked[side]["model"] for side in SIDES}
    code = f"FOLDER, DATA, MODELS = {str(reader)!r}, {data!r}, {models!r}\n{LOADS}"
    told = json.loads(python(hub, tmp_path, code).splitlines()[-1])
    assert told["same"] == [True] * 4
    assert told["card"][:2] == ["transformers", "text-classification"]
    assert "hf_stitch" in told["card"][2]
    shards = [name for name in hub.repositories["me/sharded"].at("main")[1] if name.endswith(".safetensors")]
    assert len(shards) > 2
    assert "dev" in hub.repositories["me/sharded"].branches
    saved = hub.repositories["me/saved"].at("main")[1]
    assert {"README.md", "report.json", "model.safetensors"} <= set(saved)
    assert not [name for name, raw in saved.items() if str(reader.parents[1]).encode() in raw]
    pushed = yaml.safe_load((Path(told["folder"]) / "recipe.yaml").read_text())
    for one in (pushed, asked):
        for part in (one["source"], one["target"]):
            part["model"] = Path(part["model"].removeprefix("local:")).name
        for part in one["data"].values():
            part["dataset"] = Path(part["dataset"].removeprefix("local:")).name
    assert pushed == asked, "all but the places"
    assert told["predicted"][0] in ("negative", "positive")
    assert told["measured"][0]
    assert told["measured"][0] == told["measured"][1]


def test_refusals(hub: LocalHub, tmp_path: Path, reader: Path) -> None:
    """Each ends with status 2 and one line."""
    pushed = ["push", str(reader)]
    clean = shutil.copytree(reader, tmp_path / "with")
    (clean / "weights.bin").write_bytes(b"pickle")
    asked: list[tuple[str, list[str], str]] = [
        ("hf_wrong", [*pushed, "me/x"], "refuses the token (401)"),
        (TOKEN, ["predict", "me/absent", "text"], "me/absent: no such repository"),
        (TOKEN, ["push", str(tmp_path), "me/x"], "missing; expected a folder that `hf-stitch fit` wrote to the end"),
        (TOKEN, [*pushed, "me/a/b"], "cannot name a repository"),
        (TOKEN, [*pushed, "me/x", "--form", "thin"], "--form 'thin' is unknown"),
        (TOKEN, [*pushed, "me/x", "--form", "map"], "which nobody else has"),
        (TOKEN, ["push", str(clean), "me/clean"], "weights.bin was left out"),
        (TOKEN, ["local", "me/clean", "v9"], "no branch, tag or commit 'v9'"),
    ]
    code = f"""
import contextlib, io, json, os
from hf_stitch.cli.main import main
from hf_stitch.errors import HubError
from hf_stitch.models.hub.repository import local
def run(words):
    if words[0] != "local":
        return main(words)
    try:
        local(*words[1:])
    except HubError as error:
        print(error, file=sys.stderr)
        return 2
found = []
import sys
for token, words, _ in {asked!r}:
    os.environ["HF_TOKEN"] = token
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        status = run(words)
    found.append([status, said.getvalue()])
print(json.dumps(found))
"""
    told = json.loads(python(hub, tmp_path, code).splitlines()[-1])
    for (_, words, expected), (status, said) in zip(asked, told, strict=True):
        assert expected in said, said
        assert status == (0 if "me/clean" in words and words[0] == "push" else 2), words
        assert "Traceback" not in said
    assert "weights.bin" not in hub.repositories["me/clean"].at("main")[1]


MAP_ONLY = """
import json, torch
from huggingface_hub import HfApi
import hf_stitch
api = HfApi()
commits = {}
for name, folder in BASES.items():
    api.create_repo(name, exist_ok=True)
    commits[name] = api.upload_folder(repo_id=name, folder_path=folder).oid
model, report = hf_stitch.fit(hf_stitch.Recipe.parse(RECIPE), OUT, device="cpu")
again = hf_stitch.StitchedModel.from_pretrained(OUT)
from hf_stitch.models.hub.map_only import map_weights
again.push_to_hub("me/thin")
there = hf_stitch.StitchedModel.from_pretrained("me/thin").eval()
ids = torch.tensor([[4, 5, 6, 7]])
with torch.no_grad():
    logits = [one.eval()(input_ids=ids).logits for one in (model, again, there)]
half = hf_stitch.StitchedModel.from_pretrained("me/thin", dtype=torch.bfloat16)
print(json.dumps({"commits": commits, "same": [torch.equal(logits[0], one) for one in logits],
                  "half": str(half.prefix.dtype), "pinned": there.config.ends["prefix"]["revision"],
                  "names": sorted({n.split(".")[0] for n in map_weights(there.state_dict())})}))
"""


def test_the_thin_form_takes_the_halves_from_their_own_repositories(
    hub: LocalHub, tmp_path: Path, pico_roberta: Path, pico_xlnet: Path, written: Path
) -> None:
    content = reading(pico_roberta, pico_xlnet, written, sequence={"length": "resample"}, save="map", trust="none")
    content["source"]["model"], content["target"]["model"] = "me/base", "me/other"
    bases = {"me/base": str(pico_roberta), "me/other": str(pico_xlnet)}
    code = f"BASES, RECIPE, OUT = {bases!r}, {content!r}, {str(tmp_path / 'out')!r}\n{MAP_ONLY}"
    told = json.loads(python(hub, tmp_path, code).splitlines()[-1])
    assert told["same"] == [True] * 3
    assert told["half"] == "torch.bfloat16"
    assert told["pinned"] == told["commits"]["me/base"]
    full = hub.repositories["me/base"].at("main")[1]["model.safetensors"]
    thin = hub.repositories["me/thin"].at("main")[1]["model.safetensors"]
    assert len(thin) < len(full)
    assert not {"prefix", "suffix"} & set(told["names"])


def test_the_thin_form_refuses_other_weights(
    tmp_path: Path, pico_roberta: Path, pico_xlnet: Path, written: Path
) -> None:
    base = shutil.copytree(pico_roberta, tmp_path / "roberta")
    content = reading(base, pico_xlnet, written, sequence={"length": "resample"}, save="map")
    content["data"].pop("test")
    folder = made(content, tmp_path / "out")
    held = yaml.safe_load((folder / "recipe.yaml").read_text())
    assert held["save"] == "map"
    model = StitchedModel.from_pretrained(folder)
    model.save_pretrained(tmp_path / "copy")
    weights = (tmp_path / "copy" / "model.safetensors").read_bytes()
    assert weights == (folder / "model.safetensors").read_bytes()
    with torch.no_grad():
        next(model.prefix.parameters()).add_(1)
    with pytest.raises(ArtifactError, match="save the full form"):
        model.save_pretrained(tmp_path / "other")
    model.config.save = "full"
    model.save_pretrained(tmp_path / "full")
    assert next(StitchedModel.from_pretrained(tmp_path / "full").prefix.parameters()).equal(
        next(model.prefix.parameters())
    )
    torch.manual_seed(5)
    tf.RobertaForSequenceClassification(tf.AutoConfig.from_pretrained(base)).save_pretrained(base)
    with pytest.raises(ArtifactError, match="has other weights now than when the map was fitted"):
        StitchedModel.from_pretrained(folder)
    with pytest.raises(ArtifactError, match="halves are not loaded"):
        StitchedModel(model.config.__class__.from_pretrained(folder)).prefix()


def test_a_model_without_a_folder_is_not_pushed(pico_roberta: Path, pico_xlnet: Path, written: Path) -> None:
    content = reading(pico_roberta, pico_xlnet, written, sequence={"length": "resample"})
    content["data"].pop("test")
    model, _ = fit(Recipe.parse(content), device="cpu")
    with pytest.raises(HubError, match="the Hub is not asked"):  # it knows by itself what lies beside it
        model.push_to_hub("me/x")
    model.companions = None
    with pytest.raises(ArtifactError, match="give fit"):
        model.push_to_hub("me/x")


def test_a_folder_that_is_not_whole_is_not_pushed(tmp_path: Path, reader: Path) -> None:
    folder = shutil.copytree(reader, tmp_path / "part")
    check_folder(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"model\.safetensors missing"):
        check_folder(folder)


def test_the_shim_names_the_package(reader: Path, tmp_path: Path) -> None:
    """Someone without hf_stitch: an interpreter in which it cannot be imported."""
    code = (
        "import sys; sys.modules['hf_stitch'] = None\nfrom transformers import AutoModel\n"
        f"AutoModel.from_pretrained({str(reader)!r}, trust_remote_code=True)"
    )
    there = os.environ | {"HF_HOME": str(tmp_path), "HF_MODULES_CACHE": str(tmp_path / "modules")}
    run = subprocess.run([sys.executable, "-c", code], env=there, capture_output=True, text=True)
    assert run.returncode != 0
    assert "hf_stitch" in run.stderr.splitlines()[-1]


def test_the_config_names_the_shim(listener: Path) -> None:
    config = json.loads((listener / "config.json").read_text())
    assert config["auto_map"]["AutoModelForAudioClassification"] == f"{FILE.removesuffix('.py')}.StitchedModel"
    assert tf.AutoFeatureExtractor.from_pretrained(listener).sampling_rate == RATE


PICKLED = """
from hf_stitch.errors import ArtifactError
from hf_stitch.loading.models import load_model
from hf_stitch.recipe.side import Side
def told(name, revision=None):
    try:
        return type(load_model(Side(model=name, hook="", revision=revision))).__name__
    except ArtifactError as error:
        return str(error)
print(told("me/pickled"), told("me/pickled", "refs/pr/4"), told("me/forgotten"), told("me/indexed"), sep="\\n")
"""


def test_a_model_of_pickles_alone_is_not_loaded_but_its_conversion_is(tmp_path: Path, pico_roberta: Path) -> None:
    files = {path.name: path.read_bytes() for path in pico_roberta.iterdir()}
    pickled = {name: raw for name, raw in files.items() if name != "model.safetensors"} | {"pytorch_model.bin": b"no"}
    with LocalHub() as serving:
        for name in ("me/pickled", "me/forgotten"):
            serving.repositories[name] = Repository(name, private=False)
            serving.repositories[name].commit("main", pickled, b"pickled")
        offered = serving.repositories["me/pickled"]
        offered.requests = {2: "a-stranger", 4: "SFconvertbot"}
        offered.commit("refs/pr/2", files, b"theirs")
        offered.commit("refs/pr/4", files | pickled, b"converted")
        serving.repositories["me/indexed"] = Repository("me/indexed", private=False)
        index = json.dumps({"metadata": {}, "weight_map": {"a": "pytorch_model.bin"}}).encode()
        serving.repositories["me/indexed"].commit("main", pickled | {"model.safetensors.index.json": index}, b"index")
        first, second, third, fourth = python(serving, tmp_path, PICKLED).splitlines()
    assert "pickles are never loaded; the Hub's converter offers them: set `revision: refs/pr/4`" in first
    assert second == "RobertaForSequenceClassification"
    assert "spaces/safetensors/convert and set `revision: refs/pr/NUMBER`" in third
    assert "index.json names 'pytorch_model.bin', and pickles are never loaded" in fourth
    assert not any("pytorch_model.bin" in line and "GET" in line for line in serving.log), "nobody fetched the pickle"
