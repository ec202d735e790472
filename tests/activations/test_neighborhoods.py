"""Neighbours: drawn by name alone, and what they do to activations."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
import transformers as tf
from torch import Tensor

from hf_stitch.activations.neighborhoods import BLOCK, SMALL, Neighborhood, embedding_point, noise, perturbations
from hf_stitch.errors import HookError
from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.masks import timestep_mask
from hf_stitch.hooks.points import HookPoint
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.trace import probe

KEYS = ["one", "two", "three"]


def point_of(model: tf.PreTrainedModel, module: str) -> HookPoint:
    return probe(model, module, make_inputs_for(model))


@pytest.fixture(scope="module")
def tanh() -> tf.PreTrainedModel:
    from hf_stitch.zoo.networks.tanh import TanhNetworkConfig, TanhNetworkModel

    torch.manual_seed(0)
    return TanhNetworkModel(TanhNetworkConfig([2, 8, 8, 1])).double().eval()


@pytest.fixture(scope="module")
def speech(pico_wav2vec2: Path) -> tf.PreTrainedModel:
    return tf.AutoModelForCTC.from_pretrained(pico_wav2vec2).eval()


@pytest.fixture(scope="module")
def text(pico_xlnet: Path) -> tf.PreTrainedModel:
    return tf.AutoModelForSequenceClassification.from_pretrained(pico_xlnet).eval()


@pytest.mark.parametrize("shape", [(3,), (SMALL,), (SMALL + 1,), (2, 16)])
def test_noise_is_a_function_of_seed_key_and_number(shape: tuple[int, ...]) -> None:
    first = noise(0, "a", 5, shape).clone()
    noise(1, "b", 700, shape)
    assert first.shape == shape
    assert first.dtype == torch.float32
    assert torch.equal(noise(0, "a", 5, shape), first)
    others = [
        noise(1, "a", 5, shape),
        noise(0, "b", 5, shape),
        noise(0, "a", 6, shape),
        noise(0, "a", 5 + BLOCK, shape),
    ]
    assert all(not torch.equal(other, first) for other in others)


@pytest.mark.parametrize("shape", [(3,), (SMALL + 1,)])
def test_noise_is_standard_normal_and_unrelated(shape: tuple[int, ...]) -> None:
    draws = torch.stack([noise(0, key, j, shape) for key in ("a", "b") for j in range(600)])
    assert abs(float(draws.mean())) < 0.05
    assert abs(float(draws.var()) - 1) < 0.05
    assert abs(float((draws[:600] * draws[600:]).mean())) < 0.05
    assert abs(float((draws[:-1] * draws[1:]).mean())) < 0.05


def test_noise_does_not_touch_the_global_generator() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    noise(0, "never drawn before", 0, (SMALL + 1,))
    assert torch.equal(torch.get_rng_state(), before)


def gathered(found: Iterator[Tensor]) -> Tensor:
    return torch.cat(list(found), 1)


def test_moves_are_the_change_of_the_activation(tanh: tf.PreTrainedModel) -> None:
    point, x = point_of(tanh, "activations.1"), torch.randn(3, 2, dtype=torch.float64)
    around = Neighborhood("gaussian", 5, 0.1, seed=3)
    found = gathered(perturbations(tanh, point, {"inputs": x}, KEYS, around, chunk=2))
    assert found.shape == (3, 5, 1, 8)
    with torch.no_grad():
        centre = capture(tanh, [point], {"inputs": x})[0]
        for i, key in enumerate(KEYS):
            for j in range(5):
                moved = x[i : i + 1] + 0.1 * noise(3, key, j, (2,)).double()
                wanted = capture(tanh, [point], {"inputs": moved})[0][0] - centre[i]
                torch.testing.assert_close(found[i, j], wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", ["gaussian", "jacobian"])
@pytest.mark.parametrize("chunk", [1, 2, 3, 100])
def test_chunks_change_nothing(tanh: tf.PreTrainedModel, kind: str, chunk: int) -> None:
    point, x = point_of(tanh, "activations.0"), torch.randn(3, 2, dtype=torch.float64)
    around = Neighborhood(kind, 7, 0.1, 0)
    found = list(perturbations(tanh, point, {"inputs": x}, KEYS, around, chunk))
    assert all(part.shape[1] <= chunk for part in found)
    whole = gathered(perturbations(tanh, point, {"inputs": x}, KEYS, around, 7))
    torch.testing.assert_close(torch.cat(found, 1), whole, rtol=0, atol=1e-14)


@pytest.mark.parametrize("size", [2, 50])
def test_exact_moves_have_the_covariance_of_the_jacobian(tanh: tf.PreTrainedModel, size: int) -> None:
    point, x = point_of(tanh, "activations.1"), torch.randn(3, 2, dtype=torch.float64)
    around = Neighborhood("jacobian", size, 0.1, 0)
    found = gathered(perturbations(tanh, point, {"inputs": x}, KEYS, around, chunk=1))[:, :, 0]
    assert (
        found.shape[1] == 3
    )  # the input has two numbers: two tangents say everything, and a third that nothing is left
    assert not found[:, 2].any()
    assert not found.requires_grad
    for i in range(3):
        run = partial(lambda row: capture(tanh, [point], {"inputs": row[None]})[0][0, 0])
        jacobian = torch.autograd.functional.jacobian(run, x[i])
        torch.testing.assert_close(found[i].T @ found[i] / 3, 0.01 * jacobian @ jacobian.T)


def test_small_gaussian_moves_are_the_tangents_of_the_same_draws(speech: tf.PreTrainedModel) -> None:
    model = tf.AutoModelForCTC.from_config(speech.config).double().eval()
    model.load_state_dict(speech.state_dict())
    point, width = point_of(model, "wav2vec2.encoder.layers.0"), 1e-6
    inputs = {"input_values": torch.randn(2, 1600, dtype=torch.float64)}
    exact = gathered(perturbations(model, point, inputs, KEYS[:2], Neighborhood("jacobian", 3, width, 0), 1))
    drawn = gathered(perturbations(model, point, inputs, KEYS[:2], Neighborhood("gaussian", 3, width, 0), 3))
    torch.testing.assert_close(drawn, exact, rtol=1e-3, atol=1e-4 * float(exact.abs().max()))


def padded(rows: list[Tensor], side: str) -> tuple[Tensor, Tensor]:
    longest = max(len(row) for row in rows)
    values, mask = torch.zeros(len(rows), longest, dtype=rows[0].dtype), torch.zeros(len(rows), longest).long()
    for i, row in enumerate(rows):
        place = slice(longest - len(row), longest) if side == "left" else slice(0, len(row))
        values[i, place], mask[i, place] = row, 1
    return values, mask


@pytest.mark.parametrize("kind", ["gaussian", "jacobian"])
def test_padding_does_not_move_and_does_not_change_a_samples_moves(speech: tf.PreTrainedModel, kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(n, generator=generator) for n in (1920, 1280)]
    point = point_of(speech, "wav2vec2.encoder.layers.1")
    around = Neighborhood(kind, 3, 0.01, 0)
    values, mask = padded(rows, "right")
    inputs = {"input_values": values, "attention_mask": mask}
    together = gathered(perturbations(speech, point, inputs, KEYS[:2], around, 2))
    real = timestep_mask(speech, mask, together[:, 0])
    for i, row in enumerate(rows):
        one = {"input_values": row[None], "attention_mask": torch.ones(1, len(row)).long()}
        alone = gathered(perturbations(speech, point, one, KEYS[i : i + 1], around, 3))
        torch.testing.assert_close(together[i][:, real[i]], alone[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", ["gaussian", "jacobian"])
def test_text_moves_behind_its_embedding_whatever_the_padding(text: tf.PreTrainedModel, kind: str, side: str) -> None:
    rows = [torch.tensor([7, 8, 9, 10, 2, 3]), torch.tensor([11, 5, 2, 3])]
    ids, mask = padded(rows, side)
    embedding = embedding_point(text, lambda module: point_of(text, module))
    assert embedding.module == "transformer.word_embedding"
    around = Neighborhood(kind, 3, 0.01, 0, embedding)
    point = point_of(text, "transformer.layer.0")
    together = gathered(perturbations(text, point, {"input_ids": ids, "attention_mask": mask}, KEYS[:2], around, 3))
    assert together.abs().max() > 1e-3
    for i, row in enumerate(rows):
        one = {"input_ids": row[None], "attention_mask": torch.ones(1, len(row)).long()}
        alone = gathered(perturbations(text, point, one, KEYS[i : i + 1], around, 1))
        torch.testing.assert_close(together[i][:, mask[i].bool()], alone[0], rtol=1e-3, atol=1e-5)


def test_moves_at_the_embedding_itself_are_the_draws(text: tf.PreTrainedModel) -> None:
    embedding = embedding_point(text, lambda module: point_of(text, module))
    ids, mask = padded([torch.tensor([7, 8, 2, 3]), torch.tensor([9, 3])], "left")
    around = Neighborhood("gaussian", 2, 0.1, 5, embedding)
    found = gathered(perturbations(text, embedding, {"input_ids": ids, "attention_mask": mask}, KEYS[:2], around, 2))
    torch.testing.assert_close(found[0, 1], 0.1 * noise(5, "one", 1, (4, 16)), rtol=0, atol=1e-6)
    torch.testing.assert_close(found[1, 0, 2:], 0.1 * noise(5, "two", 0, (2, 16)), rtol=0, atol=1e-6)
    assert not found[1, :, :2].any()


@pytest.mark.parametrize("kind", ["gaussian", "jacobian"])
def test_no_hook_stays_behind(text: tf.PreTrainedModel, kind: str) -> None:
    embedding = embedding_point(text, lambda module: point_of(text, module))
    inputs = {"input_ids": torch.tensor([[7, 8, 2, 3]]), "attention_mask": torch.ones(1, 4).long()}
    before = text(**inputs).logits
    for _ in perturbations(
        text, point_of(text, "transformer.layer.1"), inputs, KEYS[:1], Neighborhood(kind, 2, 1.0, 0, embedding), 1
    ):
        break
    list(
        perturbations(
            text, point_of(text, "transformer.layer.1"), inputs, KEYS[:1], Neighborhood(kind, 2, 1.0, 0, embedding), 1
        )
    )
    assert torch.equal(text(**inputs).logits, before)
    assert not any(module._forward_hooks for module in text.modules())


def test_a_layer_that_the_input_does_not_reach_does_not_move(text: tf.PreTrainedModel) -> None:
    embedding = embedding_point(text, lambda module: point_of(text, module))
    inputs = {"input_ids": torch.tensor([[7, 8, 2, 3]]), "attention_mask": torch.ones(1, 4).long()}
    point = point_of(text, "transformer.word_embedding")
    around = Neighborhood("jacobian", 2, 1.0, 0, point_of(text, "transformer.layer.0"))
    assert embedding.module == point.module
    assert not gathered(perturbations(text, point, inputs, KEYS[:1], around, 1)).any()


def test_token_ids_cannot_be_perturbed(text: tf.PreTrainedModel) -> None:
    inputs = {"input_ids": torch.tensor([[7, 8, 2, 3]])}
    around = Neighborhood("gaussian", 2, 1.0, 0)
    with pytest.raises(
        HookError, match=r"no continuous input \(it was given input_ids\); set neighborhoods.where: emb"
    ):
        next(perturbations(text, point_of(text, "transformer.layer.0"), inputs, KEYS[:1], around, 1))


def test_a_model_without_an_embedding_is_told_so(tanh: tf.PreTrainedModel) -> None:
    with pytest.raises(HookError, match=r"TanhNetworkModel has no input embedding; set neighborhoods.where: input"):
        embedding_point(tanh, lambda module: point_of(tanh, module))
