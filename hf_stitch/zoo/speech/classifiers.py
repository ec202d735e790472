"""The zoo's sentiment classifiers: small stock XLNet and RoBERTa models trained from scratch on the grammar."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hf_stitch.zoo.speech.grammar import Sentence, vocabulary
from hf_stitch.zoo.training_loop import Progress, seeded, train

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LABELS = {0: "negative", 1: "positive"}
# By hand: small enough to ship.
BATCH_SIZE = 64
PEAK_RATE = 1e-3
WIDTH, LAYERS, HEADS, INNER = 96, 4, 4, 192
LONGEST = 256  # tokens that RoBERTa's position table allows: more than the frames of a shipped utterance


class Course(NamedTuple):
    """How one classifier is trained: architecture, steps, number of training sentences, seed."""

    kind: str
    steps: int
    sentences: int
    seed: int


COURSES = {
    "xlnet-sentiment": Course("xlnet", 900, 8000, 21),
    # few sentences, not few steps: it is sure of itself and systematically wrong on what it has not met
    "xlnet-sentiment-weak": Course("xlnet", 300, 1000, 22),
    "roberta-sentiment": Course("roberta", 900, 8000, 23),
}


def xlnet_tokenizer(sentences: Sequence[Sentence], folder: Path) -> None:
    """Train a sentencepiece unigram model in which every word is one piece, and save it with its XLNet tokenizer."""
    import sentencepiece
    from transformers import XLNetTokenizer

    # a seed piece must occur in two contexts: the words with a full stop behind them are the second one
    corpus = [sentence.text for sentence in sentences] + [f"{word}." for word in vocabulary(sentences)]
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=trained, model_type="unigram", vocab_size=300,
        hard_vocab_limit=False, character_coverage=1.0, num_threads=1, minloglevel=2,
        normalization_rule_name="identity",  # plain letters need no table of 240 kB
        unk_id=0, bos_id=1, eos_id=2, pad_id=5, control_symbols=["<cls>", "<sep>"], user_defined_symbols=["<mask>"],
    )  # fmt: skip
    pieces = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    # handing over the pieces spares transformers the conversion of the binary file
    table = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(len(pieces))]
    XLNetTokenizer(vocab=table, do_lower_case=True, model_max_length=LONGEST).save_pretrained(folder)
    (folder / "spiece.model").write_bytes(trained.getvalue())


def roberta_tokenizer(sentences: Sequence[Sentence], folder: Path) -> None:
    """Save a tokenizer of whole words in RoBERTa's layout: <s> words </s>."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    ids = {word: i for i, word in enumerate(special + vocabulary(sentences))}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        unk_token="<unk>", pad_token="<pad>", mask_token="<mask>", model_max_length=LONGEST,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip


def make_model(kind: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Return an untrained classifier, "xlnet" or "roberta", for the tokenizer's vocabulary."""
    import transformers

    common: dict[str, Any] = {
        "vocab_size": len(tokenizer), "initializer_range": 0.05,
        "id2label": LABELS, "label2id": {label: i for i, label in LABELS.items()},
        **{f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "eos")},
    }  # fmt: skip
    if kind == "xlnet":
        return transformers.XLNetForSequenceClassification(transformers.XLNetConfig(
            d_model=WIDTH, n_layer=LAYERS, n_head=HEADS, d_inner=INNER, ff_activation="gelu", use_mems_eval=False,
            **common,
        ))  # fmt: skip
    return transformers.RobertaForSequenceClassification(transformers.RobertaConfig(
        hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, intermediate_size=INNER,
        max_position_embeddings=LONGEST + 2, type_vocab_size=1, **common,
    ))  # fmt: skip


def train_classifier(
    course: Course, sentences: Sequence[Sentence], folder: Path, progress: Progress
) -> dict[str, float]:
    """Train on the first `course.sentences` of `sentences`, save to `folder`; return what was done and the last loss.

    The tokenizer learns from all the sentences, so that two courses of one kind share it.
    """
    from transformers import AutoTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    (xlnet_tokenizer if course.kind == "xlnet" else roberta_tokenizer)(sentences, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lesson = sentences[: course.sentences]
    with seeded(course.seed):
        model = make_model(course.kind, tokenizer)
        batches = _batches(lesson, tokenizer, random.Random(course.seed))
        loss = train(model, batches, lambda batch: model(**batch).loss, course.steps, PEAK_RATE, progress)
    model.save_pretrained(folder)
    return {"steps": course.steps, "sentences": len(lesson), "loss": loss}


def _batches(
    sentences: Sequence[Sentence], tokenizer: PreTrainedTokenizerBase, chooser: random.Random
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield shuffled batches of BATCH_SIZE sentences with their labels for ever."""
    import torch

    order: list[int] = []
    while True:
        while len(order) < BATCH_SIZE:
            order += chooser.sample(range(len(sentences)), len(sentences))
        chosen, order = order[:BATCH_SIZE], order[BATCH_SIZE:]
        batch = tokenizer([sentences[i].text for i in chosen], padding=True, return_tensors="pt")
        yield {**batch, "labels": torch.tensor([sentences[i].label for i in chosen])}


def classify(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[int]:
    """Return the predicted label of each text, in order."""
    import torch

    labels: list[int] = []
    for start in range(0, len(texts), 100):
        batch = tokenizer(list(texts[start : start + 100]), padding=True, return_tensors="pt")
        with torch.inference_mode():
            labels += model(**batch).logits.argmax(-1).tolist()
    return labels
