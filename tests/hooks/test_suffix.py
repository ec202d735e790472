"""Suffixes: starting a model from given activations is the same as replacing them in the whole model."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from tiny_models import hooks_of, tiny
from torch import Tensor, nn

from hf_stitch.errors import HookError
from hf_stitch.hooks.capture import capture, replaced
from hf_stitch.hooks.points import HookPoint
from hf_stitch.hooks.prefix import apply_prefix_plan, plan_prefix
from hf_stitch.hooks.probe_inputs import dummy_inputs, make_inputs_for
from hf_stitch.hooks.suffix import apply_suffix_plan, input_length, run_suffix
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.hooks.trace import probe

# family, hook point, (batch, length) never seen in planning, paddings that the model understands
CASES = [
    ("wav2vec2", "wav2vec2.feature_extractor", "r"),
    ("wav2vec2", "wav2vec2.feature_projection", "r"),
    ("wav2vec2", "wav2vec2.encoder.layers.0", "r"),
    ("wav2vec2", "wav2vec2.encoder.layers.1", "r"),
    ("wav2vec2", "wav2vec2.encoder.layers.2", "r"),
    ("wav2vec2", "wav2vec2.encoder", "r"),
    ("wav2vec2", "lm_head", "r"),
    ("wav2vec2_stable", "wav2vec2.feature_projection", "r"),
    ("wav2vec2_stable", "wav2vec2.encoder.layers.1", "r"),
    ("hubert", "hubert.feature_projection", "r"),
    ("hubert", "hubert.encoder.layers.0", "r"),
    ("hubert", "hubert.encoder.layers.2", "r"),
    ("xlnet", "transformer.word_embedding", "lr"),
    ("xlnet", "transformer.layer.0", "lr"),
    ("xlnet", "transformer.layer.1", "lr"),
    ("xlnet", "transformer.layer.2", "lr"),
    ("roberta", "roberta.embeddings.word_embeddings", "lr"),
    ("roberta", "roberta.embeddings", "lr"),
    ("roberta", "roberta.encoder.layer.0", "lr"),
    ("roberta", "roberta.encoder.layer.1", "lr"),
    ("roberta", "roberta.encoder.layer.2", "lr"),
    ("roberta", "classifier.dense", ""),
    ("bert", "bert.embeddings.word_embeddings", "lr"),
    ("bert", "bert.embeddings", "lr"),
    ("bert", "bert.encoder.layer.1", "lr"),
    ("bert", "bert.pooler", ""),
    ("distilbert", "distilbert.embeddings", "lr"),
    ("distilbert", "distilbert.transformer.layer.0", "lr"),
    ("distilbert", "distilbert.transformer.layer.2", "lr"),
    ("modernbert", "model.embeddings", "lr"),
    ("modernbert", "model.layers.0", "lr"),
    ("modernbert", "model.layers.2", "lr"),
    ("gpt2", "transformer.wte", "lr"),
    ("gpt2", "transformer.drop", "lr"),
    ("gpt2", "transformer.h.0", "lr"),
    ("gpt2", "transformer.h.2", "lr"),
    ("gpt2_lm", "transformer.wte", "lr"),
    ("gpt2_lm", "transformer.h.1", "lr"),
    ("llama", "model.embed_tokens", "lr"),
    ("llama", "model.layers.1", "lr"),
    ("vit", "vit.embeddings.patch_embeddings", ""),
    ("vit", "vit.embeddings", ""),
    ("vit", "vit.layers.0", ""),
    ("vit", "vit.layers.1", ""),
    ("vit", "vit.layers.2", ""),
    ("resnet", "resnet.encoder.stages.0", ""),
    ("t5_encoder", "encoder.embed_tokens", "lr"),
    ("t5_encoder", "encoder.block.0", "lr"),
    ("t5_encoder", "encoder.block.1", "lr"),
    ("t5_encoder", "encoder.block.2", "lr"),
    ("t5", "encoder.block.1", "lr"),
    ("t5", "encoder", "lr"),
    ("bart", "model.encoder.layers.0", "r"),
    ("whisper", "encoder.layers.1", ""),
    ("tanh", "layers.0", ""),
    ("tanh", "layers.1", ""),
]


def planned(model: nn.Module, module: str) -> tuple[HookPoint, dict[str, Any]]:
    make = make_inputs_for(model)
    point = probe(model, module, make)
    return point, json.loads(json.dumps(plan_suffix(model, point, make)))


def padded(model: nn.Module, inputs: dict[str, Any], mask: Tensor) -> dict[str, Any]:
    """Inputs with the attention mask (b, t) as the model itself wants it."""
    inputs = dict(inputs)
    if "input_ids" in inputs:
        inputs["attention_mask"] = mask.long()
        if model.config.pad_token_id is not None:
            inputs["input_ids"] = inputs["input_ids"].masked_fill(~mask, model.config.pad_token_id)
        if model.config.is_encoder_decoder:  # BART pools the end token
            last = mask.long().cumsum(1).argmax(1)
            inputs["input_ids"][torch.arange(len(mask)), last] = model.config.eos_token_id
    else:
        samples = inputs["input_values"].shape[1]
        raw = [next(n for n in range(samples + 1) if frames_of(model, n) == int(count)) for count in mask.sum(1)]
        inputs["attention_mask"] = (torch.arange(samples) < torch.tensor(raw)[:, None]).long()
    return inputs


def frames_of(model: nn.Module, samples: int) -> int:
    return int(model._get_feat_extract_output_lengths(samples))


def outputs(output: Any) -> Tensor:
    return output.logits if "logits" in output else output.last_hidden_state


@pytest.mark.parametrize(("family", "module", "sides"), CASES)
def test_the_suffix_is_the_whole_model_with_the_activation_replaced(family: str, module: str, sides: str) -> None:
    model = tiny(family)
    names = list(model.state_dict())
    point, plan = planned(model, module)
    assert hooks_of(model) == 0
    assert list(model.state_dict()) == names
    cut = apply_suffix_plan(copy.deepcopy(model), plan)
    fresh = apply_suffix_plan(type(model)(copy.deepcopy(cut.config)), plan).eval()
    fresh.load_state_dict(cut.state_dict(), strict=True)
    with torch.device("meta"):
        apply_suffix_plan(type(model)(copy.deepcopy(model.config)), plan)
    batch, length = 5, 11
    inputs = make_inputs_for(model)(batch, length)
    masks: list[Tensor | None] = [None]
    steps = torch.arange(length)
    masks += [steps < length - 2 * torch.arange(batch)[:, None]] if "r" in sides else []
    masks += [steps >= 2 * torch.arange(batch)[:, None]] if "l" in sides else []
    for mask in masks:
        real = padded(model, inputs, torch.ones(batch, length).bool() if mask is None else mask) if sides else inputs
        extras = {k: v for k, v in inputs.items() if k.startswith("decoder_")}
        with torch.no_grad():
            values = torch.randn_like(capture(model, [point], real)[0])
            before = values.clone()
            with replaced(model, point, values):
                expected = outputs(model(**real))
            for other in (cut, fresh, model):
                assert torch.equal(outputs(run_suffix(other, plan, values, mask, **extras)), expected)
            assert torch.equal(values, before)
        assert not torch.isnan(expected).all()


@pytest.mark.parametrize(
    ("family", "module", "kept"),
    [
        ("wav2vec2", "wav2vec2.encoder.layers.1", {"wav2vec2.encoder.layers.2", "lm_head"}),
        ("hubert", "hubert.encoder.layers.1", {"hubert.encoder.layers.2", "lm_head"}),
        (
            "wav2vec2_stable",
            "wav2vec2.encoder.layers.1",
            {"wav2vec2.encoder.layer_norm", "wav2vec2.encoder.layers.2", "lm_head"},
        ),
        ("xlnet", "transformer.layer.1", {"transformer.layer.2", "sequence_summary", "logits_proj"}),
        (
            "xlnet",
            "transformer.word_embedding",
            {f"transformer.layer.{i}" for i in range(3)} | {"sequence_summary", "logits_proj"},
        ),
        ("roberta", "roberta.encoder.layer.1", {"roberta.encoder.layer.2", "classifier"}),
        ("bert", "bert.encoder.layer.1", {"bert.encoder.layer.2", "bert.pooler", "classifier"}),
        (
            "distilbert",
            "distilbert.transformer.layer.1",
            {"distilbert.transformer.layer.2", "pre_classifier", "classifier"},
        ),
        ("gpt2_lm", "transformer.h.1", {"transformer.h.2", "transformer.ln_f", "lm_head"}),
        ("t5_encoder", "encoder.block.2", {"encoder.final_layer_norm"}),
        ("tanh", "layers.1", {"layers.2", "unused"}),
    ],
)
def test_nothing_needless_is_kept(family: str, module: str, kept: set[str]) -> None:
    model = tiny(family)
    _, plan = planned(model, module)
    apply_suffix_plan(model, plan)
    left = {name for name in model.state_dict() if not any(name.startswith(f"{k}.") for k in kept)}
    assert not left
    assert {k for k in kept if any(name.startswith(f"{k}.") for name in model.state_dict())} == kept


def test_the_first_t5_block_keeps_only_its_bias() -> None:
    model = tiny("t5_encoder")
    _, plan = planned(model, "encoder.block.1")
    apply_suffix_plan(model, plan)
    left = [name for name in model.state_dict() if name.startswith("encoder.block.0")]
    assert left == ["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    assert "shared.weight" not in model.state_dict()


@pytest.mark.parametrize(
    ("family", "module"),
    [("roberta", "roberta.encoder.layer.0"), ("bert", "bert.embeddings"), ("gpt2", "transformer.h.0")],
)
def test_the_length_limit_goes_with_the_position_table(family: str, module: str) -> None:
    model = tiny(family)
    point, plan = planned(model, module)
    apply_suffix_plan(model, plan)
    values = torch.randn(2, 90, point.width)  # the table has 40
    with torch.no_grad():
        logits = run_suffix(model, plan, values).logits
        alone = run_suffix(model, plan, values[1:]).logits
    assert torch.allclose(logits[1:], alone, atol=1e-6)


@pytest.mark.parametrize("module", ["roberta.embeddings.word_embeddings", "roberta.encoder.layer.1"])
def test_padded_equals_single(module: str) -> None:
    model = tiny("roberta")
    point, plan = planned(model, module)
    apply_suffix_plan(model, plan)
    values = torch.randn(2, 9, point.width)
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    with torch.no_grad():
        batch = run_suffix(model, plan, values, mask).logits
        single = run_suffix(model, plan, values[1:, :4]).logits
    assert torch.allclose(batch[1:], single, atol=1e-6)


@pytest.mark.parametrize(
    ("family", "module"),
    [
        ("xlnet", "transformer.layer.0"),
        ("wav2vec2", "wav2vec2.feature_projection"),
        ("t5_encoder", "encoder.block.0"),
        ("tanh", "layers.0"),
    ],
)
def test_gradients_flow_to_the_values(family: str, module: str) -> None:
    model = tiny(family)
    point, plan = planned(model, module)
    inputs = make_inputs_for(model)(2, 6)
    values = torch.randn(capture(model, [point], inputs)[0].shape, requires_grad=True)
    with replaced(model, point, values):
        (expected,) = torch.autograd.grad(outputs(model(**inputs)).square().sum(), values)
    apply_suffix_plan(model, plan)
    (found,) = torch.autograd.grad(outputs(run_suffix(model, plan, values)).square().sum(), values)
    assert torch.equal(found, expected)
    assert bool(found.abs().sum() > 0)


def test_labels_autocast_and_inference_mode() -> None:
    model = tiny("xlnet")
    point, plan = planned(model, "transformer.layer.1")
    apply_suffix_plan(model, plan)
    values = torch.randn(2, 6, point.width, dtype=torch.float64)
    plain = run_suffix(model, plan, values, labels=torch.tensor([0, 1]))
    assert plain.loss.requires_grad
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        coarse = run_suffix(model, plan, values).logits
    with torch.inference_mode():
        exact = run_suffix(model, plan, values).logits
    assert torch.equal(exact, plain.logits)
    assert torch.allclose(coarse.float(), exact, atol=0.1)
    half = copy.deepcopy(model).to(torch.bfloat16)
    assert run_suffix(half, plan, values).logits.dtype == torch.bfloat16


def test_training_never_skips_the_activation() -> None:
    model = tiny("wav2vec2", layerdrop=1.0, mask_time_prob=0.5, hidden_dropout=0.0, attention_dropout=0.0)
    point, plan = planned(model, "wav2vec2.encoder.layers.0")
    apply_suffix_plan(model, plan)
    assert model.config.layerdrop == 0.0
    values = torch.randn(2, 30, point.width, requires_grad=True)
    run_suffix(model.train(), plan, values).logits.sum().backward()
    assert values.grad is not None
    assert bool(values.grad.abs().sum() > 0)


def test_gradient_checkpointing() -> None:
    model = tiny("roberta")
    point, plan = planned(model, "roberta.encoder.layer.0")
    apply_suffix_plan(model, plan)
    values = torch.randn(2, 6, point.width, requires_grad=True)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    (expected,) = torch.autograd.grad(run_suffix(model.train(), plan, values).logits.sum(), values)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    (found,) = torch.autograd.grad(run_suffix(model, plan, values).logits.sum(), values)
    assert torch.allclose(found, expected, atol=1e-6)


def test_a_bare_hook_point_and_selected_features() -> None:
    model = tiny("bert")
    point, plan = planned(model, "bert.encoder.layer.0")
    values = torch.randn(2, 6, point.width)
    some = replace(point, features=(3, 1))
    with torch.no_grad():
        expected = run_suffix(model, plan, values).logits
        assert torch.equal(run_suffix(model, point, values).logits, expected)
        apply_suffix_plan(model, plan_suffix(model, some))
        assert torch.equal(run_suffix(model, plan, values).logits, expected)


def test_lengths_at_the_hook_point() -> None:
    model = tiny("wav2vec2")
    _, plan = planned(model, "wav2vec2.feature_extractor.conv_layers.1")
    frames = 9
    samples = make_inputs_for(model)(1, frames)["input_values"]
    point = HookPoint.from_dict(plan["point"])
    positions = capture(model, [point], {"input_values": samples})[0].shape[1]
    assert input_length(plan, positions) == frames
    with pytest.raises(HookError, match="is none of them"):
        input_length(plan, positions + 1)
    inputs = dummy_inputs(model, plan, 2, frames)
    assert inputs["input_values"].shape == (2, samples.shape[1])
    assert bool((inputs["attention_mask"] == 1).all())


# --- saving and loading ---------------------------------------------------------------------------------------------


class HalfConfig(tf.PreTrainedConfig):
    """A cut model as a part of another one."""

    model_type = "test_half"

    def __init__(self, part: dict | None = None, kind: str = "", plan: dict | None = None, **kwargs: Any) -> None:
        self.part, self.kind, self.plan = part, kind, plan
        super().__init__(**kwargs)


class Half(tf.PreTrainedModel):
    """Builds the whole model of its config, cuts it, and leaves the weights to from_pretrained."""

    config_class = HalfConfig
    base_model_prefix = ""

    def __init__(self, config: HalfConfig, part: tf.PreTrainedModel | None = None) -> None:
        super().__init__(config)
        if part is None:
            kind = getattr(tf, config.kind)
            part = kind._from_config(kind.config_class.from_dict(copy.deepcopy(config.part)))
            assert config.plan is not None
            cut = {"suffix": apply_suffix_plan, "prefix": apply_prefix_plan}[config.plan["kind"]]
            cut(part, config.plan)
        self.part = part
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing of its own."""


def saved(model: tf.PreTrainedModel, plan: dict[str, Any], folder: Path) -> Half:
    Half(HalfConfig(model.config.to_dict(), type(model).__name__, plan), model).save_pretrained(folder)
    loaded, info = Half.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    return loaded.eval()


@pytest.mark.parametrize(
    ("family", "module"),
    [
        ("xlnet", "transformer.layer.0"),
        ("xlnet", "transformer.layer.2"),
        ("roberta", "roberta.embeddings.word_embeddings"),
        ("roberta", "roberta.encoder.layer.1"),
        ("wav2vec2", "wav2vec2.feature_projection"),
        ("wav2vec2", "wav2vec2.encoder.layers.1"),
        ("gpt2_lm", "transformer.wte"),
        ("gpt2_lm", "transformer.h.1"),
        ("llama", "model.layers.1"),
        ("t5_encoder", "encoder.block.1"),
        ("t5", "encoder.block.2"),
        ("vit", "vit.layers.1"),
    ],
)
def test_a_suffix_survives_from_pretrained(family: str, module: str, tmp_path: Path) -> None:
    model = tiny(family)
    point, plan = planned(model, module)
    inputs = make_inputs_for(model)(2, 6)
    extras = {k: v for k, v in inputs.items() if k.startswith("decoder_")}
    with torch.no_grad():
        values = torch.randn_like(capture(model, [point], inputs)[0])
        expected = outputs(run_suffix(model, plan, values, **extras))
        apply_suffix_plan(model, plan)
        loaded = saved(model, plan, tmp_path)
        assert torch.equal(outputs(run_suffix(loaded.part, plan, values, **extras)), expected)


@pytest.mark.parametrize(
    ("family", "module"),
    [
        ("wav2vec2", "wav2vec2.encoder.layers.1"),
        ("wav2vec2", "wav2vec2.feature_extractor"),
        ("xlnet", "transformer.layer.0"),
        ("roberta", "roberta.embeddings.word_embeddings"),
        ("roberta", "roberta.encoder.layer.0"),
        ("gpt2_lm", "transformer.h.0"),
        ("t5", "encoder.block.1"),
        ("bart", "model.encoder.layers.0"),
    ],
)
def test_a_prefix_survives_from_pretrained(family: str, module: str, tmp_path: Path) -> None:
    model = tiny(family)
    point = probe(model, module, make_inputs_for(model))
    plan = plan_prefix(model, [point])
    inputs = make_inputs_for(model)(2, 6)
    with torch.no_grad():
        expected = capture(model, [point], inputs)[0]
        apply_prefix_plan(model, plan)
        assert torch.equal(capture(saved(model, plan, tmp_path).part, [point], inputs)[0], expected)


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "module", "message"),
    [
        ("roberta", "roberta.encoder.layer.1.intermediate", "residual connection"),
        ("xlnet", "transformer.layer.1.ff.layer_1", "residual connection"),
        ("t5", "decoder.block.1.layer.2.DenseReluDense", "another branch"),
        ("tanh", "unused", "never called"),
    ],
)
def test_points_that_do_not_determine_the_output_are_refused(family: str, module: str, message: str) -> None:
    model = tiny(family)
    point = HookPoint("unused", None, "flat", 2) if module == "unused" else probe(model, module, make_inputs_for(model))
    with pytest.raises(HookError, match=message):
        plan_suffix(model, point)
    assert hooks_of(model) == 0


class Bystander(nn.Module):
    """A layer that runs, but on which nothing depends."""

    main_input_name = "inputs"

    def __init__(self) -> None:
        super().__init__()
        self.first, self.aside = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        self.aside(inputs)
        return self.first(inputs)


def test_a_point_without_effect_is_refused() -> None:
    model = Bystander()
    with pytest.raises(HookError, match="no output of the model depends on aside"):
        plan_suffix(model, probe(model, "aside", make_inputs_for(model)))


def test_a_batch_that_the_model_cannot_pad_is_explained() -> None:
    model = tiny("gpt2", pad_token_id=None)
    with pytest.raises(HookError, match=r"cannot run on its probe inputs .* padding token"):
        probe(model, "transformer.h.0", make_inputs_for(model))


def test_wrong_values_and_masks_are_refused() -> None:
    model = tiny("wav2vec2")
    point, plan = planned(model, "wav2vec2.encoder.layers.0")
    apply_suffix_plan(model, plan)
    values = torch.randn(2, 6, point.width)
    for wrong in (values[..., :3], values[0]):
        with pytest.raises(HookError, match=r"takes activations \(b, t, 32\)"):
            run_suffix(model, plan, wrong)
    with pytest.raises(HookError, match="without any real position"):
        run_suffix(model, plan, values, torch.tensor([[True] * 6, [False] * 6]))
    with pytest.raises(HookError, match="padding on the right only"):
        run_suffix(model, plan, values, torch.tensor([[True] * 6, [False] + [True] * 5]))
    with pytest.raises(HookError, match=r"mask must be \(b, t\) = \(2, 6\); got \(2, 5\)"):
        run_suffix(model, plan, values, torch.ones(2, 5).bool())


def test_fixed_lengths_and_missing_masks() -> None:
    model = tiny("vit")
    point, plan = planned(model, "vit.layers.0")
    with pytest.raises(HookError, match="always has 17 positions; got 16"):
        run_suffix(model, plan, torch.randn(2, 16, point.width))
    with pytest.raises(HookError, match="takes no mask"):
        run_suffix(model, plan, torch.randn(2, 17, point.width), torch.arange(17).expand(2, 17) < 9)
    run_suffix(model, plan, torch.randn(2, 17, point.width), torch.ones(2, 17).bool())


class Walker(nn.Module):
    """Sequences without a mask argument."""

    main_input_name = "inputs"

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.first(inputs)).mean(1)


def test_sequences_without_masks() -> None:
    model = Walker()

    def make(b: int, t: int) -> dict[str, Tensor]:
        return {"inputs": torch.randn(b, t, 4, generator=torch.Generator().manual_seed(b * t))}

    point = probe(model, "first", make)
    plan = plan_suffix(model, point, make)
    apply_suffix_plan(model, plan)
    values = torch.randn(2, 9, 5)
    assert torch.equal(run_suffix(model, plan, values), model.last(values).mean(1))
    with pytest.raises(HookError, match="all positions must be real"):
        run_suffix(model, plan, values, torch.arange(9).expand(2, 9) < 4)


def test_cut_models_refuse_to_be_called_and_wrong_plans() -> None:
    for family, module in (("bert", "bert.encoder.layer.0"), ("t5_encoder", "encoder.block.0")):
        model = tiny(family)
        _, plan = planned(model, module)
        with pytest.raises(HookError, match="expected a suffix plan"):
            apply_suffix_plan(model, plan | {"kind": "prefix"})
        apply_suffix_plan(model, plan)
        with pytest.raises(HookError, match="call it through run_suffix"):
            model(**make_inputs_for(model)(2, 5))
        with pytest.raises(HookError, match="expected a suffix plan"):
            run_suffix(model, plan | {"version": 0}, torch.zeros(1, 3, 32))
