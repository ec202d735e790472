"""What the shipped models achieve on the shipped test data: the figures of the zoo's model cards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_stitch.zoo.parquet import read_rows
from hf_stitch.zoo.speech import classifiers, recognizer, synthesis, translator
from hf_stitch.zoo.speech.german import german
from hf_stitch.zoo.speech.grammar import Sentence, is_novel

GROUPS = ("known", "unseen")


def transcripts(folder: Path, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what the recognizer in `folder` hears in each row of the opinions data."""
    from transformers import AutoModelForCTC, AutoProcessor

    model, processor = AutoModelForCTC.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    return recognizer.transcribe(model, processor, [synthesis.decode(row["audio"]["bytes"]) for row in rows])


def recognizer_figures(folder: Path, opinions: Path) -> dict[str, float]:
    """Return the word error rate and the share of sentences without error, by voice group."""
    rows = read_rows(opinions / "test.parquet")
    heard = transcripts(folder, rows)
    figures: dict[str, float] = {}
    for group in GROUPS:
        pairs = [(row["text"], text) for row, text in zip(rows, heard, strict=True) if row["group"] == group]
        figures[f"word error rate, {group} voices"] = recognizer.word_error_rate(*zip(*pairs, strict=True))
        figures[f"sentences without error, {group} voices"] = _share([a == b for a, b in pairs])
    return figures


def classifier_figures(
    folder: Path, sentences: Sequence[Sentence], opinions: Path | None, recognizer_folder: Path | None
) -> dict[str, float]:
    """Return accuracies on test sentences, on the opinions' true text, and on what the recognizer hears in them."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def right(texts: Sequence[str], labels: Sequence[int]) -> list[bool]:
        predicted = classifiers.classify(model, tokenizer, texts)
        return [a == b for a, b in zip(predicted, labels, strict=True)]

    hits = right([s.text for s in sentences], [s.label for s in sentences])
    figures = {"accuracy, test sentences": _share(hits)}
    novel = [hit for hit, s in zip(hits, sentences, strict=True) if is_novel(s.text)]
    figures["accuracy, test sentences with an unmet pair of words"] = _share(novel)
    if opinions is None:
        return figures
    rows = read_rows(opinions / "test.parquet")
    labels = [row["label"] for row in rows]
    figures["accuracy, test opinions as written"] = _share(right([row["text"] for row in rows], labels))
    if recognizer_folder is not None:
        hits = right(transcripts(recognizer_folder, rows), labels)
        for group in GROUPS:
            chosen = [hit for hit, row in zip(hits, rows, strict=True) if row["group"] == group]
            figures[f"accuracy, test opinions as heard by wav2vec2-speech, {group} voices"] = _share(chosen)
    return figures


def translator_figures(
    folder: Path, sentences: Sequence[Sentence], opinions: Path | None, recognizer_folder: Path | None
) -> dict[str, float]:
    """Return shares of sentences written as the rules write them, and word errors on what the recognizer hears."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [s.text for s in sentences]
    hits = [a == german(b) for a, b in zip(translator.translate(model, tokenizer, texts), texts, strict=True)]
    figures = {"sentences without error": _share(hits)}
    if opinions is None or recognizer_folder is None:
        return figures
    rows = read_rows(opinions / "test.parquet")
    written = translator.translate(model, tokenizer, transcripts(recognizer_folder, rows))
    for group in GROUPS:
        pairs = [(german(row["text"]), b) for row, b in zip(rows, written, strict=True) if row["group"] == group]
        error = recognizer.word_error_rate(*zip(*pairs, strict=True))
        figures[f"word error rate, test opinions as heard by wav2vec2-speech, {group} voices"] = error
    return figures


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)
