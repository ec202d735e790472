"""The zoo's translator: a small stock BART trained from scratch to write the grammar's sentences in German."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hf_stitch.zoo.speech.german import german
from hf_stitch.zoo.speech.grammar import Sentence, vocabulary
from hf_stitch.zoo.training_loop import Progress, seeded, train

if TYPE_CHECKING:
    import torch
    from transformers import BartForConditionalGeneration, PreTrainedTokenizerBase

NAME = "bart-german"
SEED = 41
# By hand: small enough to ship.
STEPS = 2000
BATCH_SIZE = 64
PEAK_RATE = 4e-3
WIDTH, LAYERS, HEADS, INNER = 32, 2, 4, 64
LONGEST = 64  # positions
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
LIMIT = 20  # words written: the longest sentence has 13


def save_tokenizer(sentences: Sequence[Sentence], folder: Path) -> None:
    """Save a tokenizer of whole words of both languages: <s> words </s>."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    written = {word for sentence in sentences for word in german(sentence.text).split()}
    words = [*SPECIAL, *vocabulary(sentences), *sorted(written - set(vocabulary(sentences)))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
        model_max_length=LONGEST, model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip


def make_model(words: int) -> BartForConditionalGeneration:
    """Return the untrained translator for a vocabulary of so many words."""
    from transformers import BartConfig, BartForConditionalGeneration

    model = BartForConditionalGeneration(BartConfig(
        vocab_size=words, d_model=WIDTH, encoder_layers=LAYERS, decoder_layers=LAYERS, encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS, encoder_ffn_dim=INNER, decoder_ffn_dim=INNER, max_position_embeddings=LONGEST,
        dropout=0.0, init_std=0.05, bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2,
        forced_eos_token_id=None,
    ))  # fmt: skip
    model.generation_config.max_new_tokens = LIMIT
    return model


def train_translator(
    sentences: Sequence[Sentence], folder: Path, progress: Progress, steps: int = STEPS
) -> dict[str, float]:
    """Train on all of `sentences`, save to `folder`; return what was done and the last loss."""
    from transformers import AutoTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(sentences, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with seeded(SEED):
        model = make_model(len(tokenizer))
        batches = _batches([sentence.text for sentence in sentences], tokenizer, random.Random(SEED))
        loss = train(model, batches, lambda batch: model(**batch).loss, steps, PEAK_RATE, progress)
    model.save_pretrained(folder)
    return {"steps": steps, "sentences": len(sentences), "loss": loss}


def _batches(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, chooser: random.Random
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield shuffled batches of BATCH_SIZE sentences with their German for ever."""
    order: list[int] = []
    while True:
        while len(order) < BATCH_SIZE:
            order += chooser.sample(range(len(texts)), len(texts))
        chosen, order = order[:BATCH_SIZE], order[BATCH_SIZE:]
        batch = tokenizer([texts[i] for i in chosen], padding=True, return_tensors="pt")
        written = tokenizer([german(texts[i]) for i in chosen], padding=True, return_tensors="pt")
        labels = written["input_ids"].masked_fill(written["attention_mask"] == 0, -100)
        yield {
            **batch,
            "labels": labels[:, 1:].contiguous(),
        }  # the decoder starts with </s>, so that <s> is never written


def translate(
    model: BartForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> list[str]:
    """Return the German of each text, in order."""
    import torch

    written: list[str] = []
    for start in range(0, len(texts), 100):
        batch = tokenizer(list(texts[start : start + 100]), padding=True, return_tensors="pt")
        with torch.inference_mode():
            written += tokenizer.batch_decode(model.generate(**batch, num_beams=1), skip_special_tokens=True)
    return written
