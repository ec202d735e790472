"""Hook points: probing, capturing, replacing, prefixes, the module tree."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
from tiny_models import FAMILIES, TanhConfig, TanhNetwork, hooks_of, tiny
from torch import nn

from hf_stitch.errors import HookError
from hf_stitch.hooks import symbolic_shapes
from hf_stitch.hooks.capture import capture, replaced
from hf_stitch.hooks.module_tree import module_tree
from hf_stitch.hooks.placeholders import Absent
from hf_stitch.hooks.points import HookPoint, denormalise, normalise, resolve, select_features
from hf_stitch.hooks.prefix import apply_prefix_plan, plan_prefix
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.suffix import apply_suffix_plan, run_suffix
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.hooks.trace import probe


def point_of(model: nn.Module, module: str, **options: object) -> HookPoint:
    return probe(model, module, make_inputs_for(model), **options)  # type: ignore[arg-type]


# --- names and features ---------------------------------------------------------------------------------------------


def test_a_hook_point_survives_json() -> None:
    for features in (None, (3, 1)):
        point = HookPoint("a.b", 0, "time_first", 8, features)
        assert HookPoint.from_dict(json.loads(json.dumps(point.to_dict()))) == point


@pytest.mark.parametrize(
    ("change", "message"), [({"layout": "batch_frist"}, "batch_first"), ({"widht": 3}, "widht"), (None, "module")]
)
def test_a_wrong_hook_point_is_refused(change: dict | None, message: str) -> None:
    data = HookPoint("a", None, "flat", 3).to_dict() | (change or {})
    if change is None:
        del data["module"]
    with pytest.raises(HookError, match=message):
        HookPoint.from_dict(data)


@pytest.mark.parametrize("name", ["roberta.encoder.layers.1", "", "roberta.encoder.layer.3"])
def test_a_wrong_name_names_the_nearest(name: str) -> None:
    with pytest.raises(HookError, match=r"roberta.encoder.layer.1|roberta.encoder.layer.2|known: classifier"):
        resolve(tiny("roberta"), name)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("all", None), (None, None), ({"every": 1}, None), ({"every": 3}, (0, 3, 6)), ([5, 0], (5, 0)), ((7,), (7,))],
)
def test_features(spec: object, expected: object) -> None:
    assert select_features(spec, 8) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spec", ["some", {"every": 0}, {"every": 9}, {"each": 2}, {"every": True}, [8], [-1], [1, 1], [], [0.5], [True]]
)
def test_wrong_features_are_refused(spec: object) -> None:
    with pytest.raises(HookError, match="features"):
        select_features(spec, 8)  # type: ignore[arg-type]


# --- probing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "module", "expected"),
    [
        ("wav2vec2", "wav2vec2.encoder.layers.1", (None, "batch_first", 32)),
        ("wav2vec2", "wav2vec2.feature_extractor", (None, "channels_first", 16)),
        ("wav2vec2", "wav2vec2.feature_extractor.conv_layers.0", (None, "channels_first", 16)),
        ("wav2vec2", "wav2vec2.feature_projection", (0, "batch_first", 32)),
        ("wav2vec2", "wav2vec2.encoder", ("last_hidden_state", "batch_first", 32)),
        ("wav2vec2", "lm_head", (None, "batch_first", 12)),
        ("xlnet", "transformer.word_embedding", (None, "time_first", 32)),
        ("xlnet", "transformer.layer.1", (0, "time_first", 32)),
        ("xlnet", "transformer", ("last_hidden_state", "batch_first", 32)),
        ("bert", "bert.pooler", (None, "flat", 32)),
        ("tanh", "layers.1", (None, "flat", 6)),
        ("vit", "vit.layers.1", (None, "batch_first", 32)),
        ("vit", "vit.embeddings.patch_embeddings.projection", (None, "channels_first", 32)),
        ("resnet", "resnet.encoder.stages.0", (None, "channels_first", 8)),
        ("whisper", "encoder.conv2", (None, "channels_first", 32)),
        ("t5_encoder", "encoder.block.1", (0, "batch_first", 32)),
    ],
)
def test_probe_finds_output_layout_and_width(family: str, module: str, expected: tuple) -> None:
    model = tiny(family)
    point = point_of(model, module)
    assert (point.output, point.layout, point.width) == expected
    assert hooks_of(model) == 0


def test_probe_takes_output_and_features() -> None:
    model = tiny("wav2vec2")
    assert point_of(model, "wav2vec2", output="extract_features").width == 16
    assert point_of(model, "wav2vec2", output=1).output == "extract_features"
    assert point_of(model, "lm_head", output=0).output is None
    assert point_of(model, "wav2vec2.feature_projection", output=1, features={"every": 8}).features == (0, 8)


@pytest.mark.parametrize(
    ("family", "module", "output", "message"),
    [
        ("roberta", "roberta.encoder.layer", None, r"container .* usable ones nearby: roberta.encoder.layer.0"),
        ("tanh", "unused", None, "never called"),
        ("xlnet", "transformer.dropout", None, "called 3 times .* usable ones nearby: transformer"),
        ("albert", "albert.encoder.albert_layer_groups.0", None, "called 3 times"),
        ("distilbert", "distilbert.embeddings.position_embeddings", None, "no batch axis"),
        ("roberta", "roberta.encoder.layer.0", 1, "no tensor at output 1"),
        ("xlnet", "transformer.layer.0", 1, "no tensor at output 1"),
        ("bert", "bert", "states", "no tensor at output 'states'"),
        ("llama", "model.rotary_emb", None, "no batch axis|not one vector|gives"),
    ],
)
def test_unusable_points_are_explained(family: str, module: str, output: object, message: str) -> None:
    with pytest.raises(HookError, match=message):
        point_of(tiny(family), module, output=output)


def test_a_model_that_cannot_run_is_explained() -> None:
    with pytest.raises(HookError, match=r"TanhNetwork cannot run on its probe inputs \(inputs \(2, 7\)\)"):
        probe(tiny("tanh"), "layers.0", lambda b, t: {"inputs": torch.zeros(b, t)})


class Odd(nn.Module):
    """Modules with outputs that are no activations."""

    def __init__(self) -> None:
        super().__init__()
        self.config = None
        self.parts = nn.ModuleList(nn.Identity() for _ in range(5))
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        b, t = inputs.shape[:2]
        self.parts[0](torch.ones(b, t, dtype=torch.long))
        self.parts[1](torch.ones(b, t))
        self.parts[2](torch.ones(b, 4, t, t))
        self.parts[3]("text")
        self.parts[4](torch.ones(b * t * t, 4))
        return self.head(inputs)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (0, "int64 values"),
        (1, "no feature axis"),
        (2, "channels"),
        (3, "no tensor"),
        (4, "no batch axis"),
    ],
)
def test_odd_outputs(number: int, message: str) -> None:
    model = Odd()
    if number == 2:  # (b, 4, t, t): maps of a convolution
        assert probe(model, "parts.2", lambda b, t: {"inputs": torch.zeros(b, t, 4)}).layout == "channels_first"
        return
    with pytest.raises(HookError, match=message):
        probe(model, f"parts.{number}", lambda b, t: {"inputs": torch.zeros(b, t, 4)})


def test_probe_leaves_training_flags_alone() -> None:
    model = tiny("bert").train()
    model.bert.pooler.eval()
    point_of(model, "bert.encoder.layer.1")
    assert model.training
    assert model.bert.encoder.training
    assert not model.bert.pooler.training


# --- layouts and formulas -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("batch_first", (2, 5, 3)),
        ("batch_first", (2, 4, 4, 3)),
        ("time_first", (5, 2, 3)),
        ("channels_first", (2, 3, 5)),
        ("channels_first", (2, 3, 4, 6)),
        ("flat", (2, 3)),
    ],
)
def test_layouts_are_inverted_by_a_copy(layout: str, shape: tuple[int, ...]) -> None:
    raw = torch.randn(shape)
    values = normalise(raw, layout)  # type: ignore[arg-type]
    assert values.ndim == 3
    assert values.shape[0] == 2
    assert values.shape[2] == 3
    again = denormalise(values, layout, shape)  # type: ignore[arg-type]
    assert torch.equal(again, raw)
    assert again.data_ptr() != raw.data_ptr()
    with pytest.raises(HookError, match="activation here is"):
        denormalise(values[:, :, :2], layout, shape)  # type: ignore[arg-type]


@pytest.mark.parametrize("formula", [5, [1, 0, 1], [1, 0, 4], [0, 1, 0], [0, 2, 1], [0, 20, 75], [1, 1, 0], [1, 2, 3]])
def test_formulas_of_dimensions_are_found(formula: symbolic_shapes.Dim) -> None:
    combos = ((2, 7), (3, 13))
    sizes = [symbolic_shapes.size(formula, *combo) for combo in combos]
    assert symbolic_shapes.fit_dim(sizes, combos) == formula


def test_dimensions_without_a_formula() -> None:
    assert symbolic_shapes.fit_dim((49, 169), ((2, 7), (3, 13))) != [0, 0, 49]
    assert symbolic_shapes.fit_dim((5, 6), ((2, 7), (3, 13))) is None
    tensor = symbolic_shapes.record(torch.zeros(5, 2))
    for other in (
        None,
        symbolic_shapes.record(torch.zeros(5)),
        symbolic_shapes.record((torch.zeros(5, 2),)),
        symbolic_shapes.UNKNOWN,
    ):
        assert symbolic_shapes.known(symbolic_shapes.fit([tensor, other], ((2, 7), (3, 13)))) is False
    assert symbolic_shapes.record(object()) == symbolic_shapes.UNKNOWN


def test_a_plan_imports_nothing_but_transformers() -> None:
    with pytest.raises(ValueError, match="refusing"):
        symbolic_shapes.build({"mapping": {}, "class": "os.environ"}, lambda dims, dtype: torch.zeros(()))


# --- capture --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "roberta", "bert", "gpt2", "xlnet"])
def test_capture_equals_hidden_states(family: str) -> None:
    model = tiny(family)
    module = {
        "wav2vec2": "wav2vec2.encoder.layers.0",
        "hubert": "hubert.encoder.layers.0",
        "roberta": "roberta.encoder.layer.0",
        "bert": "bert.encoder.layer.0",
        "gpt2": "transformer.h.0",
        "xlnet": "transformer.layer.0",
    }[family]
    inputs = make_inputs_for(model)(2, 6)
    with torch.no_grad():
        found = capture(model, [point_of(model, module)], inputs)[0]
        expected = model(**inputs, output_hidden_states=True).hidden_states[1]
    assert torch.equal(found, expected)


def test_capture_stops_early_and_cleans_up() -> None:
    model = tiny("roberta")
    point = point_of(model, "roberta.encoder.layer.0")
    late = []
    handle = model.roberta.encoder.layer[1].register_forward_hook(lambda *_: late.append(1))
    inputs = make_inputs_for(model)(2, 6)
    capture(model, [point], inputs)
    assert not late
    handle.remove()
    assert hooks_of(model) == 0
    with pytest.raises(ValueError, match="input_ids"):
        capture(model, [point], {"nonsense": 1})
    assert hooks_of(model) == 0


def test_several_points_in_one_pass_are_not_changed_by_what_runs_on() -> None:
    model = tiny("wav2vec2")
    inputs = make_inputs_for(model)(2, 9)
    inputs["attention_mask"] = torch.ones(inputs["input_values"].shape, dtype=torch.long)
    inputs["attention_mask"][1, 100:] = 0  # the encoder zeroes these frames of its input in place
    names = ["lm_head", "wav2vec2.feature_projection", "wav2vec2.encoder.layers.1"]
    points = [point_of(model, name) for name in names]
    with torch.no_grad():
        together = capture(model, points, inputs)
        alone = [capture(model, [point], inputs)[0] for point in points]
        assert torch.equal(together[0], model(**inputs).logits)
    for a, b in zip(together, alone):
        assert torch.equal(a, b)


def test_captured_features_and_width() -> None:
    model = tiny("xlnet")
    inputs = make_inputs_for(model)(2, 5)
    whole = point_of(model, "transformer.layer.1")
    some = replace(whole, features=(7, 0, 31))
    with torch.no_grad():
        all_, chosen = capture(model, [whole, some], inputs)
    assert all_.shape == (2, 5, 32)
    assert torch.equal(chosen, all_[..., [7, 0, 31]])
    with pytest.raises(HookError, match="probed with 33 features; got 32"):
        capture(model, [replace(whole, width=33)], inputs)


def test_capture_refuses_nothing_and_the_unreached() -> None:
    model = tiny("tanh")
    inputs = make_inputs_for(model)(3, 1)
    with pytest.raises(HookError, match="at least one"):
        capture(model, [], inputs)
    with pytest.raises(HookError, match="never called unused"):
        capture(model, [HookPoint("unused", None, "flat", 2)], inputs)
    with pytest.raises(HookError, match="no tensor of a tensor"):
        capture(model, [HookPoint("layers.0", 1, "flat", 8)], inputs)
    assert hooks_of(model) == 0


def test_capture_in_every_gradient_mode() -> None:
    model = tiny("roberta")
    point = point_of(model, "roberta.encoder.layer.1")
    inputs = make_inputs_for(model)(2, 6)
    found = capture(model, [point], inputs)[0]
    found.sum().backward()
    assert model.roberta.encoder.layer[0].output.dense.weight.grad is not None
    assert model.roberta.encoder.layer[2].output.dense.weight.grad is None
    with torch.inference_mode():
        assert torch.equal(capture(model, [point], inputs)[0], found)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        coarse = capture(model, [point], inputs)[0]
    assert torch.allclose(coarse.float(), found, atol=0.1)
    assert not torch.is_autocast_enabled("cpu")


# --- replace --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "module"),
    [
        ("wav2vec2", "wav2vec2.feature_extractor"),
        ("xlnet", "transformer.layer.0"),
        ("bert", "bert.encoder"),
        ("tanh", "layers.0"),
    ],
)
def test_replacing_with_itself_changes_nothing(family: str, module: str) -> None:
    model = tiny(family)
    point, inputs = point_of(model, module), make_inputs_for(model)(2, 6)
    with torch.no_grad():
        plain = model(**inputs).logits
        value = capture(model, [point], inputs)[0]
        with replaced(model, point, value):
            assert torch.equal(model(**inputs).logits, plain)
        with replaced(model, point, value + 1):
            assert not torch.equal(model(**inputs).logits, plain)
        some = replace(point, features=(2, 0))
        with replaced(model, some, value[..., [2, 0]]):
            assert torch.equal(model(**inputs).logits, plain)
    assert hooks_of(model) == 0


def test_replacing_keeps_the_value_itself() -> None:
    model = tiny("wav2vec2")
    point, inputs = point_of(model, "wav2vec2.feature_projection"), make_inputs_for(model)(2, 6)
    inputs["attention_mask"] = torch.ones(inputs["input_values"].shape, dtype=torch.long)
    inputs["attention_mask"][1, 60:] = 0
    value = torch.ones(2, 6, 32)
    with torch.no_grad(), replaced(model, point, value):
        model(**inputs)
    assert bool((value == 1).all())


def test_replacing_refuses_wrong_sizes_and_the_unreached() -> None:
    model = tiny("bert")
    point, inputs = point_of(model, "bert.encoder.layer.1"), make_inputs_for(model)(2, 6)
    with (
        pytest.raises(HookError, match=r"\(2, 6, 32\); got \(2, 5, 32\)"),
        replaced(model, point, torch.zeros(2, 5, 32)),
    ):
        model(**inputs)
    assert hooks_of(model) == 0
    with pytest.raises(HookError, match="never called"), replaced(model, point, torch.zeros(2, 6, 32)):
        pass


# --- prefixes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "modules", "absent", "dropped"),
    [
        (
            "wav2vec2",
            ["wav2vec2.encoder.layers.1"],
            ["wav2vec2.encoder.layers.2", "lm_head"],
            ["wav2vec2.masked_spec_embed"],
        ),
        ("wav2vec2", ["wav2vec2.encoder.layers.0", "lm_head"], [], ["wav2vec2.masked_spec_embed"]),
        ("wav2vec2", ["wav2vec2.feature_extractor"], None, ["wav2vec2.masked_spec_embed"]),
        ("hubert", ["hubert.encoder.layers.2"], ["lm_head"], ["hubert.masked_spec_embed"]),
        ("xlnet", ["transformer.layer.0"], None, ["transformer.mask_emb"]),
        ("roberta", ["roberta.embeddings.word_embeddings"], None, None),
        ("gpt2_lm", ["transformer.h.0"], ["transformer.h.1", "transformer.h.2", "transformer.ln_f", "lm_head"], []),
        ("t5", ["encoder.block.1"], None, None),
        ("bart", ["model.encoder.layers.0"], None, None),
        ("whisper", ["encoder.layers.1"], None, None),
        ("vit", ["vit.layers.1"], None, None),
        ("tanh", ["layers.1"], ["layers.2", "unused"], []),
    ],
)
def test_a_prefix_gives_the_same_activations_and_survives_a_round_trip(
    family: str, modules: list[str], absent: list[str] | None, dropped: list[str] | None
) -> None:
    model = tiny(family)
    make = make_inputs_for(model)
    points = [point_of(model, module) for module in modules]
    before = hooks_of(model)
    names = list(model.state_dict())
    plan = json.loads(json.dumps(plan_prefix(model, points)))
    assert hooks_of(model) == before
    assert list(model.state_dict()) == names
    assert absent is None or plan["absent"] == absent
    assert dropped is None or plan["dropped"] == dropped
    cut = apply_prefix_plan(copy.deepcopy(model), plan)
    assert sum(p.numel() for p in cut.parameters()) < sum(p.numel() for p in model.parameters()) or not absent
    with torch.device("meta"):
        fresh = type(model)(copy.deepcopy(model.config))
        apply_prefix_plan(fresh, plan)
    fresh = apply_prefix_plan(type(model)(cut.config), plan).eval()
    fresh.load_state_dict(cut.state_dict(), strict=True)
    with torch.no_grad():
        for combo in ((2, 7), (4, 9)):
            expected = capture(model, points, make(*combo))
            for other in (cut, fresh):
                found = capture(other, points, make(*combo))
                assert all(torch.equal(a, b) for a, b in zip(found, expected))


def test_a_prefix_refuses_to_run_on() -> None:
    model = tiny("wav2vec2")
    inputs = make_inputs_for(model)(2, 7)
    plan = plan_prefix(model, [point_of(model, "wav2vec2.encoder.layers.1")])
    apply_prefix_plan(model, plan)
    assert isinstance(model.lm_head, Absent)
    assert "lm_head" in repr(model)
    with pytest.raises(HookError, match="pruned away: this is the prefix"):
        model(**inputs)


def test_a_prefix_can_be_saved_and_trained_without_its_noise() -> None:
    model = tiny("wav2vec2", layerdrop=1.0, mask_time_prob=0.5)
    point = point_of(model, "wav2vec2.encoder.layers.0")
    apply_prefix_plan(model, plan_prefix(model, [point]))
    model.train()
    assert capture(model, [point], make_inputs_for(model)(2, 30))[0].shape == (2, 30, 32)


def test_wrong_prefix_plans_are_refused() -> None:
    model = tiny("tanh")
    with pytest.raises(HookError, match="at least one"):
        plan_prefix(model, [])
    with pytest.raises(HookError, match="never called"):
        plan_prefix(model, [HookPoint("unused", None, "flat", 2)])
    plan = plan_prefix(model, [point_of(model, "layers.0")])
    with pytest.raises(HookError, match="expected a prefix plan"):
        apply_prefix_plan(model, plan | {"version": 99})
    with pytest.raises(HookError, match="has no module"):
        apply_prefix_plan(tiny("bert"), plan)
    with pytest.raises(HookError, match="has no parameter 'weight'"):
        apply_prefix_plan(model, plan | {"absent": [], "dropped": ["weight"]})


# --- the tree and the inputs ----------------------------------------------------------------------------------------


def test_the_module_tree() -> None:
    model = tiny("xlnet")
    rows = {row["name"]: row for row in module_tree(model)}
    assert set(rows) == {name for name, _ in model.named_modules()} - {""}
    layer = rows["transformer.layer.1"]
    assert (layer["usable"], layer["layout"], layer["width"], layer["calls"]) == (True, "time_first", 32, 1)
    assert layer["shape"] == "tuple[(t, b, 32), None]"
    assert layer["depth"] == 2
    assert layer["parameters"] == sum(p.numel() for p in model.transformer.layer[1].parameters())
    assert rows["transformer.layer"]["reason"].startswith("is a container")
    assert "times" in rows["transformer.dropout"]["reason"]
    assert rows["transformer"]["shape"] == "{last_hidden_state: (b, t, 32)}"
    json.dumps(list(rows.values()))


def test_symbols() -> None:
    cases = {
        "t+1": [0, 1, 1],
        "2t": [0, 2, 0],
        "b": [1, 0, 1],
        "b*4": [1, 0, 4],
        "b*t": [1, 1, 0],
        "b*(t-1)": [1, 1, -1],
    }
    assert {symbolic_shapes.symbol(dim) for dim in cases.values()} == set(cases)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_probe_inputs_are_reproducible_and_run(family: str) -> None:
    model = tiny(family)
    make = make_inputs_for(model)
    first, again = make(2, 5), make(2, 5)
    state = torch.random.get_rng_state()
    make(2, 5)
    assert torch.equal(state, torch.random.get_rng_state())
    for key, value in first.items():
        assert torch.equal(value, again[key]) if isinstance(value, torch.Tensor) else value == again[key]
    with torch.no_grad():
        model(**first)


def test_probe_tokens_are_ordinary_and_frames_exact() -> None:
    ids = make_inputs_for(tiny("gpt2"))(50, 20)["input_ids"]
    assert not set(ids.unique().tolist()) & {0, 1}
    model = tiny("wav2vec2")
    for length in (1, 2, 17):
        samples = make_inputs_for(model)(1, length)["input_values"]
        frames = [model._get_feat_extract_output_lengths(n) for n in (samples.shape[1] - 1, samples.shape[1])]
        assert [int(f) for f in frames] == [length - 1, length]


def test_unknown_inputs_are_refused() -> None:
    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(x)

    with pytest.raises(HookError, match="no default probe inputs for Strange with main input 'x'"):
        make_inputs_for(Strange())
    assert make_inputs_for(nn.Sequential(nn.Linear(5, 2)))(3, 1)["input"].shape == (3, 5)
    assert make_inputs_for(TanhNetwork(TanhConfig(layer_sizes=(7, 2))))(3, 9)["inputs"].shape == (3, 7)


class Cached(nn.Module):
    """A block that also returns something no plan can make again."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Keeper()
        self.head = nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden, store = self.block(inputs)
        assert store.used
        return self.head(hidden)


class Store:
    used = True


class Keeper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, Store]:
        return self.linear(inputs), Store()


def test_outputs_that_are_only_partly_tensors() -> None:
    model = Cached()

    def make(b: int, t: int) -> dict[str, torch.Tensor]:
        return {"inputs": torch.randn(b, t, 4, generator=torch.Generator().manual_seed(b * t))}

    point = probe(model, "block", make)
    assert (point.output, point.layout) == (0, "batch_first")
    assert [row["shape"] for row in module_tree(model, make) if row["name"] == "block"] == ["tuple[(b, t, 4), ?]"]
    values = torch.randn(2, 5, 4)
    expected = model.head(values)
    plan = plan_suffix(model, point, make)
    apply_suffix_plan(model, plan)
    assert torch.equal(run_suffix(model, plan, values), expected)


def test_a_compiled_model_is_read_all_the_same() -> None:
    model = tiny("roberta")
    inputs = make_inputs_for(model)(2, 6)
    compiled = torch.compile(model, backend="eager")
    point = point_of(compiled, "roberta.encoder.layer.0")  # type: ignore[arg-type]
    with torch.no_grad():
        compiled(**inputs)  # hooks added from here on would not be called
        assert torch.equal(capture(compiled, [point], inputs)[0], capture(model, [point], inputs)[0])
    assert module_tree(compiled) == module_tree(model)  # type: ignore[arg-type]
    assert plan_suffix(compiled, point) == plan_suffix(model, point)  # type: ignore[arg-type]
