"""The README's own words: its commands, its Python, its tables, and what they promise, run as a user runs them.

With the pages that it sends its readers to: `recipes/README.md` and `model_cards/README.md`.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from hf_stitch import Recipe, StitchedModel, fit
from hf_stitch.models.predictor import Predictor
from hf_stitch.recipe.keys import methods_table, recipe_keys
from hf_stitch.recipe.shipped import shipped
from hf_stitch.report.rendering.committed_cards import METHODS, PAGES, TABLE, with_tables
from hf_stitch.report.report import Report

ROOT = Path(__file__).parent.parent
README, RECIPES, RESULTS = (
    (ROOT / folder / "README.md").read_text(encoding="utf-8") for folder in ("", "recipes", "model_cards")
)


def blocks(language: str) -> list[str]:
    """Code blocks of one language, in the README's order."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command line with this environment's programs first on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, **environment}
    return subprocess.run(command, shell=True, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repo's recipes, in which README command 1 was run (without its install)."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "recipes").symlink_to(ROOT / "recipes")
    (folder / "cache").mkdir()
    command = blocks("bash")[0].strip()
    install, _, run = command.partition(" && ")
    assert install.startswith("pip install")
    done = shell(run, folder, HF_STITCH_CACHE=str(folder / "cache"))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def stitched(home: Path) -> Path:
    return home / "stitched" / "speech_sentiment"


def test_command_one_writes_everything(stitched: Path) -> None:
    written = {path.name for path in stitched.iterdir()}
    assert written >= {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "recipe.yaml",
        "report.json",
        "report.html",
        "README.md",
    }


def test_command_two_is_what_ci_runs() -> None:
    assert blocks("bash")[1].strip().endswith("&& pytest")
    assert "time pytest" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_default_holds(stitched: Path) -> None:
    report = Report.load(stitched)
    best = report.chosen["method"]
    assert report.chosen["split"] == "validation"
    test = report.measure("agreement", best)
    assert test.n >= 400
    assert test.value >= 0.96
    assert report.value("kappa", best) >= 0.92
    assert report.measure("agreement_minus_cascade", best).low > 0
    assert report.value("agreement", "diffusion+nearest") >= 0.90
    assert report.value("agreement", "diffusion") is not None
    assert report.measure("agreement", "trim").low < 0.55
    assert report.value("wer", "source", "test/known") <= 0.03
    assert report.value("wer", "source", "test/unseen") <= 0.12
    halves = [report.measure("agreement", best, f"test/{voices}").n for voices in ("known", "unseen")]
    assert halves == [test.n / 2, test.n / 2]
    random = [m for m in report.measures if m.low is None or m.high is None]
    assert not random, "every number has an interval"


def test_the_default_trusts_speech_and_nothing_else(stitched: Path) -> None:
    report = Report.load(stitched)
    assert report.diagnostics.trust["calibrated_on"] == "validation", "never on what is tested"
    for split in ("test", "test/known", "test/unseen"):
        assert report.value("abstained", split=split) <= 0.05
    kinds = [m.split for m in report.measures if m.name == "abstained" and m.split.startswith("probe/")]
    assert len(kinds) == 4
    for kind in kinds:
        assert report.value("abstained", split=kind) >= 0.95
        assert report.measure("trust_auroc", split=kind).low >= 0.95
    noise = (0.1 * np.random.default_rng(5).standard_normal(32000)).clip(-1, 1)
    sound = io.BytesIO()
    soundfile.write(sound, noise, 16000, format="WAV")
    [always] = Predictor(stitched)([sound.getvalue()])
    [never] = Predictor(stitched, abstain=0.02)([sound.getvalue()])
    assert always["score"] > 0.5, "a classifier is sure of noise, too"
    assert never["label"] is None
    assert "trust" in never["abstained"]


def test_only_what_runs_is_saved(stitched: Path) -> None:
    counted = Report.load(stitched).parameters
    assert counted["prefix"] < counted["source_whole"]
    assert counted["suffix"] < counted["target_whole"]
    model = StitchedModel.from_pretrained(stitched)
    assert counted["total"] + counted["trust"] == sum(t.numel() for t in model.state_dict().values())
    labels = torch.tensor([0])
    model.trainable("all")
    loss = model(input_values=torch.randn(1, 16000), labels=labels).loss
    loss.backward()
    unused = {name for name, p in model.named_parameters() if p.grad is None}
    # The CTC head decides on words without a gradient; XLNet's layers keep what they need if token types are given.
    head = {name for name in unused if name.startswith(("prefix.lm_head.", "prefix.wav2vec2.encoder.layer_norm."))}
    types = {name for name in unused if name.endswith((".rel_attn.r_s_bias", ".rel_attn.seg_embed"))}
    assert unused == head | types


def test_logits_are_the_same_in_another_process(stitched: Path, tmp_path: Path) -> None:
    script = (
        "import sys, torch; from hf_stitch import StitchedModel\n"
        "model = StitchedModel.from_pretrained(sys.argv[1]).eval()\n"
        "torch.set_num_threads(1); torch.manual_seed(0)\n"
        "torch.save({'logits': model(input_values=torch.randn(2, 20000)).logits.detach()}, sys.argv[2])\n"
    )
    model, _ = fit(Recipe.load(ROOT / "recipes/speech_sentiment.yaml"), out=stitched)  # finished: loaded, not fitted
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    here = model(input_values=torch.randn(2, 20000)).logits
    torch.set_num_threads(threads)
    subprocess.run([sys.executable, "-c", script, str(stitched), str(tmp_path / "x.pt")], check=True)
    assert torch.equal(here, torch.load(tmp_path / "x.pt", weights_only=True)["logits"])


def test_predict_answers_in_the_shell(home: Path, stitched: Path) -> None:
    import pyarrow.parquet as pq

    from hf_stitch.zoo.catalogue import resolve_data

    row = pq.read_table(Path(resolve_data("zoo:opinions")) / "test.parquet").slice(0, 1).to_pylist()[0]
    (home / "some.mp3").write_bytes(row["audio"]["bytes"])
    done = shell("hf-stitch predict stitched/speech_sentiment some.mp3", home)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["label"] in ("negative", "positive")
    assert answer["input"] == "some.mp3"
    assert sum(answer["scores"].values()) == pytest.approx(1, abs=1e-5)


def test_the_python_runs(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[0]], cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    verdict, answer, again = done.stdout.splitlines()
    assert verdict.startswith("The two halves fit")
    affine, orthogonal = map(float, verdict.split()[-2:])
    assert affine >= 0.95
    assert affine > orthogonal + 0.05
    assert answer.split()[0] == "negative"
    assert float(answer.split()[1]) > 0.02
    assert float(again) == affine


def test_the_python_of_objects_runs(home: Path, stitched: Path) -> None:
    soundfile.write(home / "my.wav", 0.1 * np.random.default_rng(0).normal(size=16000), 16000)
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[1]], cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    refused, label, free = done.stdout.splitlines()
    assert "'abstained': 'trust" in refused
    assert label.startswith("positive {'input_ids'")
    assert free == "['layer.module.weight', 'layer.module.bias']"


def test_the_pipelines_run(home: Path, stitched: Path) -> None:
    soundfile.write(home / "my.wav", 0.1 * np.random.default_rng(0).normal(size=16000 * 12), 16000)
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[2]], cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    label, windows, numbers = done.stdout.splitlines()
    assert label.split()[0] in ("negative", "positive")
    assert windows.count("timestamp") == 2
    assert int(numbers.split()[0]) > 0


def test_a_pipeline_answers_on_an_array(stitched: Path) -> None:
    from transformers import AutoFeatureExtractor, pipeline

    import hf_stitch

    hf_stitch.register()
    model, ears = StitchedModel.from_pretrained(stitched), AutoFeatureExtractor.from_pretrained(stitched)
    sound = np.random.default_rng(0).normal(size=16000).astype(np.float32)
    for pipe in (
        pipeline("audio-classification", model=model, feature_extractor=ears),
        pipeline("audio-classification", model=str(stitched)),
    ):
        answers = pipe(sound)
        assert {answer["label"] for answer in answers} == {"negative", "positive"}


def test_text_sentiment_holds(tmp_path: Path) -> None:
    _, report = fit("text_sentiment", out=tmp_path / "text")
    assert report.value("agreement") >= 0.95
    assert report.value("kappa") >= 0.9
    assert report.value("agreement", "trim") < report.value("agreement")
    from transformers import pipeline

    texts = ["it is good", "i do not like the play"]
    pipe = pipeline("text-classification", model=str(tmp_path / "text"))
    wanted = list(Predictor(tmp_path / "text")(texts))
    assert [one["label"] for one in pipe(texts, batch_size=2)] == [one["label"] for one in wanted]
    assert [pipe(text)[0]["score"] for text in texts] == pytest.approx([one["score"] for one in wanted], abs=1e-4)


def test_parabola_holds(tmp_path: Path) -> None:
    _, report = fit("parabola", out=tmp_path / "parabola")
    for direction in ("forward", "backward"):
        assert report.value("output_mse", "diffusion", direction=direction) <= 1e-8
        assert report.value("map_mse", "diffusion", direction=direction) <= 1e-5
        assert report.value("output_mse", "diffusion-target", direction=direction) is not None
        assert report.value("output_mse", "diffusion", "test/interior", direction) is not None
        assert report.value("output_mse", "pairs/median", direction=direction) <= 1e-8
        assert report.measure("output_mse", "pairs/median", direction=direction).n == 5


def test_tables_are_those_of_the_kept_reports() -> None:
    for page in (README, RESULTS):
        assert with_tables(page, ROOT / "model_cards") == page
    assert {page for page in PAGES if TABLE.search((ROOT / page).read_text(encoding="utf-8"))} == set(PAGES)
    small = {path.stem for path in (ROOT / "recipes").glob("*.yaml")}
    genuine = {f"real/{path.stem}" for path in (ROOT / "model_cards" / "real").glob("*.json")}
    assert {found["name"] for found in TABLE.finditer(RESULTS)} == small | genuine
    assert not any(found["rows"] for found in TABLE.finditer(RESULTS)), "whole tables there"


def test_methods_are_listed_as_their_options_say() -> None:
    """What is listed is right; that a new one is listed too comes with the next renewal of all tables."""
    listed = set(METHODS.search(RECIPES)[0].splitlines()[1:-1])
    assert len(listed) >= 2 + 5
    assert listed <= set(methods_table().splitlines())


def test_every_shipped_recipe_is_listed_as_it_describes_itself() -> None:
    rows = re.findall(r"^\| `([\w/]+)` \| ([^|]+) \|$", RECIPES.partition("## Keys")[0], re.MULTILINE)
    assert rows == [(name, Recipe.load(name).description) for name in shipped()]


def test_every_key_that_is_explained_is_one_of_a_recipe() -> None:
    known = {row[0] for row in recipe_keys()}
    cells = re.findall(r"^\| (`.+?) \|", RECIPES.partition("## Keys")[2], re.MULTILINE)
    keys = [cell.partition(", ")[0].strip("`") for cell in cells]
    assert len(keys) >= 12
    for key in keys:
        assert key in known or any(other.startswith(f"{key}.") for other in known), key


@pytest.mark.parametrize("page", ["README.md", "recipes/README.md", "model_cards/README.md"])
def test_links_lead_somewhere(page: str) -> None:
    """Files and headings, as GitHub names their anchors."""
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)\s#]*)(?:#([\w-]+))?\)", text)
    assert links
    for path, anchor in links:
        place = (ROOT / page).parent / path if path else ROOT / page
        assert place.exists(), path
        if anchor:
            heads = re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}, anchor


def test_the_example_recipe_parses() -> None:
    recipes = [Recipe.parse(yaml.safe_load(example)) for example in blocks("yaml")]
    labels = [[label for label, _ in recipe.variants()] for recipe in recipes]
    assert labels == [["rbf+nearest", "affine", "orthogonal"], ["affine", "orthogonal"], ["affine", "orthogonal"]]
