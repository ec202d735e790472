"""The zoo's data sets as parquet files: spoken opinions and plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hf_stitch.zoo.parquet import write_rows
from hf_stitch.zoo.speech import synthesis
from hf_stitch.zoo.speech.grammar import Sentence
from hf_stitch.zoo.training_loop import Progress

if TYPE_CHECKING:
    pass

SPEECH_SEED = 31
PARTS = ("fit", "validation", "test")
CLASSES = ["negative", "positive"]


def groups_of(sentences: Sequence[Sentence], part: str) -> list[str]:
    """Return "known" or "unseen" for each sentence: blocks of four, one of each label and novelty, take turns."""
    return ["known" if part == "fit" or (i // 4) % 2 == 0 else "unseen" for i in range(len(sentences))]


def write_opinions(splits: Mapping[str, list[Sentence]], folder: Path, progress: Progress) -> None:
    """Speak and write the `opinions/*` splits."""
    from datasets import Audio, ClassLabel, Features, Value

    features = Features({
        "audio": Audio(sampling_rate=synthesis.SAMPLING_RATE, decode=False), "text": Value("string"),
        "label": ClassLabel(names=CLASSES), "voice": Value("string"), "group": Value("string"), "id": Value("string"),
    })  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        sentences = splits[f"opinions/{part}"]
        progress(f"speaking {len(sentences)} sentences for {part}")
        groups = groups_of(sentences, part)
        spoken = _speak(sentences, groups)
        rows = []
        for i, (sentence, group) in enumerate(zip(sentences, groups, strict=True)):
            utterance, name = spoken[sentence.text], f"opinions-{part}-{i:04d}"
            audio = {"bytes": synthesis.encode_mp3(utterance.wave), "path": f"{name}.mp3"}
            rows.append({"audio": audio, "text": sentence.text, "label": sentence.label,
                         "voice": utterance.voice, "group": group, "id": name})  # fmt: skip
        write_rows(rows, features, folder / f"{part}.parquet")


def _speak(sentences: Sequence[Sentence], groups: Sequence[str]) -> dict[str, synthesis.Utterance]:
    """Return the utterance of each text, spoken by a voice of its group."""
    spoken: dict[str, synthesis.Utterance] = {}
    for group, voices in (("known", synthesis.KNOWN_VOICES), ("unseen", synthesis.UNSEEN_VOICES)):
        texts = [sentence.text for sentence, g in zip(sentences, groups, strict=True) if g == group]
        spoken |= {utterance.text: utterance for utterance in synthesis.render(texts, voices, SPEECH_SEED)}
    return spoken


def write_sentences(splits: Mapping[str, list[Sentence]], folder: Path) -> None:
    """Write the `sentences/*` splits."""
    from datasets import ClassLabel, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=CLASSES), "id": Value("string")})
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        rows = [{"text": sentence.text, "label": sentence.label, "id": f"sentences-{part}-{i:04d}"}
                for i, sentence in enumerate(splits[f"sentences/{part}"])]  # fmt: skip
        write_rows(rows, features, folder / f"{part}.parquet")
