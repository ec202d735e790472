"""Two models and a map that is there: the identity changes nothing, modules are trained where they are, and saved."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from identity import answers, inputs_of
from pico_encoders import by_hand, sentence_transformer
from stitches import words
from tiny_models import tiny
from torch import nn
from transformers import AutoModel

from hf_stitch import StitchedModel
from hf_stitch.errors import ArtifactError, HookError, RecipeError
from hf_stitch.stitching.layers.plain_modules import KNOWN, built, plain

FAMILIES = {
    "bert": "bert.encoder.layer.1",
    "gpt2": "transformer.h.1",
    "gpt2_lm": "transformer.h.1",
    "vit": "vit.layers.1",
    "wav2vec2_stable": "wav2vec2.encoder.layers.1",
    "t5_encoder": "encoder.block.1",
    "albert": "albert.encoder.albert_layer_groups.0.albert_layers.0#1",
    "bart": "model.encoder.layers.0",
}
BERT, NARROW = "bert.encoder.layer.1", "roberta.encoder.layer.0"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_on_itself_by_the_identity_is_the_model(family: str) -> None:
    model, hook = tiny(family), FAMILIES[family]
    model.train()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    stitched = StitchedModel.compose(model, hook, model, hook, nn.Identity() if family == "vit" else "identity")
    assert model.training
    assert all(torch.equal(before[name], one) for name, one in model.state_dict().items())
    model.eval()
    for combo in ((1, 5), (3, 17)):
        inputs = inputs_of(model, combo)
        expected, given = answers(model, inputs), {k: v for k, v in inputs.items() if k not in ("use_cache",)}
        main = "logits" if "logits" in expected else "last_hidden_state"
        assert torch.equal(answers(stitched, given)[main], expected[main])


@pytest.mark.parametrize("mode", ["pooling_mode_cls_token", "pooling_mode_max_tokens"])
def test_an_encoder_that_is_held_makes_its_vector_as_its_folder_says(mode: str, tmp_path: Path) -> None:
    folder = sentence_transformer(tmp_path / "st", pooling={mode: True}, parts=("Normalize",))
    texts = ["the film was very good", "great"]
    held = AutoModel.from_pretrained(folder)
    stitched = StitchedModel.compose(held, "encoder.layer.0", held, "encoder.layer.0")
    np.testing.assert_allclose(stitched.encode(texts), by_hand(folder, texts), atol=1e-6)


@pytest.mark.parametrize(("family", "hook"), [("bert", "classifier"), ("vit", "classifier")])
def test_a_target_at_its_answer_has_nothing_left_but_the_map(family: str, hook: str) -> None:
    model = tiny(family)
    stitched = StitchedModel.compose(model, hook, model, hook)
    inputs = inputs_of(model, (2, 9))
    assert torch.equal(answers(stitched, inputs)["logits"], answers(model, inputs)["logits"])
    assert not list(stitched.suffix.parameters())


def test_a_module_of_torch_on_itself_is_the_module() -> None:
    torch.manual_seed(0)
    module, rows = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)), torch.randn(5, 4)
    stitched = StitchedModel.compose(module, "1", module, "1")
    assert torch.equal(stitched(inputs=rows).logits, module(rows))
    assert stitched.predict(rows.numpy())[0]["values"] == pytest.approx(module(rows)[0].tolist(), abs=1e-6)


def test_a_model_with_adapters_on_itself_is_the_adapted_model() -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    adapted = get_peft_model(
        tiny("bert"), LoraConfig(target_modules=["query", "value"], init_lora_weights=False)
    ).eval()
    hook, ids = "base_model.model.bert.encoder.layer.1", torch.arange(4, 12)[None]
    stitched = StitchedModel.compose(adapted, hook, adapted, hook)
    assert torch.allclose(stitched(input_ids=ids).logits, adapted(input_ids=ids).logits, atol=1e-6)
    assert not torch.allclose(stitched(input_ids=ids).logits, tiny("bert")(input_ids=ids).logits, atol=1e-5)
    assert any("lora" in name for name, _ in adapted.named_parameters()), "it is not changed"


def narrow() -> Any:
    return tiny("roberta", hidden_size=16, num_attention_heads=2)


def composed(layer: Any = None, **more: Any) -> StitchedModel:
    """A BERT of 32 features onto a RoBERTa of 16."""
    made = nn.Linear(32, 16) if layer is None else layer
    return StitchedModel.compose(tiny("bert"), BERT, narrow(), NARROW, made, source_processor=words(), **more)


def test_a_module_is_trained_where_it_is_and_the_halves_are_not() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(32, 8), nn.GELU(), nn.Linear(8, 16, bias=False))
    module[2].weight.requires_grad_(False)
    model = composed(module)
    free = [name for name, one in model.named_parameters() if one.requires_grad]
    assert free == ["layer.module.0.weight", "layer.module.0.bias"]
    model.trainable("layer").train()
    assert module[2].weight.requires_grad
    optimizer, losses = torch.optim.Adam(module.parameters(), 0.05), []
    for _ in range(8):
        loss = model(input_ids=torch.tensor([[4, 9, 7], [5, 5, 8]]), labels=torch.tensor([0, 1])).loss
        optimizer.zero_grad()
        loss.backward()
        assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in module.parameters())
        assert all(one.grad is None for half in (model.prefix, model.suffix) for one in half.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


class Residual(nn.Module):
    """A module of somebody's own."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.inner, self.scale = nn.Linear(32, width), nn.Parameter(torch.tensor(0.5))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.inner(rows) * self.scale + rows[..., : self.inner.out_features]


LAYERS = {
    "linear": lambda: nn.Linear(32, 16, dtype=torch.float64),
    "nested": lambda: nn.Sequential(
        nn.LayerNorm(32, eps=1e-3), nn.Sequential(nn.Linear(32, 16), nn.PReLU()), nn.Dropout(0.5)
    ),
    "own": Residual,
}
SCRIPT = """
import json, sys, torch
from torch import nn
from hf_stitch import StitchedModel
class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.scale = nn.Linear(32, 16), nn.Parameter(torch.zeros(()))
    def forward(self, rows):
        return self.inner(rows) * self.scale + rows[..., :16]
for folder in json.loads(sys.argv[1]):
    given = {"layer": Mine()} if folder.endswith("own") else {}
    model = StitchedModel.from_pretrained(folder, **given).eval()
    torch.save(model(input_ids=torch.tensor([[4, 9, 7]])).logits.detach(), folder + "/logits.pt")
    print(model.predict("w4 w9 w7")["label"], len(model.processor("w4 w9")["input_ids"]))
"""


def test_a_fresh_process_loads_what_was_saved(tmp_path: Path) -> None:
    torch.manual_seed(1)
    models = {name: composed(make()) for name, make in LAYERS.items()}
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
    folders = json.dumps([str(tmp_path / name) for name in models])
    done = subprocess.run([sys.executable, "-c", SCRIPT, folders], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for (name, model), line in zip(models.items(), done.stdout.splitlines(), strict=True):
        found = torch.load(tmp_path / name / "logits.pt", weights_only=True)
        assert torch.allclose(found, model(input_ids=torch.tensor([[4, 9, 7]])).logits, atol=1e-6)
        assert line.split() == [model.predict("w4 w9 w7")["label"], "2"]
    assert not list(tmp_path.rglob("*.bin"))
    with pytest.raises(
        ArtifactError, match=r"the layer .* is a .*Residual, which its own code alone can build.*layer="
    ):
        StitchedModel.from_pretrained(tmp_path / "own")
    with pytest.raises(ArtifactError, match=r"the .*Linear has other weights \(module\.\w+ is .*same build"):
        StitchedModel.from_pretrained(tmp_path / "own", layer=nn.Linear(32, 16))
    with pytest.raises(ArtifactError, match="Residual has other weights"):
        StitchedModel.from_pretrained(tmp_path / "own", layer=Residual(4))
    mine = Residual()
    before = mine.inner.weight.clone()
    StitchedModel.from_pretrained(tmp_path / "own", layer=mine)
    assert torch.equal(mine.inner.weight, before), "a copy takes the weights"
    again = StitchedModel.compose(
        tiny("bert"), BERT, narrow(), NARROW, StitchedModel.from_pretrained(tmp_path / "linear").layer
    )
    ids = torch.tensor([[4, 9, 7]])
    assert torch.allclose(again(input_ids=ids).logits, models["linear"](input_ids=ids).logits, atol=1e-6)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "Linear": {"in_features": 8, "out_features": 6, "bias": False},
    "LayerNorm": {"normalized_shape": 8, "eps": 0.1, "bias": False},
    "RMSNorm": {"normalized_shape": [8], "eps": 0.1},
    "Dropout": {"p": 0.3},
    "AlphaDropout": {"p": 0.3},
    "GELU": {"approximate": "tanh"},
    "Hardtanh": {"min_val": -0.2, "max_val": 0.4},
    "Softmax": {"dim": -1},
    "Softmin": {"dim": -1},
    "LogSoftmax": {"dim": -1},
    "GLU": {"dim": -1},
    "Threshold": {"threshold": 0.1, "value": -3.0},
    "Softplus": {"beta": 2.0, "threshold": 9.0},
    "CELU": {"alpha": 0.7},
    "ELU": {"alpha": 0.7},
    "LeakyReLU": {"negative_slope": 0.3},
    "Softshrink": {"lambd": 0.2},
    "Hardshrink": {"lambd": 0.2},
}


@pytest.mark.parametrize("name", KNOWN)
def test_modules_of_torch_are_built_again_from_plain_data(name: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(getattr(nn, name)(**ARGUMENTS.get(name, {}))).eval()
    for one in module.parameters():
        nn.init.normal_(one)
    rows = torch.randn(2, 3, 8)
    again = built(json.loads(json.dumps(plain(module)))).eval()
    again.load_state_dict(module.state_dict())
    assert torch.equal(again(rows), module(rows))
    assert repr(again) == repr(module)


def test_modules_that_are_more_than_their_class_are_not_taken_for_it() -> None:
    hooked, parametrized, hidden = nn.Linear(2, 2), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), nn.ReLU()
    hooked.register_forward_hook(lambda module, given, found: 2 * found)
    hidden.more = nn.Linear(2, 2)
    subclass = type("Linear", (nn.Linear,), {})(2, 2)
    for module in (hooked, parametrized, hidden, subclass, nn.Sequential(nn.ReLU(), hooked), nn.Conv1d(2, 2, 1)):
        assert plain(module) is None


@pytest.mark.parametrize(
    "spec",
    [{}, None, {"class": "Linear"}, {"class": "os.system"}, {"class": "Module"}, {"class": "Linear", "in_features": 2,
     "out_features": "x", "bias": True}, {"class": "Sequential"}, {"class": "Sequential", "parts": [["0", {}]]},
     {"class": "ReLU", "inplace": True}],
)  # fmt: skip
def test_damaged_layers_are_told(spec: Any) -> None:
    with pytest.raises(ArtifactError, match="the saved layer is damaged"):
        built(spec)


class Mixing(nn.Module):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows[..., :16] + rows.mean(1, keepdim=True)[..., :16]


class Failing(nn.Module):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        raise KeyError("nothing here")


WIDTHS = r"bert\.encoder\.layer\.1 has 32 features, roberta\.encoder\.layer\.0 has 16"


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("identity", rf"the identity keeps the width; {WIDTHS}"),
        (nn.Identity(), rf"the identity keeps the width; {WIDTHS}"),
        (nn.Linear(16, 16), rf"Linear fails on rows of 32 features \(.*\); {WIDTHS}"),
        (nn.Linear(32, 12), rf"Linear makes \(1, 5, 12\) of \(1, 5, 32\), needed is \(1, 5, 16\); {WIDTHS}"),
        (nn.Flatten(), "Flatten makes"),
        (nn.GRU(32, 16, batch_first=True), "GRU gives a tuple; expected one tensor"),
        (Mixing(), "another answer to a timestep when others stand beside it"),
        (Failing(), r"Failing fails on rows of 32 features \('nothing here'\)"),
        ("affine", "expected 'identity', a torch.nn.Module or a fitted map .*; got 'affine'"),
        (None, "got a NoneType"),
        (lambda rows: rows, "got a function"),
        (nn.Linear, "got a type"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layer: Any, said: str) -> None:
    with pytest.raises(RecipeError, match=f"^layer: .*{said}"):
        StitchedModel.compose(tiny("bert"), BERT, narrow(), NARROW, layer)


def test_what_is_no_model_or_no_hook_point_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="source: expected a model, or the name or folder of one; got int"):
        StitchedModel.compose(3, "", narrow(), NARROW)
    with pytest.raises(RecipeError, match="no such folder"):
        StitchedModel.compose(str(tmp_path / "gone"), BERT, narrow(), NARROW)
    with pytest.raises(HookError, match="layer"):
        StitchedModel.compose(tiny("bert"), "bert.encoder.layer.9", narrow(), NARROW)
    with pytest.raises(
        RecipeError, match="source_processor: expected the tokenizer of BertForSequenceClassification; got int"
    ):
        StitchedModel.compose(tiny("bert"), BERT, narrow(), NARROW, source_processor=3)


@pytest.mark.parametrize(
    ("sequence", "width", "positions"),
    [
        ({}, 1, [4, 4, 4, 4]),
        ({"length": "resample", "target_length": "ratio", "ratio": 0.5}, 1, [2, 2, 2, 2]),
        ({"length": "resample", "target_length": "constant", "constant": 3}, 1, [3, 3, 3, 3]),
        ({"length": "pool", "parts": 2}, 2, [1, 1, 1, 1]),
    ],
)
def test_lengths_as_a_recipe_says_them(sequence: dict[str, Any], width: int, positions: list[int]) -> None:
    model = composed(nn.Linear(32 * width, 16), sequence=sequence)
    ids = torch.arange(4, 20).reshape(4, 4)
    _, _, plan = model.crossing({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert plan.mask.sum(1).tolist() == positions
    together, alone = model(input_ids=ids).logits, torch.cat([model(input_ids=one[None]).logits for one in ids])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("sequence", "said"),
    [
        ({"length": "ctc"}, "sequence.length: ctc is learned from samples"),
        ({"length": "spans"}, "sequence.length: spans is learned from samples"),
        ({"target_length": "predicted"}, "sequence.target_length: predicted is learned from samples"),
        ({"lenght": "trim"}, "unknown key 'lenght'; did you mean 'length'"),
        ({"length": "tirm"}, "sequence: .*length"),
        ({"ratio": 0}, "sequence.ratio: expected a number above 0; got 0"),
        ({"ratio": "2"}, "sequence.ratio: expected a number above 0; got '2'"),
        ({"target_length": "constant"}, "constant needs `constant`"),
        ({"target_length": "constant", "constant": 1.5}, "expected a whole number above 0"),
        ({"length": "pool", "ratio": 2}, "sequence.ratio: needs target_length: ratio; got pool"),
    ],
)
def test_lengths_that_nobody_can_know_are_refused(sequence: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        StitchedModel.compose(tiny("bert"), BERT, narrow(), NARROW, nn.Linear(32, 16), sequence=sequence)
