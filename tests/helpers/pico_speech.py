"""A language of tones, and how a pico recogniser with random weights learns it in closed form."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

RATE, STEP, FRAMES = 16000, 320, 5  # samples a second, samples a frame, frames a letter
WORDS = ("a", "i", "it", "so", "not")
LETTERS = "ainost|"  # of those words, and what parts them


def say(sentence: str) -> np.ndarray:
    """One tone a letter, a softer one between words; float32 at 16 kHz. Tones repeat with the frames."""
    time = np.arange(FRAMES * STEP) / RATE
    tones = [np.sin(2 * np.pi * (200 + 400 * LETTERS.index(letter)) * time) for letter in sentence.replace(" ", "|")]
    return np.concatenate(tones).astype(np.float32) / 2


def sentences(count: int, seed: int = 0) -> list[str]:
    """Sentences of two to four words, none with one letter twice in a row (there is no blank between letters)."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(2, 4))) for _ in range(count)]


def teach(folder: Path, out: Path) -> None:
    """Write the recogniser of `folder` with a CTC head that hears the tones: ridge regression on its hidden states."""
    import torch
    from transformers import AutoProcessor, Wav2Vec2ForCTC

    model, processor = Wav2Vec2ForCTC.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    vocabulary = processor.tokenizer.get_vocab()
    states, classes = [], []
    for sentence in sentences(60, seed=1):
        inputs = processor(say(sentence), sampling_rate=RATE, return_tensors="pt")
        with torch.no_grad():
            found = model.wav2vec2(**inputs).last_hidden_state[0].double()
        letters = sentence.replace(" ", "|")
        states.append(found)
        classes += [vocabulary[letters[min(frame // FRAMES, len(letters) - 1)]] for frame in range(len(found))]
    x = torch.cat([torch.cat(states), torch.ones(len(classes), 1)], 1)
    y = torch.eye(len(vocabulary), dtype=x.dtype)[classes]
    weight = torch.linalg.solve(x.T @ x + 1e-6 * torch.eye(x.shape[1]), x.T @ y)
    model.lm_head.weight.data, model.lm_head.bias.data = weight[:-1].T.float().contiguous(), weight[-1].float()
    model.save_pretrained(out)
    processor.save_pretrained(out)
