"""Which timesteps are real: by the input's own mask, or by the model's own formula of lengths."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import tiny
from transformers import AutoModelForCTC, AutoModelForSequenceClassification, PreTrainedModel

from hf_stitch.errors import HookError
from hf_stitch.hooks.masks import timestep_mask


@pytest.fixture(scope="module")
def speech(pico_wav2vec2: Path) -> PreTrainedModel:
    return AutoModelForCTC.from_pretrained(pico_wav2vec2).eval()


@pytest.fixture(scope="module")
def text(pico_xlnet: Path) -> PreTrainedModel:
    return AutoModelForSequenceClassification.from_pretrained(pico_xlnet).eval()


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_layer_as_long_as_its_input_has_the_inputs_mask(text: PreTrainedModel, side: str) -> None:
    real = torch.tensor([[0, 1, 1], [1, 1, 1]] if side == "left" else [[1, 1, 0], [1, 1, 1]])
    found = timestep_mask(text, real, torch.zeros(2, 3, 16))
    assert found.dtype == torch.bool
    assert torch.equal(found, real.bool())


def test_without_a_mask_or_with_one_timestep_all_is_real(text: PreTrainedModel) -> None:
    assert timestep_mask(text, None, torch.zeros(2, 5, 16)).all()
    pooled = timestep_mask(text, torch.tensor([[0, 1, 1]]), torch.zeros(1, 1, 16))
    assert pooled.tolist() == [[True]]


def test_audio_frames_follow_the_models_own_formula(speech: PreTrainedModel) -> None:
    lengths = [1600, 960, 1279]
    mask = (torch.arange(1600)[None] < torch.tensor(lengths)[:, None]).long()
    with torch.no_grad():
        frames = [speech.wav2vec2(torch.randn(1, n)).last_hidden_state.shape[1] for n in lengths]
        whole = speech.wav2vec2(torch.randn(3, 1600), attention_mask=mask).last_hidden_state
    found = timestep_mask(speech, mask, whole)
    assert found.shape == whole.shape[:2]
    assert found.sum(1).tolist() == frames
    assert all(row.tolist() == sorted(row.tolist(), reverse=True) for row in found)


def test_a_layer_of_another_length_is_refused(speech: PreTrainedModel, text: PreTrainedModel) -> None:
    with pytest.raises(HookError, match=r"has 9 timesteps, its input 1600.*hook a layer behind the feature extractor"):
        timestep_mask(speech, torch.ones(2, 1600, dtype=torch.long), torch.zeros(2, 9, 16))
    with pytest.raises(HookError, match="XLNetForSequenceClassification does not say how"):
        timestep_mask(text, torch.ones(2, 4, dtype=torch.long), torch.zeros(2, 3, 16))


def test_a_speech_encoder_decoder_shortens_as_its_encoder_does() -> None:
    model = tiny("speech_encoder_decoder")
    lengths = [600, 310]
    mask = torch.arange(600)[None] < torch.tensor(lengths)[:, None]
    frames = model.encoder._get_feat_extract_output_lengths(torch.tensor(lengths))
    assert timestep_mask(model, mask.long(), torch.zeros(2, int(frames[0]), 32)).sum(1).tolist() == frames.tolist()
