"""Generation from stitched models against references built by hand from the whole target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from composites import whole
from stitches import end
from stitches import stitched as joined
from tiny_models import SPEECH, tiny
from torch import Tensor

from hf_stitch.errors import HookError
from hf_stitch.hooks.capture import capture, replaced
from hf_stitch.hooks.generation import generate_from, generation_way, left_padded
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.hooks.trace import probe
from hf_stitch.models.modeling_stitched import StitchedModel


def stitched(target: Any, hook: str) -> StitchedModel:
    """A tiny Wav2Vec2 onto the target: an affine map of random rows, three frames for two positions."""
    return joined(end(tiny("wav2vec2_stable"), "wav2vec2.encoder.layers.1"), end(target, hook), scale=5)


def sounds() -> dict[str, Tensor]:
    torch.manual_seed(5)
    mask = (torch.arange(420) < torch.tensor([[420], [300], [230]])).long()
    return {"input_values": torch.randn(3, 420) * mask, "attention_mask": mask}


def crossing(model: StitchedModel) -> tuple[Tensor, Tensor]:
    """What arrives at the target's hook point, and its mask."""
    batch = sounds()
    with torch.no_grad():
        frames, mask, path = model.activations(batch)
        plan = model.plan(mask, path, None, None)
        return model.stitch(frames, mask, plan), plan.mask


def by_hand(target: Any, hook: str, values: Tensor, mask: Tensor, **kwargs: Any) -> Tensor:
    """The whole target's encoder with the values put in, then its own generation from those states."""
    point = probe(target, hook, make_inputs_for(target))
    with torch.no_grad():
        if target.main_input_name == "inputs":
            samples = (mask.sum(1) - 1) * 20 + 30  # of so many frames: kernels 10, 3, 2 and strides 5, 2, 2
            seen = (torch.arange(int(samples.max())) < samples[:, None]).long()
            inputs = {"input_values": torch.zeros(seen.shape), "attention_mask": seen}
        else:
            seen = mask.long()
            inputs = {"input_ids": torch.full(mask.shape, 7), "attention_mask": seen}
        with replaced(target, point, values):
            states = target.get_encoder()(**inputs)
        return target.generate(encoder_outputs=states, attention_mask=seen, **kwargs)


def first_scores(generate: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Scores (b, vocabulary) of the first token."""
    found = generate(*args, **kwargs, num_beams=1, return_dict_in_generate=True, output_logits=True)
    return found.logits[0]


@pytest.mark.parametrize(
    ("kind", "hook"),
    [
        ("bart", "model.encoder.layers.1"), ("bart", "model.encoder.embed_tokens"), ("mbart", "model.encoder.layers.2"),
        ("t5", "encoder.block.0"), ("t5", "encoder.block.2"), ("speech", "encoder.encoder.layers.1"),
    ],
)  # fmt: skip
def test_an_encoder_decoder_generates_as_by_hand(kind: str, hook: str, tmp_path: Path) -> None:
    target = whole(kind)
    model = stitched(target, hook)
    values, mask = crossing(model)
    assert not bool(mask.all())
    found = {}
    for beams in (1, 3):
        found[beams] = model.generate(**sounds(), num_beams=beams)
        assert torch.equal(found[beams], by_hand(target, hook, values, mask, num_beams=beams))
        assert torch.equal(found[beams], model.generate(**sounds(), num_beams=beams, use_cache=False))
    scores = first_scores(model.generate, **sounds())
    assert torch.allclose(scores, first_scores(by_hand, target, hook, values, mask), atol=1e-4)
    assert float(scores.std(0).max()) > 1e-4  # it listens: different sounds, different scores
    alone = {"inputs": sounds()["input_values"][1:2, :300]}
    single = model.generate(**alone, num_beams=1)[0]
    length = min(len(single), found[1].shape[1])
    assert single[:length].tolist() == found[1][1, :length].tolist()
    model.save_pretrained(tmp_path)
    again = StitchedModel.from_pretrained(tmp_path).eval()
    assert again.suffix.generation_config.max_new_tokens == 9
    assert torch.equal(again.generate(**sounds(), num_beams=3), found[3])


@pytest.mark.parametrize(
    ("kind", "hook"),
    [("gpt2", "transformer.wte"), ("llama", "model.embed_tokens"), ("qwen2", "model.embed_tokens")],
)
def test_a_causal_model_generates_from_a_stitched_prompt(kind: str, hook: str, tmp_path: Path) -> None:
    target = whole(kind)
    model = stitched(target, hook)
    values, mask = crossing(model)
    assert not bool(mask.all())
    left, seen = left_padded(values, mask)
    for beams in (1, 3):
        found = model.generate(**sounds(), num_beams=beams)
        assert torch.equal(found, target.generate(inputs_embeds=left, attention_mask=seen.long(), num_beams=beams))
        assert torch.equal(found, model.generate(**sounds(), num_beams=beams, use_cache=False))
    greedy = model.generate(**sounds(), num_beams=1)
    scores = first_scores(model.generate, **sounds())
    wanted = first_scores(target.generate, inputs_embeds=left, attention_mask=seen.long())
    assert torch.allclose(scores, wanted, atol=1e-4)
    assert float(scores.std(0).max()) > 1e-4  # it listens: different sounds, different scores
    for row in range(3):  # one at a time, without cache, by the definition of greedy
        prompt, tokens = values[row : row + 1, mask[row]], []
        for token in greedy[row].tolist():
            with torch.no_grad():
                more = target.get_input_embeddings()(torch.tensor([tokens], dtype=torch.long))
                assert int(target(inputs_embeds=torch.cat([prompt, more], 1)).logits[0, -1].argmax()) == token
            tokens.append(token)
            if token == target.generation_config.eos_token_id:
                break
    model.save_pretrained(tmp_path)
    again = StitchedModel.from_pretrained(tmp_path).eval()
    assert torch.equal(again.generate(**sounds(), num_beams=3), found)
    with torch.no_grad():  # forward still starts at the embedding
        assert torch.equal(model(**sounds()).logits, again(**sounds()).logits)


def test_left_padding_keeps_the_order_of_what_is_real() -> None:
    values, mask = torch.arange(8.0).view(2, 4, 1), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]]).bool()
    moved, seen = left_padded(values, mask)
    assert seen.tolist() == [[False, True, True], [True, True, True]]
    assert moved[seen].flatten().tolist() == [0, 1, 4, 5, 6]


@pytest.mark.parametrize(
    ("kind", "hook", "reason"),
    [
        ("bart", "model.decoder.layers.1", "inside its encoder"),
        ("t5", "decoder.block.0", "inside its encoder"),
    ],
)
def test_places_from_which_nothing_is_generated(kind: str, hook: str, reason: str) -> None:
    target = whole(kind)
    point = probe(target, hook, make_inputs_for(target))
    with pytest.raises(HookError, match=reason):
        generation_way(target, point)


@pytest.mark.parametrize(("kind", "hook"), [("gpt2", "transformer.h.1"), ("llama", "model.layers.0")])
def test_from_the_middle_of_a_causal_model_only_a_whole_stitched_model_generates(kind: str, hook: str) -> None:
    target = whole(kind)
    point = probe(target, hook, make_inputs_for(target))
    assert generation_way(target, point) == "middle"
    with pytest.raises(HookError, match="`generate` of the stitched model"):
        generate_from(target, plan_suffix(target, point), torch.randn(1, 3, 32))


def test_a_classifier_does_not_generate_and_a_cut_prompt_is_refused() -> None:
    model = stitched(tiny("roberta"), "roberta.encoder.layer.1")
    with pytest.raises(HookError, match="does not generate"):
        model.generate(**sounds())
    target = whole("gpt2")
    point = probe(target, "transformer.wte", make_inputs_for(target))
    with pytest.raises(HookError, match="plan_prompt"):
        generate_from(target, plan_suffix(target, point), torch.randn(1, 3, 32))
    assert SPEECH["conv_stride"] == (5, 2, 2)
    assert capture(target, [point], {"input_ids": torch.tensor([[3, 4]])})[0].shape == (1, 2, 32)
