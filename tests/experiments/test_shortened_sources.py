"""Sources that have fewer positions than their input, or whole windows of them: fitted, saved, loaded and asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from pico_recipes import ROBERTA_HOOK, split
from pico_texts import WORDS, _piece_tokenizer
from shortening import FUNNEL

from hf_stitch import StitchedModel, fit
from hf_stitch.hooks.points import HookPoint
from hf_stitch.models.predictor import Predictor

VOCABULARY = ["<s>", "<pad>", "</s>", "<unk>", *WORDS]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SOUND = {
    "conv_dim": (8, 8), "conv_kernel": (320, 4), "conv_stride": (160, 2), "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "feat_extract_norm": "layer",
}  # fmt: skip


def sew(folder: Path) -> None:
    tf.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    tf.SEWForSequenceClassification(tf.SEWConfig(**SIZES | SOUND, squeeze_factor=2)).save_pretrained(folder)


def funnel(folder: Path) -> None:
    _piece_tokenizer(VOCABULARY).save_pretrained(folder)
    config = tf.FunnelConfig(**FUNNEL | {"vocab_size": len(VOCABULARY), "d_model": 16, "n_head": 2})
    tf.FunnelForSequenceClassification(config).save_pretrained(folder)


def longformer(folder: Path) -> None:
    _piece_tokenizer(VOCABULARY).save_pretrained(folder)
    config = tf.LongformerConfig(
        **SIZES, vocab_size=len(VOCABULARY), max_position_embeddings=514, attention_window=512, pad_token_id=1
    )
    tf.LongformerForSequenceClassification(config).save_pretrained(folder)


def twice(written: Path, folder: Path) -> Path:
    """The texts twice as long: alone, Funnel fails on those of few tokens, and padding changes its answers."""
    for name in ("fit", "test"):
        rows = [json.loads(line) for line in (written / f"{name}.jsonl").read_text().splitlines()]
        lines = [json.dumps({**row, "text": f"{row['text']} {row['text']}"}) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder


KINDS: dict[str, tuple[Any, str, int]] = {
    "sew": (sew, "sew.encoder.layers.0", 640),
    "funnel": (funnel, "funnel.encoder.blocks.2.0", 4),
    "longformer, its published window": (longformer, "longformer.encoder.layer.0", 1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_shortened_source_is_fitted_saved_and_answers(
    kind: str, pico_roberta: Path, written: Path, spoken: Path, tmp_path: Path
) -> None:
    make, hook, shorter = KINDS[kind]
    torch.manual_seed(3)
    make(tmp_path / "source")
    sounds = kind == "sew"
    if kind == "funnel":
        written = twice(written, tmp_path)
    columns = {"source": "audio" if sounds else "text", "target": "text", "label": "label", "id": "id"}
    content = {
        "source": {"model": str(tmp_path / "source"), "hook": hook},
        "target": {"model": str(pico_roberta), "hook": ROBERTA_HOOK},
        "data": {
            name: {**split(spoken if sounds else written, name, columns), "samples": count}
            for name, count in (("fit", 20), ("test", 4))
        },
        "sequence": {"length": "resample"},
    }
    model, _ = fit(content, tmp_path / "out")
    lengths = HookPoint.from_dict(model.config.ends["prefix"]["point"]).lengths
    assert lengths is not None
    assert lengths[2] == shorter
    back = StitchedModel.from_pretrained(tmp_path / "out").eval()
    if sounds:
        inputs = {"input_values": torch.randn(2, 9600), "attention_mask": torch.ones(2, 9600, dtype=torch.long)}
        inputs["attention_mask"][1, 6400:] = 0
        real = [9600 // 640, 6400 // 640]
        asked: Any = spoken / "test-0.wav"
    else:
        tokens = torch.tensor([[0, *range(4, 12), 2], [0, 5, 6, 7, 8, 2, 1, 1, 1, 1]])
        inputs = {"input_ids": tokens, "attention_mask": (tokens != 1).long()}
        real = [-(-count // shorter) for count in (10, 6)]
        asked = "the film was very good"
    with torch.no_grad():
        assert back.activations(inputs)[1].sum(1).tolist() == [n - (sounds) for n in real]
        assert torch.equal(back(**inputs).logits, model(**inputs).logits)
        del inputs["attention_mask"]
        assert back.activations(inputs)[1].sum(1).tolist() == [real[0] - sounds] * 2
    [found] = Predictor(tmp_path / "out")([asked])
    assert found["label"] in ("negative", "positive")
