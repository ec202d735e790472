"""Models whose inputs are described in a configuration inside theirs, and inputs that somebody describes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as tf
from shortening import made
from tiny_models import CLIP_TEXT, CLIP_VISION, IMAGE, TEXT, tiny
from torch import nn

from hf_stitch.errors import HookError, ProbeError
from hf_stitch.hooks.given_inputs import FixedInputs, GivenInput
from hf_stitch.hooks.module_tree import module_tree
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.suffix import run_suffix
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.hooks.trace import probe

TEXT40 = TEXT | {"max_position_embeddings": 40}
VIDEO = IMAGE | {"num_frames": 4}
DECODER = {"is_decoder": True, "add_cross_attention": True}
PERCEIVER = {
    "num_latents": 9, "d_latents": 32, "d_model": 24, "num_self_attends_per_block": 2, "num_self_attention_heads": 4,
    "num_cross_attention_heads": 4, "vocab_size": 60, "max_position_embeddings": 40, "image_size": 16,
}  # fmt: skip
LEARNED = {"d_model": 512, "num_cross_attention_heads": 1}
CLAP_AUDIO = {
    "spec_size": 64, "num_mel_bins": 16, "patch_size": 4, "patch_stride": [4, 4], "hidden_size": 32, "depths": [1, 1],
    "num_attention_heads": [2, 2], "window_size": 4, "patch_embeds_hidden_size": 16, "projection_dim": 16,
}  # fmt: skip


def bert_of(**changes: Any) -> Any:
    return tf.BertConfig(**TEXT40 | changes)


def both(config: Any, text: dict[str, Any], vision: dict[str, Any]) -> Any:
    return config(text_config=text, vision_config=vision, projection_dim=32)


# a model, and what it is to be given: the names of its tensors
COMPOSITES: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "vision-encoder-decoder": (
        lambda: tf.VisionEncoderDecoderModel(
            encoder=tf.ViTModel(tf.ViTConfig(**IMAGE)), decoder=tf.BertLMHeadModel(bert_of(vocab_size=50, **DECODER))
        ),
        {"pixel_values", "decoder_input_ids"},
    ),
    "encoder-decoder": (
        lambda: tf.EncoderDecoderModel(
            encoder=tf.BertModel(bert_of(vocab_size=30)), decoder=tf.BertLMHeadModel(bert_of(vocab_size=9, **DECODER))
        ),
        {"input_ids", "decoder_input_ids"},
    ),
    "speech-encoder-decoder": (lambda: tiny("speech_encoder_decoder"), {"inputs", "decoder_input_ids"}),
    "videomae": (
        lambda: tf.VideoMAEForVideoClassification(tf.VideoMAEConfig(**VIDEO)), {"pixel_values"}
    ),
    "timesformer": (
        lambda: tf.TimesformerForVideoClassification(tf.TimesformerConfig(**VIDEO)), {"pixel_values"}
    ),
    "vivit": (
        lambda: tf.VivitForVideoClassification(tf.VivitConfig(**VIDEO, tubelet_size=[2, 4, 4])), {"pixel_values"}
    ),
    "vjepa2": (
        lambda: tf.VJEPA2ForVideoClassification(
            tf.VJEPA2Config(
                hidden_size=24, num_hidden_layers=2, num_attention_heads=2, patch_size=4, crop_size=16,
                frames_per_clip=4, pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1,
                num_pooler_layers=1, mlp_ratio=2,
            )
        ),
        {"pixel_values_videos"},
    ),
    "clap": (
        lambda: tf.ClapModel(tf.ClapConfig(text_config=TEXT40, audio_config=CLAP_AUDIO, projection_dim=16)),
        {"input_ids", "input_features"},
    ),
    "clap, audio": (
        lambda: tf.ClapAudioModelWithProjection(tf.ClapAudioConfig(**CLAP_AUDIO)), {"input_features"}
    ),
    "canine": (
        lambda: tf.CanineForSequenceClassification(tf.CanineConfig(**TEXT, num_hash_buckets=64)), {"input_ids"}
    ),
    "perceiver, text": (
        lambda: tf.PerceiverForSequenceClassification(tf.PerceiverConfig(**PERCEIVER)), {"input_ids"}
    ),
    "perceiver, masked text": (
        lambda: tf.PerceiverForMaskedLM(tf.PerceiverConfig(**PERCEIVER)), {"input_ids"}
    ),
    "perceiver, pictures": (
        lambda: tf.PerceiverForImageClassificationLearned(tf.PerceiverConfig(**PERCEIVER | LEARNED)),
        {"pixel_values"},
    ),
    "siglip": (
        lambda: tf.SiglipModel(tf.SiglipConfig(text_config=TEXT40, vision_config=IMAGE)), {"input_ids", "pixel_values"}
    ),
    "chinese clip": (
        lambda: tf.ChineseCLIPModel(both(tf.ChineseCLIPConfig, TEXT40, CLIP_VISION)), {"input_ids", "pixel_values"}
    ),
    "alt clip": (
        lambda: tf.AltCLIPModel(both(tf.AltCLIPConfig, TEXT40 | {"project_dim": 32}, CLIP_VISION)),
        {"input_ids", "pixel_values"},
    ),
    "x-clip": (
        lambda: tf.XCLIPModel(
            both(tf.XCLIPConfig, CLIP_TEXT, CLIP_VISION | {
                "num_frames": 4, "mit_hidden_size": 32, "mit_num_attention_heads": 4, "mit_num_hidden_layers": 1,
                "mit_intermediate_size": 48,
            })
        ),
        {"input_ids", "pixel_values"},
    ),
    "vision-text": (
        lambda: tf.VisionTextDualEncoderModel(
            vision_model=tf.ViTModel(tf.ViTConfig(**IMAGE)), text_model=tf.BertModel(bert_of())
        ),
        {"input_ids", "pixel_values"},
    ),
    "blip": (
        lambda: tf.BlipForImageTextRetrieval(both(tf.BlipConfig, TEXT40 | {"encoder_hidden_size": 32}, IMAGE)),
        {"input_ids", "pixel_values"},
    ),
    "llava": (
        lambda: tf.LlavaForConditionalGeneration(
            tf.LlavaConfig(text_config=tf.LlamaConfig(**TEXT), vision_config=tf.CLIPVisionConfig(**IMAGE))
        ),
        {"input_ids"},
    ),
    "moonshine": (
        lambda: tf.MoonshineModel(
            tf.MoonshineConfig(
                vocab_size=60, hidden_size=32, intermediate_size=48, encoder_num_hidden_layers=1,
                decoder_num_hidden_layers=1, encoder_num_attention_heads=4, decoder_num_attention_heads=4,
            )
        ),
        {"input_values", "decoder_input_ids"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", COMPOSITES)
def test_configurations_inside_say_what_a_model_takes(kind: str) -> None:
    make_model, wanted = COMPOSITES[kind]
    model = made(make_model)
    make = make_inputs_for(model)
    inputs = make(2, 7)
    assert {key for key, value in inputs.items() if isinstance(value, torch.Tensor)} == wanted
    rows = module_tree(model, make)
    assert sum(row["usable"] for row in rows) > 5
    decoder = getattr(model, "decoder", None)
    if "decoder_input_ids" in inputs and hasattr(decoder, "config"):
        assert int(inputs["decoder_input_ids"].max()) < decoder.config.vocab_size


class Needy(nn.Module):
    """Adds a colour, and a scale of its own for each position, to an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.block, self.head = nn.Embedding(20, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, tokens: Any, colour: Any, scale: Any) -> dict[str, Any]:
        hidden = self.block(self.embedding(tokens) + colour[:, None])
        return {"logits": self.head((hidden * scale[..., None]).mean(1))}


GIVEN = {
    "tokens": GivenInput(([1, 0, 1], [0, 1, 0]), "int64", below=20),
    "colour": GivenInput(([1, 0, 1], 6), value=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
    "scale": GivenInput(([1, 0, 1], [0, 1, 0]), value=3.0),
}


def test_described_inputs_reach_the_second_half_with_their_values() -> None:
    model = made(Needy)
    with pytest.raises(ProbeError, match=r"no default probe inputs for Needy.*give a function make_inputs"):
        make_inputs_for(model)
    make = make_inputs_for(model, GIVEN)
    point = probe(model, "block", make)
    plan = plan_suffix(model, point, make)
    inputs, values = make(3, 9), torch.randn(3, 9, 6)
    with torch.no_grad():
        wanted = model.head((values * inputs["scale"][..., None]).mean(1))
        assert torch.equal(run_suffix(model, plan, values)["logits"], wanted)
    assert inputs["colour"][1].tolist() == [1, 2, 3, 4, 5, 6]


def test_described_inputs_are_reproducible_plain_data() -> None:
    again = {name: GivenInput.from_dict(one.to_dict()) for name, one in GIVEN.items()}
    assert again == GIVEN
    model = made(Needy)
    one, two = make_inputs_for(model, GIVEN)(2, 5), make_inputs_for(model, again)(2, 5)
    assert all(torch.equal(one[name], two[name]) for name in GIVEN)
    assert one["tokens"].dtype == torch.int64
    assert int(one["tokens"].max()) < 20


@pytest.mark.parametrize(("time", "places", "steps"), [([0, 1, 0], 8, 8), ([0, 20, 10], 175, 8), (3, 16, 1)])
def test_fixed_inputs_are_as_long_as_the_real_one(time: Any, places: int, steps: int) -> None:
    fixed = FixedInputs({"scale": GIVEN["scale"], "kept": GivenInput(value=False)}, "x", time)
    fixed = FixedInputs.from_dict(fixed.to_dict())
    found = fixed.beside({"x": torch.zeros(2, places)}, torch.float16)
    assert found["scale"].shape == (2, steps)
    assert found["scale"].dtype == torch.float16
    assert found["kept"] is False
    mine = fixed.beside({"x": torch.zeros(2, places), "scale": "mine"}, torch.float32)
    assert mine["scale"] == "mine"


def test_a_model_that_cannot_run_says_so_in_one_line() -> None:
    model = made(lambda: tf.BrosForTokenClassification(tf.BrosConfig(**TEXT40)))
    told = r"cannot run on its probe inputs.*You have to specify bbox.*make_inputs"
    with pytest.raises(HookError, match=told) as caught:
        module_tree(model)
    assert "\n" not in str(caught.value)
