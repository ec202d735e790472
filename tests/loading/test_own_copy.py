"""Models that somebody holds, in whatever state: the copy answers as they do, and they stay as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as tf
from own_models import OneWay, OwnBag, OwnConfig, Perceptron, Quantizer, quantised
from peft import (
    IA3Config,
    LoraConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    TaskType,
    get_peft_model,
    inject_adapter_in_model,
)
from tiny_models import tiny
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import nn

from hf_stitch.errors import RecipeError
from hf_stitch.loading.objects.given_model import GivenModel, hook_in
from hf_stitch.loading.objects.own_copy import base_of, own_copy
from hf_stitch.loading.objects.stamp import stamp_of

TOKENS = torch.tensor([[3, 9, 11, 4], [3, 20, 4, 4]])


def lora(model: Any, **more: Any) -> Any:
    return get_peft_model(model, LoraConfig(target_modules=["query", "value"], r=4, lora_alpha=16, **more))


def stirred(model: Any) -> Any:
    """Adapters that do something: they begin as nothing."""
    draw = torch.Generator().manual_seed(0)
    for name, one in model.named_parameters():
        if "lora_" in name or "ia3_" in name:
            one.data = torch.randn(one.shape, generator=draw).to(one)
    return model


def switched_off(model: Any) -> Any:
    model.base_model.disable_adapter_layers()
    return model


def turned(model: Any, *calls: str) -> Any:
    for call in calls:
        getattr(model, call)()
    return model


STATES: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda one: one,
    "training": lambda one: one.train(),
    "frozen": lambda one: one.requires_grad_(False),
    "bfloat16": lambda one: one.to(torch.bfloat16),
    "double": lambda one: one.double(),
    "compiled": torch.compile,
    "data parallel": nn.DataParallel,
    "checkpointed": lambda one: turned(one.train(), "gradient_checkpointing_enable"),
    "lora": lambda one: stirred(lora(one)),
    "dora": lambda one: stirred(lora(one, use_dora=True)),
    "lora and a head": lambda one: stirred(lora(one, modules_to_save=["classifier"])),
    "ia3": lambda one: stirred(
        get_peft_model(one, IA3Config(target_modules=["query", "dense"], feedforward_modules=["dense"]))
    ),
    "lora switched off": lambda one: switched_off(stirred(lora(one))),
    "an adapter inside": lambda one: stirred(inject_adapter_in_model(LoraConfig(target_modules=["query"], r=4), one)),
    "compiled lora": lambda one: torch.compile(stirred(lora(one))),
    "quantised": lambda one: quantised(one, "classifier", Quantizer()),
}


def state(model: nn.Module) -> Any:
    named = [*model.named_parameters(), *model.named_buffers()]
    return (
        {name: (one.data_ptr(), one.dtype, one.requires_grad) for name, one in named},
        [(name, type(one), one.training, len(one._forward_hooks)) for name, one in model.named_modules()],
        copy.deepcopy(base_of(model).config.to_dict()),
    )


def answer(model: nn.Module) -> torch.Tensor:
    flags = [(one, one.training) for one in model.modules()]
    model.eval()
    with torch.no_grad():
        found = model(input_ids=TOKENS).logits
    for one, flag in flags:
        one.training = flag
    return found


@pytest.mark.parametrize("name", STATES)
def test_a_copy_answers_as_the_object_does_and_leaves_it_alone(name: str) -> None:
    held = STATES[name](tiny("bert"))
    weights, before = {k: v.clone() for k, v in held.state_dict().items()}, state(held)
    made, notes = own_copy(held, "held")
    assert state(held) == before
    assert all(torch.equal(one, weights[key]) for key, one in held.state_dict().items())
    assert type(made) is tf.BertForSequenceClassification
    assert not any(one.training for one in made.modules())
    assert all(one.requires_grad for one in made.parameters())
    assert made.config.architectures == ["BertForSequenceClassification"]
    assert made.config.dtype == made.dtype
    wanted = answer(base_of(held) if "compiled" in name and "lora" not in name else getattr(held, "_orig_mod", held))
    torch.testing.assert_close(answer(made), wanted, atol=1e-5, rtol=1e-4)
    told = " ".join(notes)
    assert ("adapters were merged" in told) == any(word in name for word in ("lora", "dora", "ia3", "adapter"))
    assert ("quantised weights" in told) == (name == "quantised")


def prompt(kind: Any) -> Any:
    return get_peft_model(tiny("bert"), kind(task_type=TaskType.SEQ_CLS, num_virtual_tokens=3))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "prompt": (lambda: prompt(PromptTuningConfig), "PROMPT_TUNING"),
    "prefix": (lambda: prompt(PrefixTuningConfig), "PREFIX_TUNING"),
    "one way": (lambda: quantised(tiny("bert"), "classifier", OneWay()), "odd4bit.*without quantisation"),
    "by torch": (
        lambda: torch.ao.quantization.quantize_dynamic(tiny("bert"), {nn.Linear}, dtype=torch.qint8),
        "torch has quantised it.*without quantisation",
    ),
    "elsewhere": (lambda: tiny("bert").to("meta"), "not in memory"),
}


@pytest.mark.filterwarnings("ignore:.*torch.ao.quantization is deprecated")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_made_whole_is_refused_by_name(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(RecipeError, match=rf"(?s)held: .*{words}"):
        own_copy(make(), "held")


class Odd(Perceptron):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -super().forward(x)


def same_weights(kind: Any, *args: Any, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    return kind(*args, **kwargs)


def redefined(sign: int) -> Any:
    """A class as a notebook defines it again: same name, same weights, another answer."""

    class Redefined(Perceptron):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return sign * super().forward(x)

    return same_weights(Redefined)


def with_activation(kind: type[nn.Module]) -> nn.Module:
    return same_weights(lambda: nn.Sequential(nn.Linear(4, 4), kind(), nn.Linear(4, 2)))


def named(**settings: Any) -> Any:
    found = same_weights(Perceptron)
    for name, value in settings.items():
        setattr(found, name, value)
    return found


def config_with(**changes: Any) -> Any:
    model = tiny("bert")
    for name, value in changes.items():
        setattr(model.config, name, value)
    return model


DIFFERENT: list[Callable[[], Any]] = [
    lambda: tiny("bert"),
    lambda: tiny("bert").to(torch.bfloat16),
    lambda: config_with(layer_norm_eps=0.1),
    lambda: config_with(_attn_implementation="eager"),
    lambda: same_weights(Perceptron),
    lambda: same_weights(Perceptron, slope=2.0),
    lambda: same_weights(Odd),
    lambda: redefined(1),
    lambda: redefined(-1),
    lambda: with_activation(nn.ReLU),
    lambda: with_activation(nn.GELU),
    lambda: named(power=1),
    lambda: named(power=2),
    lambda: named(squash=torch.sin),
    lambda: named(squash=lambda x: 2 * x),
    lambda: named(squash=lambda x: 3 * x),
    lambda: named(weights=[torch.ones(2)]),
    lambda: named(weights=[torch.zeros(2)]),
]


def test_no_two_models_that_may_answer_otherwise_have_one_stamp() -> None:
    stamps = [stamp_of(make()) for make in DIFFERENT]
    assert len(set(stamps)) == len(stamps)
    assert stamps == [stamp_of(make()) for make in DIFFERENT], "made again they are the same"
    assert stamps == [stamp_of(copy.deepcopy(make())) for make in DIFFERENT]


def test_where_a_model_came_from_does_not_tell_it_from_another() -> None:
    here = tiny("bert")
    here.name_or_path = here.config.name_or_path = "/somewhere"
    assert stamp_of(here) == stamp_of(tiny("bert"))


@pytest.mark.parametrize(
    ("held", "name", "wanted"),
    [
        (lambda: tiny("bert"), "bert.encoder.layer.0", "bert.encoder.layer.0"),
        (lambda: lora(tiny("bert")), "base_model.model.bert.encoder.layer.0", "bert.encoder.layer.0"),
        (lambda: lora(tiny("bert")), "bert.encoder.layer.0", "bert.encoder.layer.0"),
        (lambda: nn.DataParallel(tiny("bert")), "module.bert.encoder.layer.0", "bert.encoder.layer.0"),
        (lambda: torch.compile(tiny("bert")), "_orig_mod.bert.encoder.layer.0", "bert.encoder.layer.0"),
        (Perceptron, "layers.1", "module.layers.1"),
        (Perceptron, "module.layers.1", "module.layers.1"),
        (Perceptron, "layers.1#1", "module.layers.1#1"),
        (lambda: tiny("bert"), "no.such", "no.such"),
    ],
)
def test_hooks_are_named_as_the_object_has_them(held: Callable[[], Any], name: str, wanted: str) -> None:
    assert hook_in(held(), name) == wanted


def test_a_model_that_its_configuration_does_not_build_is_known_as_that() -> None:
    changed = tiny("bert")
    changed.classifier = nn.Sequential(nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 2))
    reader = tf.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0, "b": 1}, "a")), pad_token="a")
    models = [tiny("bert"), OwnBag(OwnConfig()), lora(tiny("bert")), changed]
    assert [GivenModel.of(one, "source", reader).built for one in models] == [True, True, True, False]
    assert not GivenModel.of(Perceptron(), "source").built
