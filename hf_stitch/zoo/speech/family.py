"""Speech: spoken opinions, their recogniser, readers that answer with sentiment, and a translator into German."""

from __future__ import annotations

import functools
from pathlib import Path

from hf_stitch.zoo.families import Progress, Shipped
from hf_stitch.zoo.speech import translations
from hf_stitch.zoo.speech.grammar import Sentence, splits

ORDER = 10
RECOGNIZER, TRANSLATOR = "wav2vec2-speech", "bart-german"
SENTIMENT = ("xlnet-sentiment", "xlnet-sentiment-weak", "roberta-sentiment")
MODELS = (RECOGNIZER, *SENTIMENT, TRANSLATOR)
DATA = ("opinions", "sentences")
RENDERED = ("opinions-german",)
_OPINIONS = "trained from scratch on short made-up opinions whose sentiment no single word decides."
CARDS: dict[str, tuple[str | None, str]] = {
    RECOGNIZER: (
        "automatic-speech-recognition",
        "A small `Wav2Vec2ForCTC` trained from scratch on sentences spoken by the synthesizer espeak-ng. It knows a "
        "closed vocabulary of 196 words in clean synthetic speech at 16 kHz; it is of no use for people's voices.",
    ),
    "xlnet-sentiment": (
        "text-classification",
        f"A small `XLNetForSequenceClassification` with a sentencepiece tokenizer, {_OPINIONS}",
    ),
    "xlnet-sentiment-weak": (
        "text-classification",
        "The same architecture and tokenizer as `xlnet-sentiment`, trained on few sentences so that it errs: with it, "
        "agreement with the model and accuracy against the truth are different figures.",
    ),
    "roberta-sentiment": (
        "text-classification",
        f"A small `RobertaForSequenceClassification` with a tokenizer of whole words, {_OPINIONS}",
    ),
    TRANSLATOR: (
        "translation",
        "A small `BartForConditionalGeneration` with a tokenizer of whole words, trained from scratch to write short "
        "made-up English opinions in German, as rules of grammar do (`hf_stitch.zoo.speech.german`).",
    ),
}


@functools.cache
def sentences() -> dict[str, list[Sentence]]:
    """All sentences by split; made from a seed."""
    return splits()


def train(name: str, folder: Path, progress: Progress) -> tuple[int, dict[str, float]]:
    from hf_stitch.zoo.speech import classifiers, recognizer, translator

    heard = sentences()["train"]
    if name == RECOGNIZER:
        return recognizer.SEED, recognizer.train_recognizer([one.text for one in heard], folder, progress)
    if name == TRANSLATOR:
        return translator.SEED, translator.train_translator(heard, folder, progress)
    course = classifiers.COURSES[name]
    return course.seed, classifiers.train_classifier(course, heard, folder, progress)


def figures(name: str, folder: Path, shipped: Shipped) -> dict[str, float]:
    from hf_stitch.zoo.speech import figures as measured

    opinions = shipped("data/opinions")
    if name == RECOGNIZER:
        return measured.recognizer_figures(folder, opinions) if opinions else {}
    measure = measured.translator_figures if name == TRANSLATOR else measured.classifier_figures
    return measure(folder, sentences()["sentences/test"], opinions, shipped(f"models/{RECOGNIZER}"))


def write_data(name: str, folder: Path, progress: Progress) -> None:
    from hf_stitch.zoo.speech import packing

    if name == "opinions":
        packing.write_opinions(sentences(), folder, progress)
    elif name == "sentences":
        packing.write_sentences(sentences(), folder)
    else:
        translations.write_data(folder)


def stamp(name: str) -> str:
    return translations.stamp()


def speaks(name: str) -> bool:
    return name in ("opinions", RECOGNIZER)
