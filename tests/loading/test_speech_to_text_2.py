"""The Speech2Text2 decoder: layout of published checkpoints, positions, cached generation, tokenizer."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import transformers as tf
from speech_to_text_2 import PUBLISHED, SMALL, composite

import hf_stitch
from hf_stitch.loading.models import load_model
from hf_stitch.loading.speech_to_text_2 import registration
from hf_stitch.loading.speech_to_text_2.configuration_speech_to_text_2 import Speech2Text2Config
from hf_stitch.loading.speech_to_text_2.modeling_speech_to_text_2 import (
    CACHE,
    Speech2Text2ForCausalLM,
    Speech2Text2Positions,
)
from hf_stitch.loading.speech_to_text_2.tokenization_speech_to_text_2 import Speech2Text2Tokenizer
from hf_stitch.recipe.side import Side

# As in published decoder configs, which were derived from a whole speech-to-text model.


def sounds() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.ones(3, 600, dtype=torch.long)
    mask[0, 400:], mask[2, 310:] = 0, 0
    return {"inputs": torch.randn(3, 600) * mask, "attention_mask": mask}


def names_of(layers: int) -> set[str]:
    """Weight names of the published layout."""
    found = {"model.decoder.embed_tokens.weight", "lm_head.weight"}
    for i in range(layers):
        own = [f"{a}.{p}_proj" for a in ("self_attn", "encoder_attn") for p in ("k", "v", "q", "out")]
        own += ["self_attn_layer_norm", "encoder_attn_layer_norm", "fc1", "fc2", "final_layer_norm"]
        found |= {f"model.decoder.layers.{i}.{name}.{kind}" for name in own for kind in ("weight", "bias")}
    return found


def test_weights_have_the_published_names_and_sizes() -> None:
    with torch.device("meta"):
        model = Speech2Text2ForCausalLM(Speech2Text2Config(**PUBLISHED, tie_word_embeddings=False))
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert set(shapes) == names_of(7)
    assert shapes["model.decoder.layers.6.fc1.weight"] == (2048, 256)
    d, f, v = 256, 2048, 10224
    layer = 8 * (d * d + d) + (d * f + f) + (f * d + d) + 3 * 2 * d
    assert sum(p.numel() for p in model.parameters()) == 7 * layer + 2 * v * d == 16_285_952


def test_stale_keys_of_published_configs_do_not_count() -> None:
    config = Speech2Text2Config(**PUBLISHED)
    assert (config.num_hidden_layers, config.is_decoder, config.is_encoder_decoder) == (7, True, False)
    again = Speech2Text2Config.from_dict(config.to_dict())
    assert again.to_dict() == config.to_dict()
    assert config.hidden_size == 256


def test_positions_are_sinusoids_counted_from_behind_the_padding_id() -> None:
    places = Speech2Text2Positions(6, padding=1)
    real = torch.tensor([[True, True, False], [False, True, True]])
    assert places.numbers(real, 0).tolist() == [[2, 3, 1], [1, 2, 3]]
    found = places(real, 0, torch.float32)
    rates = [1.0, 10000**-0.5, 10000**-1.0]
    wanted = [math.sin(3 * r) for r in rates] + [math.cos(3 * r) for r in rates]
    assert torch.allclose(found[0, 1], torch.tensor(wanted))
    assert not found[0, 2].any()
    assert torch.equal(places(real[:, :1], torch.tensor([5, 5]), torch.float32)[0, 0], places(
        torch.ones(1, 6, dtype=torch.bool), 0, torch.float32)[0, 5])  # fmt: skip


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_cached_steps_equal_one_uncached_pass(attention: str, name: str) -> None:
    model = composite().decoder
    model.set_attn_implementation(attention)
    states, ids = torch.randn(2, 9, 16), torch.tensor([[2, 5, 9, 11, 4], [1, 1, 2, 7, 8]])  # padding on the left
    seen, mask = (torch.arange(9) < torch.tensor([[9], [6]])), (ids != 1).long()
    extra = {"encoder_hidden_states": states, "encoder_attention_mask": seen}
    with torch.no_grad():
        whole = model(ids, attention_mask=mask, use_cache=False, **extra)
        assert getattr(whole, CACHE) is None
        cache, steps = None, []
        for cut in (slice(0, 3), slice(3, 4), slice(4, 5)):
            out = model(ids[:, cut], attention_mask=mask[:, : cut.stop], use_cache=True, **{name: cache}, **extra)
            cache = getattr(out, CACHE)
            steps.append(out.logits)
    assert torch.allclose(torch.cat(steps, 1)[mask.bool()], whole.logits[mask.bool()], atol=1e-5)
    other = model(ids, attention_mask=mask, encoder_hidden_states=states * 2, encoder_attention_mask=seen).logits
    assert not torch.allclose(other, whole.logits, atol=1e-2)  # it listens
    hidden = torch.where(seen[..., None], states, 100.0)
    masked = model(ids, attention_mask=mask, encoder_hidden_states=hidden, encoder_attention_mask=seen).logits
    assert torch.allclose(masked, whole.logits, atol=1e-5)


@pytest.mark.parametrize("beams", [1, 3])
def test_generation_is_the_same_with_cache_padding_and_beams(beams: int) -> None:
    model, batch = composite(), sounds()
    with torch.no_grad():
        cached = model.generate(**batch, num_beams=beams)
        plain = model.generate(**batch, num_beams=beams, use_cache=False)
        alone = model.generate(batch["inputs"][2:, :310], num_beams=beams)
    assert torch.equal(cached, plain)
    assert len({tuple(row) for row in cached.tolist()}) > 1
    assert alone[0].tolist() == cached[2, : alone.shape[1]].tolist()
    assert bool((cached[2, alone.shape[1] :] == 1).all())


def test_greedy_generation_is_the_argmax_of_forward() -> None:
    model, batch = composite(), sounds()
    with torch.no_grad():
        found = model.generate(**batch, do_sample=False, max_new_tokens=6)
        logits = model(**batch, decoder_input_ids=found[:, :-1]).logits
    open_ = (found[:, 1:-1] != 2).cumprod(1).bool()
    steps = logits.argmax(-1)[:, 1:] == found[:, 2:]
    assert bool(steps[open_].all())


def test_a_published_folder_loads_with_untied_head_and_old_table(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = composite(tie_word_embeddings=True)
    model.decoder.lm_head.weight = torch.nn.Parameter(torch.randn(40, 16))
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["decoder.lm_head.weight"] = model.decoder.lm_head.weight.detach().clone()
    weights["decoder.model.decoder.embed_positions.weights"] = torch.zeros(1026, 16)
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    config["decoder"] |= {"num_hidden_layers": 12, "is_encoder_decoder": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    again = load_model(Side(model=str(tmp_path), hook="encoder"))
    assert type(again.decoder) is Speech2Text2ForCausalLM
    assert {k for k, _ in again.named_parameters() if k.startswith("decoder.")} == {f"decoder.{n}" for n in names_of(2)}
    assert {k.split(".")[0] for k, _ in again.named_parameters()} == {"encoder", "decoder", "enc_to_dec_proj"}
    assert torch.equal(again.decoder.lm_head.weight, model.decoder.lm_head.weight)
    batch = sounds()
    with torch.no_grad():
        assert torch.equal(again.generate(**batch, num_beams=3), model.generate(**batch, num_beams=3))


def test_full_size_config_on_meta() -> None:
    registration.register()
    large = tf.Wav2Vec2Config(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, conv_bias=True,
        feat_extract_norm="layer", do_stable_layer_norm=True,
    )  # fmt: skip
    decoder = Speech2Text2Config(**PUBLISHED, tie_word_embeddings=False)
    config = tf.SpeechEncoderDecoderConfig.from_encoder_decoder_configs(large, decoder)
    with torch.device("meta"):
        model = tf.SpeechEncoderDecoderModel(config=config)
    count = sum(p.numel() for p in model.parameters())
    assert model.enc_to_dec_proj.weight.shape == (256, 1024)
    assert count == sum(p.numel() for p in model.encoder.parameters()) + 16_285_952 + 1024 * 256 + 256
    assert abs(4 * count / 1.33e9 - 1) < 0.01  # the published file has 1.33 GB


def test_training_and_ties() -> None:
    torch.manual_seed(0)
    model = Speech2Text2ForCausalLM(Speech2Text2Config(**{**PUBLISHED, **SMALL})).train()
    assert model.lm_head.weight is model.model.decoder.embed_tokens.weight
    model.activation_checkpointing_enable()
    ids = torch.tensor([[2, 5, 9, 11]])
    loss = model(ids, encoder_hidden_states=torch.randn(1, 5, 16), labels=ids).loss
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    with pytest.raises(ValueError, match="exactly one"):
        model()


def files(folder: Path) -> Path:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "ha@@", "us", "h@@", "a@@", "u@@", "s", "das", "Haus@@", "tür"]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    merges = ["h a 9", "u s</w> 8", "d a 7", "da s</w> 6", "H a 5", "u s 5", "Ha us 4", "t ü 3", "tü r</w> 3"]
    (folder / "merges.txt").write_text("\n".join(merges) + "\n")
    return folder


def test_tokenizer_reads_the_published_layout(tmp_path: Path) -> None:
    hf_stitch.register()
    (files(tmp_path) / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Speech2Text2Tokenizer"}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "speech-encoder-decoder", "encoder": {
        "model_type": "wav2vec2"}, "decoder": PUBLISHED}))  # fmt: skip
    tokenizer = tf.AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(tokenizer, Speech2Text2Tokenizer)
    assert tokenizer.tokenize("das haus Haustür") == ["das", "ha@@", "us", "Haus@@", "tür"]
    assert tokenizer("das haus")["input_ids"] == [10, 4, 5]
    assert tokenizer.decode([2, 10, 4, 5, 11, 12, 2, 1], skip_special_tokens=True) == "das haus Haustür"
    assert tokenizer("zz")["input_ids"] == [3, 3]
    tokenizer.save_pretrained(tmp_path / "again")
    assert tf.AutoTokenizer.from_pretrained(tmp_path / "again").tokenize("haus") == ["ha@@", "us"]


def test_tokenizer_without_merges_only_decodes(tmp_path: Path) -> None:
    tokenizer = Speech2Text2Tokenizer(str(files(tmp_path) / "vocab.json"))
    assert tokenizer.decode([11, 12]) == "Haustür"
    with pytest.raises(ValueError, match="can only decode"):
        tokenizer("haus")
