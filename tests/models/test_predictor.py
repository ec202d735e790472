"""What `Predictor` and `hf-stitch predict` make of inputs that are not as the model takes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import transformers as tf
from stitches import ears, end, preparer, saved
from tiny_models import tiny

import hf_stitch
from hf_stitch.cli.main import main
from hf_stitch.errors import DataError
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.samples import load_samples
from hf_stitch.models.predictor import Predictor
from hf_stitch.recipe.data import Data
from hf_stitch.zoo.networks.tanh import TanhNetworkConfig, TanhNetworkModel

hf_stitch.register()
LONG = "x" * 5000


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors of four numbers onto a classifier of texts."""
    source, target = TanhNetworkModel(TanhNetworkConfig(layer_sizes=[4, 8, 6, 3])), tiny("roberta")
    there = end(target, "roberta.encoder.layer.1", preparer(target))
    return saved(tmp_path_factory.mktemp("numbers") / "model", end(source, "layers.0", preparer(source)), there)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, target = tiny("roberta"), tiny("roberta")
    here = end(source, "roberta.encoder.layer.1", preparer(source))
    there = end(target, "roberta.encoder.layer.1", preparer(target))
    return saved(tmp_path_factory.mktemp("reader") / "model", here, there)


@pytest.fixture(scope="module")
def hearer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tiny("roberta")
    there = end(target, "roberta.encoder.layer.1", preparer(target))
    return saved(tmp_path_factory.mktemp("hearer") / "model", ears(), there)


@pytest.mark.parametrize("odd", ["1 2 3", "1 2 3 4 5", "7"])
def test_vectors_of_another_width_are_told_and_the_others_answered(numbers: Path, odd: str) -> None:
    one, bad = Predictor(numbers, device="cpu"), list[str]()
    lines = ["1 2 3 4", odd, "4 3 2 1"]
    found = list(one(lines, lambda error: bad.append(str(error))))
    assert [row["input"] for row in found] == [lines[0], lines[2]]
    assert bad == [f"{odd!r}: expected 4 numbers, as many as the model takes; got {len(odd.split())}"]
    alone = list(Predictor(numbers, device="cpu")([lines[2]]))
    assert found[1]["scores"] == pytest.approx(alone[0]["scores"])


@pytest.mark.parametrize("width", [1, 3, 5])
def test_pipelines_and_tables_refuse_them_too(numbers: Path, tmp_path: Path, width: int) -> None:
    pipe = tf.pipeline("stitched-classification", model=str(numbers), device="cpu")
    with pytest.raises(DataError, match=rf"expected vectors of 4 numbers, as many as the model takes; got .*{width}"):
        pipe(np.ones(width))
    (tmp_path / "a.jsonl").write_text(f'{{"x": [1, 2, 3, 4]}}\n{{"x": {[1.0] * width}}}')
    asked = Data.model_validate({"dataset": str(tmp_path / "a.jsonl"), "columns": {"source": "x"}})
    takes = Preparer("vector", "inputs", width=4)
    samples = load_samples(asked, takes, takes, "fit")
    assert samples.batch([0], 0)[0].tolist() == [1, 2, 3, 4]
    for read in (lambda: samples.source(1), lambda: samples.batch([0, 1], 0), lambda: samples.batch([1], 1)):
        with pytest.raises(DataError, match=rf"fit sample '1': column 'x' has {width} numbers, the model takes 4"):
            read()


@pytest.mark.parametrize("kind", ["numbers", "reader", "hearer"])
def test_paths_that_no_file_can_have_cost_nothing_else(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = request.getfixturevalue(kind)
    if kind == "hearer":
        import soundfile

        good = tmp_path / "a.wav"
        soundfile.write(good, np.random.default_rng(0).normal(0, 0.1, 420), 16000)
    else:
        good = tmp_path / "a.txt"
        good.write_text("1 2 3 4" if kind == "numbers" else "w4 w5")
    assert main(["predict", str(folder), LONG, str(good)]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith("hf-stitch: ")]) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["predict", LONG, "a.wav"],
        ["evaluate", LONG],
        ["inspect", LONG],
        ["fit", LONG],
        ["fit", "parabola", "--out", LONG],
        ["fit", "parabola", "--out", "OUT", f"source.model={LONG}"],
        ["fit", "parabola", "--out", "OUT", f"data.fit.dataset={LONG}.csv"],
        ["fit", "parabola", "--out", "OUT", f"data.fit.dataset=./{LONG}"],
        ["predict", "~nobody-of-this-name/model", "a.wav"],
        ["fit", "parabola", "--out", "OUT", "source.model=~nobody-of-this-name/model"],
    ],
    ids=lambda words: " ".join(word[:24] for word in words),
)
def test_names_that_no_file_can_have_are_told_in_one_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "out") if word == "OUT" else word for word in words]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith("hf-stitch: ")]) == 1


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_a_text_ends_at_the_end_of_its_line_alone(reader: Path, tmp_path: Path, odd: str) -> None:
    texts = [f"w4{odd}w5", "w6"]
    (tmp_path / "a.txt").write_text("\ufeff" + "\n".join(texts), encoding="utf-8")
    one = Predictor(reader, device="cpu")
    assert [row["input"] for row in one([tmp_path / "a.txt"])] == texts
    assert [row["input"] for row in one([(tmp_path / "a.txt").read_bytes()])] == texts


def test_a_text_in_another_encoding_says_what_to_do(reader: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("schön".encode("cp1252"))
    said = r"a\.txt: not text in UTF-8 .*; save it as UTF-8, such as by iconv -f cp1252"
    with pytest.raises(DataError, match=said):
        list(Predictor(reader, device="cpu")([tmp_path / "a.txt"]))
