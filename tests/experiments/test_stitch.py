"""Models and data that are held in Python: stitched as a recipe would do it, and left as they were."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from datasets import Dataset
from pico_encoders import encoder
from pico_recipes import ROBERTA_HOOK, XLNET_HOOK
from pico_writers import bart

from hf_stitch import fit, stitch
from hf_stitch.errors import StitchError
from hf_stitch.report.report import Report

COLUMNS = {"source": "text", "label": "label", "id": "id"}
LAYER = "encoder.layer.0"
SAME = {"method": "affine", "compare": ["orthogonal"], "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def few(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first of the written texts, in files."""
    folder = tmp_path_factory.mktemp("few")
    for name, count in {"fit": 24, "validation": 8, "test": 10}.items():
        lines = (written / f"{name}.jsonl").read_text().splitlines()[:count]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def rows(few: Path) -> dict[str, Dataset]:
    """What the files hold, in memory."""
    texts = {name: (few / f"{name}.jsonl").read_text() for name in ("fit", "validation", "test")}
    return {name: Dataset.from_list([json.loads(row) for row in text.splitlines()]) for name, text in texts.items()}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, pico_roberta: Path, pico_xlnet: Path) -> dict[str, Path]:
    """A tiny model of each kind of answer, saved with its tokenizer."""
    return {
        "roberta": pico_roberta,
        "xlnet": pico_xlnet,
        "encoder": encoder(tmp_path_factory.mktemp("encoder"), seed=1),
        "bart": bart(tmp_path_factory.mktemp("bart")),
    }


CLASSES = {
    "roberta": tf.RobertaForSequenceClassification,
    "xlnet": tf.XLNetForSequenceClassification,
    "encoder": tf.BertModel,
    "bart": tf.BartForConditionalGeneration,
}
HOOKS = {
    "roberta": ROBERTA_HOOK,
    "xlnet": XLNET_HOOK,
    "encoder": LAYER,
    "bart": "model.encoder.layers.0",
}


def loaded(folders: dict[str, Path], name: str, *, forgets: bool = True) -> tuple[Any, Any]:
    """A model in memory and its tokenizer; it does not know where it came from."""
    model = CLASSES[name].from_pretrained(folders[name])
    if forgets:
        model.name_or_path = model.config.name_or_path = ""
    return model, tf.AutoTokenizer.from_pretrained(folders[name])


def state(model: torch.nn.Module) -> Any:
    """All that a fit must leave alone: weights, modes, places, flags, configuration."""
    named = [*model.named_parameters(), *model.named_buffers()]
    config = getattr(model, "config", None)
    return (
        {name: one.detach().clone() for name, one in named},
        {name: (one.device, one.dtype, one.requires_grad, one.data_ptr()) for name, one in named},
        [(name, type(module), module.training, len(module._forward_hooks)) for name, module in model.named_modules()],
        None if config is None else copy.deepcopy(config.to_dict()),
    )


def same(one: Any, other: Any) -> bool:
    weights = one[0].keys() == other[0].keys() and all(
        torch.equal(value, other[0][key]) for key, value in one[0].items()
    )
    return weights and one[1:] == other[1:]


@pytest.mark.parametrize(("source", "target"), [("encoder", "roberta"), ("roberta", "encoder"), ("xlnet", "bart")])
def test_models_in_memory_give_the_bytes_of_the_recipe_on_saved_ones(
    source: str, target: str, folders: dict[str, Path], few: Path, rows: dict[str, Dataset], tmp_path: Path
) -> None:
    (one, reads), (other, writes) = loaded(folders, source), loaded(folders, target)
    other.train()
    other.requires_grad_(False)
    before = state(one), state(other)
    columns = COLUMNS if target == "roberta" else {"source": "text", "id": "id"}
    sequence = {"length": "resample"} if target == "encoder" else {"length": "spans"}
    _, report = stitch(
        one, HOOKS[source], other, HOOKS[target], rows, columns=columns, source_processor=reads,
        target_processor=writes, out=tmp_path / "held", sequence=sequence, **SAME,
    )  # fmt: skip
    assert same(state(one), before[0])
    assert same(state(other), before[1])
    data = {name: {"dataset": str(few / f"{name}.jsonl"), "columns": columns} for name in rows}
    ends = {
        "source": {"model": str(folders[source]), "hook": HOOKS[source]},
        "target": {"model": str(folders[target]), "hook": HOOKS[target]},
    }
    asked = {**ends, "data": data, "sequence": sequence, "stitch": {"method": "affine"}, "compare": ["orthogonal"]}
    _, wanted = fit(asked, tmp_path / "named", device="cpu", progress=False)
    assert (tmp_path / "held" / "model.safetensors").read_bytes() == (
        tmp_path / "named" / "model.safetensors"
    ).read_bytes()
    assert report.measures == wanted.measures
    assert {path.name for path in (tmp_path / "held").rglob("*")} == {
        path.name for path in (tmp_path / "named").rglob("*")
    }
    kind = type(one).__name__
    assert report.recipe["source"]["model"] == f"memory:{kind}"
    assert report.recipe["data"]["fit"]["dataset"] == "memory:fit"


def test_the_same_call_resumes_and_another_model_is_told(
    folders: dict[str, Path], rows: dict[str, Dataset], tmp_path: Path
) -> None:
    (one, reads), (other, writes) = loaded(folders, "encoder"), loaded(folders, "roberta")

    def again(source: Any, data: Any = rows, **changes: Any) -> Report:
        more = {
            "source_processor": reads,
            "target_processor": writes,
            "sequence": {"length": "spans"},
            **SAME,
            **changes,
        }
        return stitch(source, LAYER, other, ROBERTA_HOOK, data, columns=COLUMNS, out=tmp_path / "out", **more)[1]

    first = again(one)
    known = [loaded(folders, name, forgets=False)[0] for name in ("encoder", "roberta")]
    by_place = stitch(known[0], LAYER, known[1], ROBERTA_HOOK, rows, columns=COLUMNS, out=tmp_path / "out",
                      sequence={"length": "spans"}, **SAME)[1]  # fmt: skip
    assert by_place.timings == first.timings, "where they came from their tokenizers lie"
    assert again(copy.deepcopy(one)).timings == first.timings, "finished before: nothing was done"
    changed = copy.deepcopy(one)
    with torch.no_grad():
        changed.encoder.layer[0].output.dense.bias[0] += 1
    with pytest.raises(StitchError, match="another source than now"):
        again(changed)
    fewer = {**rows, "fit": rows["fit"].select(range(20))}
    with pytest.raises(StitchError, match=r"another data\.fit than now"):
        again(one, fewer)
    other_words = copy.deepcopy(reads)
    other_words.model_max_length = 5
    with pytest.raises(StitchError, match="another source than now"):
        again(one, source_processor=other_words)
    assert again(changed, overwrite=True).measures != first.measures, "nothing of the other is taken from the cache"


def test_a_folder_by_its_name_gives_its_own_splits(
    folders: dict[str, Path], rows: dict[str, Dataset], tmp_path: Path
) -> None:
    for split, name in (("fit", "train"), ("test", "test")):
        (tmp_path / "data").mkdir(exist_ok=True)
        rows[split].to_parquet(tmp_path / "data" / f"{name}.parquet")
    model, tokenizer = loaded(folders, "roberta", forgets=False)
    given = {"source_processor": tokenizer, "target_processor": tokenizer, "columns": COLUMNS, "compare": "orthogonal"}
    own = (model, ROBERTA_HOOK, model, ROBERTA_HOOK)
    _, report = stitch(*own, str(tmp_path / "data"), **{**SAME, **given}, trust="none")
    assert report.measure("agreement").n == len(rows["test"])
    assert report.value("agreement", method="orthogonal") is not None
    whole = tmp_path / "whole.parquet"
    rows["fit"].to_parquet(whole)
    _, report = stitch(*own, str(whole), **{**SAME, **given, "compare": []}, trust="none")
    assert any("its first 80 % are the fit, the rest the test, in their order" in note for note in report.notes)
