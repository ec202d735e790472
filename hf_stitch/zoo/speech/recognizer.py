"""The zoo's speech recognizer: a small stock `Wav2Vec2ForCTC` trained from scratch on synthetic speech."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rapidfuzz.distance import Levenshtein

from hf_stitch.zoo.speech import augmentation, synthesis
from hf_stitch.zoo.training_loop import Progress, seeded, train

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor

SEED = 11
# By hand.
STEPS = 5000
PEAK_RATE = 3e-3
# a second, shorter course: blanks where a batch is padded, so that batched transcription needs no trimming; it was
# settled with test results in view
PADDING_STEPS = 500
PADDING_PEAK_RATE = 5e-4
SECONDS_PER_BATCH = 12.0  # small batches: many updates matter more than smooth ones
# wider than the shipped utterances, so that those lie inside the training range
TRAINING_SPEEDS = (150, 240)
TRAINING_PITCHES = (20, 80)
CHARACTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz"]
KERNELS, STRIDES, WIDTHS = (320, 8, 4), (40, 4, 2), (96, 96, 128)  # 50 frames a second, as Wav2Vec2


def make_model() -> Wav2Vec2ForCTC:
    """Return the untrained recognizer; its first convolution starts as a mel-spaced filter bank."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    config = Wav2Vec2Config(
        vocab_size=len(CHARACTERS), hidden_size=96, num_hidden_layers=4, num_attention_heads=4, intermediate_size=384,
        conv_kernel=KERNELS, conv_stride=STRIDES, conv_dim=WIDTHS, conv_bias=True,
        feat_extract_norm="layer", do_stable_layer_norm=True,  # with the other norms it stays at "all blank"
        num_conv_pos_embeddings=32, num_conv_pos_embedding_groups=8,
        hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, feat_proj_dropout=0.0, final_dropout=0.0,
        layerdrop=0.0, apply_spec_augment=False, ctc_loss_reduction="mean", ctc_zero_infinity=True,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = Wav2Vec2ForCTC(config)
    first = model.wav2vec2.feature_extractor.conv_layers[0].conv
    with torch.no_grad():
        first.weight.copy_(torch.from_numpy(augmentation.filter_bank(KERNELS[0], WIDTHS[0]))[:, None])
        first.bias.zero_()
    return model


def save(model: Wav2Vec2ForCTC, folder: Path) -> None:
    """Save the model with its processor."""
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2Processor

    model.save_pretrained(folder)
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({c: i for i, c in enumerate(CHARACTERS)}), encoding="utf-8")
    tokenizer = Wav2Vec2CTCTokenizer(str(vocabulary), unk_token="<unk>", pad_token="<pad>", word_delimiter_token="|")
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=synthesis.SAMPLING_RATE, return_attention_mask=True)
    Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)


def train_recognizer(
    texts: Sequence[str], folder: Path, progress: Progress, steps: int = STEPS, seed: int = SEED
) -> dict[str, float]:
    """Speak the texts, train on them, save to `folder`; return the steps, hours of speech heard and the last loss."""
    progress(f"speaking {len(texts)} training sentences")
    spoken = synthesis.render(texts, synthesis.KNOWN_VOICES, seed, TRAINING_SPEEDS, TRAINING_PITCHES)
    # the codec is part of what the model must hear through
    waves = [synthesis.decode(synthesis.encode_mp3(utterance.wave)) for utterance in spoken]
    with seeded(seed):
        model = make_model()
        heard = _Counter()
        batches = _batches(waves, texts, random.Random(seed), heard)
        loss = train(model, batches, lambda batch: _ctc_loss(model, *batch), steps, PEAK_RATE, progress)
        loss = learn_padding(model, waves, texts, seed + 1, heard, progress)
    folder.mkdir(parents=True, exist_ok=True)
    save(model, folder)
    return {"steps": steps + PADDING_STEPS, "hours_heard": heard.seconds / 3600, "loss": loss}


def learn_padding(
    model: Wav2Vec2ForCTC,
    waves: Sequence[np.ndarray],
    texts: Sequence[str],
    seed: int,
    heard: _Counter,
    progress: Progress,
    steps: int = PADDING_STEPS,
) -> float:
    """Train on batches of unequal lengths with a penalty on anything but blanks in the padding; return the loss."""
    batches = _batches(waves, texts, random.Random(seed), heard, alike=False)
    loss = partial(_ctc_loss, model, penalize_padding=True)
    return train(model, batches, lambda batch: loss(*batch), steps, PADDING_PEAK_RATE, progress)


class _Counter:
    seconds = 0.0


def _batches(
    waves: Sequence[np.ndarray], texts: Sequence[str], chooser: random.Random, heard: _Counter, alike: bool = True
) -> Iterator[tuple[torch.Tensor, torch.Tensor, list[list[int]]]]:
    """Yield padded waves (b, n), their mask (b, n) and target ids for ever.

    `alike` batches hold waves of like length, and the first pass over the data goes from short to long.
    """
    import numpy as np
    import torch

    generator = np.random.default_rng(chooser.getrandbits(32))
    index = {character: i for i, character in enumerate(CHARACTERS)}
    first_pass = alike
    while True:
        groups = _grouped([len(wave) for wave in waves], chooser, alike)
        if not first_pass:
            chooser.shuffle(groups)
        first_pass = False
        for group in groups:
            varied = [augmentation.vary(waves[i], generator) for i in group]
            heard.seconds += sum(len(wave) for wave in varied) / synthesis.SAMPLING_RATE
            values = np.zeros((len(varied), max(len(wave) for wave in varied)), dtype=np.float32)
            mask = np.zeros(values.shape, dtype=np.int64)
            for row, wave in enumerate(varied):
                values[row, : len(wave)], mask[row, : len(wave)] = wave, 1
            yield (torch.from_numpy(values), torch.from_numpy(mask),
                   [[index["|" if c == " " else c] for c in texts[i]] for i in group])  # fmt: skip


def _grouped(lengths: Sequence[int], chooser: random.Random, alike: bool) -> list[list[int]]:
    """Group indices, by roughly equal length or by chance, into at most SECONDS_PER_BATCH with their padding."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i] if alike else 1) * (1 + 0.15 * chooser.random()))
    groups: list[list[int]] = []
    longest = 0
    for i in order:
        longest = max(longest, lengths[i])
        if not groups or longest * (len(groups[-1]) + 1) > SECONDS_PER_BATCH * synthesis.SAMPLING_RATE:
            groups.append([])
            longest = lengths[i]
        groups[-1].append(i)
    return groups


def _ctc_loss(
    model: Wav2Vec2ForCTC,
    values: torch.Tensor,
    mask: torch.Tensor,
    targets: list[list[int]],
    penalize_padding: bool = False,
) -> torch.Tensor:
    """CTC loss per target character, and on request the mean loss of a blank over the padded frames."""
    import torch

    log_probabilities = model(values, attention_mask=mask).logits.log_softmax(-1).transpose(0, 1)
    frames = model._get_feat_extract_output_lengths(mask.sum(-1))
    lengths = torch.tensor([len(target) for target in targets])
    flat = torch.tensor([i for target in targets for i in target])
    total = torch.nn.functional.ctc_loss(log_probabilities, flat, frames, lengths, reduction="sum", zero_infinity=True)
    loss = total / lengths.sum()
    if penalize_padding:
        beyond = torch.arange(len(log_probabilities))[:, None] >= frames
        loss = loss - (log_probabilities[..., 0] * beyond).sum() / beyond.sum().clamp(min=1)
    return loss


def transcribe(
    model: Wav2Vec2ForCTC, processor: Wav2Vec2Processor, waves: Sequence[np.ndarray], batch_size: int = 16
) -> list[str]:
    """Return the greedy transcription of each wave (n,), in order."""
    import torch

    texts: list[str] = []
    for start in range(0, len(waves), batch_size):
        chunk = list(waves[start : start + batch_size])
        inputs = processor(chunk, sampling_rate=synthesis.SAMPLING_RATE, return_tensors="pt", padding=True)
        with torch.inference_mode():
            best = model(**inputs).logits.argmax(-1)
        frames = model._get_feat_extract_output_lengths(inputs["attention_mask"].sum(-1))
        beyond = torch.arange(best.shape[1]) >= frames[:, None]
        texts += processor.batch_decode(best.masked_fill(beyond, model.config.pad_token_id))
    return texts


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Return word substitutions, insertions and deletions over the number of reference words."""
    edits = sum(Levenshtein.distance(r.split(), h.split()) for r, h in zip(references, hypotheses, strict=True))
    return edits / sum(len(reference.split()) for reference in references)
