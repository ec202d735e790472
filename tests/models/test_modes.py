"""Stitched models in every mode that transformers has, over a cover of families.

The families stand for the ways in which models differ: an audio encoder whose masks are in frames, a BERT with learned
positions, XLNet with time first, ALBERT's shared layers, T5 whose first block holds the bias of all, GPT-2 and Llama
with caches, a ViT of fixed length.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from composites import whole
from stitches import end, preparer, saved, stitched, words
from tiny_models import tiny
from torch import Tensor

from hf_stitch.errors import ActivationError, ArtifactError, HookError
from hf_stitch.hooks.capture import capture
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.suffix import apply_suffix_plan, run_suffix
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.hooks.trace import probe
from hf_stitch.models.modeling_stitched import StitchedForGeneration, StitchedModel

SHARED = "albert.encoder.albert_layer_groups.0.albert_layers.0#1"
PAIRS = {
    "audio-bert": ("wav2vec2_stable", "wav2vec2.encoder.layers.1", "roberta", "roberta.encoder.layer.1"),
    "bert-xlnet": ("bert", "bert.encoder.layer.1", "xlnet", "transformer.layer.0"),
    "albert-gpt2": ("albert", SHARED, "gpt2", "transformer.h.0"),
    "gpt2-llama": ("gpt2", "transformer.h.0", "llama", "model.layers.1"),
    "xlnet-t5": ("xlnet", "transformer.layer.0", "t5_encoder", "encoder.block.0"),
    "vit-vit": ("vit", "vit.layers.0", "vit", "vit.layers.1"),
}
every = pytest.mark.parametrize("pair", PAIRS)


def made(pair: str, length: int = 9) -> tuple[StitchedModel, dict[str, Tensor]]:
    """A stitched model of random weights, and a batch of two."""
    first, here, second, there = PAIRS[pair]
    source = tiny(first)
    model = stitched(end(source, here), end(tiny(second), there), {"ratio": 1.0})
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = make_inputs_for(source)(2, length)
    return model, {key: value for key, value in batch.items() if isinstance(value, Tensor)}


def main(model: Any, batch: dict[str, Tensor]) -> Tensor:
    output = model(**batch)
    return output.logits if "logits" in output else output.last_hidden_state


def gradients(model: StitchedModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    torch.manual_seed(0)  # some attentions drop out by a function, which is no module
    main(model, batch).square().mean().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@every
def test_without_gradients_and_in_half_precision(pair: str) -> None:
    model, batch = made(pair)
    wanted = main(model, batch)
    assert wanted.requires_grad is False  # nothing trains by default
    size = float(wanted.abs().max())
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(main(model, batch), wanted)
    kept = {name: value.clone() for name, value in model.layer.state_dict().items()}
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert float((main(model, batch).float() - wanted).abs().max()) < 0.05 * size
    with torch.no_grad():
        half = main(model.to(torch.bfloat16), batch)
    assert half.dtype == torch.bfloat16
    assert float((half.float() - wanted).abs().max()) < 0.05 * size
    assert all(torch.equal(value, kept[name]) for name, value in model.layer.state_dict().items())


def checkpoints(model: StitchedModel) -> bool:
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


@every
def test_gradient_checkpointing_changes_no_gradient(pair: str) -> None:
    model, batch = made(pair)
    model.trainable("all").train()
    wanted = gradients(model, batch)
    assert any(name.startswith("prefix.") for name in wanted)
    for again in (False, True):
        model.gradient_checkpointing_enable({"use_reentrant": again})
        assert checkpoints(model)
        found = gradients(model, batch)
        assert found.keys() == wanted.keys()
        for name, value in found.items():
            torch.testing.assert_close(value, wanted[name], rtol=1e-5, atol=1e-8)
    model.activation_checkpointing_disable()
    assert not checkpoints(model)


def test_checkpointing_where_neither_half_can() -> None:
    ends = end(tiny("xlnet"), "transformer.layer.0"), end(tiny("albert"), SHARED)
    with pytest.raises(ArtifactError, match=r"neither XLNetFor.* nor AlbertFor.* supports gradient checkpointing"):
        stitched(*ends).gradient_checkpointing_enable()


@every
def test_fine_tuning_moves_the_map_alone(pair: str) -> None:
    model, batch = made(pair)
    model.trainable("layer").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    goal = torch.randn_like(main(model, batch))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = (main(model, batch) - goal).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("layer.") for name in changed)


@pytest.mark.parametrize("pair", ["audio-bert", "xlnet-t5", "gpt2-llama"])
def test_offloaded_to_memory_and_to_disk(pair: str, tmp_path: Path) -> None:
    from accelerate import cpu_offload, disk_offload

    model, batch = made(pair)
    wanted, device = main(model, batch), torch.device("cpu")
    there = copy.deepcopy(model)
    disk_offload(there, tmp_path, execution_device=device)
    assert any(p.is_meta for p in there.parameters())
    cpu_offload(model, execution_device=device)
    for one in (model, there, there):
        with torch.no_grad():
            assert torch.equal(main(one, batch), wanted)


def test_loaded_onto_a_device_map(tmp_path: Path) -> None:
    first, here, second, there = PAIRS["audio-bert"]
    source, target = tiny(first), tiny(second)
    folder = saved(tmp_path / "model", end(source, here, preparer(source)), end(target, there, preparer(target)))
    batch = {"input_values": make_inputs_for(source)(2, 9)["input_values"]}
    wanted = main(StitchedModel.from_pretrained(folder), batch)
    parts = {"prefix": "cpu", "layer": "cpu", "rule": "cpu", "suffix": "disk"}
    for places in ("auto", {"": "cpu"}, parts):
        model = StitchedModel.from_pretrained(folder, device_map=places, offload_folder=tmp_path / "off")
        with torch.no_grad():
            assert torch.equal(main(model, batch), wanted)


# torch.compile


@pytest.mark.parametrize("pair", ["audio-bert", "xlnet-t5"])
def test_compiled_it_answers_the_same_and_follows_the_map(pair: str) -> None:
    model, batch = made(pair)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        first = main(compiled, batch)
        assert torch.equal(first, main(model, batch))
        for parameter in model.layer.parameters():
            parameter.add_(torch.randn_like(parameter))
        second = main(compiled, batch)
        assert torch.equal(second, main(model, batch))
    assert not torch.allclose(first, second)
    torch._dynamo.reset()


def test_hooks_that_come_after_compiling_are_seen() -> None:
    model = tiny("bert")
    make = make_inputs_for(model)
    plan = plan_suffix(model, probe(model, "bert.encoder.layer.1", make))
    values = torch.randn(2, 5, 32)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        compiled(**make(2, 5))  # before any hook is there
        wanted = run_suffix(model, plan, values).logits
        assert torch.equal(run_suffix(compiled, plan, values).logits, wanted)
        apply_suffix_plan(model, plan)
        assert torch.equal(run_suffix(compiled, plan, values).logits, wanted)
    torch._dynamo.reset()


@pytest.mark.parametrize("cut", [True, False])
def test_a_hook_that_is_passed_over_is_an_error(cut: bool) -> None:
    """As by a compiled block that was traced before the hook was there."""
    model = tiny("t5_encoder")
    plan = plan_suffix(model, probe(model, "encoder.block.0", make_inputs_for(model)))
    if cut:
        apply_suffix_plan(model, plan)
    block = model.encoder.block[0]
    block.__class__ = type("Blind", (type(block),), {"__call__": lambda self, *a, **k: self.forward(*a, **k)})
    with pytest.raises(HookError, match=r"never reached|nothing was replaced"):
        run_suffix(model, plan, torch.randn(2, 5, 32))


# several processes


def _one_of_two(folder: str) -> None:
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    if not dist.is_initialized():
        dist.init_process_group("gloo")
    assert dist.get_world_size() == 2
    rank = dist.get_rank()
    model, batch = made("audio-bert")
    parallel = DistributedDataParallel(model.trainable("layer"))
    output = parallel(**{key: value[rank : rank + 1] for key, value in batch.items()})
    output.logits.square().mean().backward()
    torch.save({n: p.grad for n, p in model.named_parameters() if p.grad is not None}, f"{folder}/{rank}.pt")
    dist.barrier()


def test_two_processes_average_their_gradients(tmp_path: Path) -> None:
    from accelerate import debug_launcher

    debug_launcher(_one_of_two, (str(tmp_path),), num_processes=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    model, batch = made("audio-bert")
    model.trainable("layer")
    alone = [gradients(model, {key: value[i : i + 1] for key, value in batch.items()}) for i in (0, 1)]
    assert one.keys() == alone[0].keys() != set()
    for name in one:
        assert torch.equal(one[name], two[name])
        assert not torch.allclose(one[name], alone[0][name])
        torch.testing.assert_close(one[name], (alone[0][name] + alone[1][name]) / 2)


# lengths and padding


@pytest.mark.parametrize(("family", "hook"), [("roberta", "roberta.encoder.layer.0"), ("gpt2", "transformer.h.1"),
                                              ("electra", "electra.encoder.layer.1")])  # fmt: skip
def test_longer_than_the_target_s_positions(family: str, hook: str) -> None:
    source, target = tiny("wav2vec2_stable"), tiny(family)
    model = stitched(end(source, "wav2vec2.encoder.layers.1"), end(target, hook), {"ratio": 1.0})
    assert main(model, {"input_values": torch.randn(1, 20 * 60 + 10)}).isfinite().all()  # 60 frames, 40 positions


PADDED = {
    "wavlm": "wavlm.encoder.layers.1", "sew": "sew.encoder.layers.1", "hubert": "hubert.encoder.layers.0",
    "albert": SHARED, "electra": "electra.encoder.layer.0", "mpnet": "mpnet.encoder.layer.1",
    "deberta_v2": "deberta.encoder.layer.1", "distilbert": "distilbert.transformer.layer.1",
    "modernbert": "model.layers.1", "qwen2": "model.layers.1", "clip_text": "text_model.encoder.layers.1",
}  # fmt: skip


@pytest.mark.parametrize("family", PADDED)
def test_padded_rows_answer_as_alone(family: str) -> None:
    model = tiny(family)
    plan = plan_suffix(model, probe(model, PADDED[family], make_inputs_for(model)))
    apply_suffix_plan(model, plan)
    lengths = (12, 8) if family == "sew" else (9, 6)
    values = torch.randn(2, lengths[0], 32, generator=torch.Generator().manual_seed(1))
    mask = torch.arange(lengths[0]) < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        output = run_suffix(model, plan, values, mask)
        for row, length in enumerate(lengths):
            alone = run_suffix(model, plan, values[row : row + 1, :length])
            for key in ("logits", "text_embeds"):
                if key in alone:
                    both = output[key][row], alone[key][0]
                    real = both[1].shape[0] if both[1].ndim == 2 else None
                    torch.testing.assert_close(both[0][:real], both[1], rtol=0, atol=2e-6)


# further inputs of the target


def text() -> tuple[Any, dict[str, Tensor]]:
    source = tiny("roberta")
    batch = make_inputs_for(source)(2, 7)
    return end(source, "roberta.encoder.layer.1"), {"input_ids": batch["input_ids"]}


def test_a_decoder_is_given_the_states_of_its_encoder() -> None:
    here, batch = text()
    target = tiny("t5")
    model = stitched(here, end(target, "decoder.block.1"), {"ratio": 1.0})
    assert type(model) is StitchedModel
    ids, mask = torch.randint(4, 60, (2, 5)), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    with torch.no_grad():
        states = target.get_encoder()(ids, attention_mask=mask)
        whole_mask = model(**batch, encoder_outputs=states).logits
        found = model(**batch, encoder_outputs=states, encoder_attention_mask=mask).logits
        assert torch.equal(model(**batch, encoder_outputs=states[0], encoder_attention_mask=mask).logits, found)
        assert not torch.allclose(found[1], whole_mask[1])
        frames, seen, plan = model.crossing(batch)
        values = model.stitch(frames, seen, plan)
        wanted = run_suffix(target, model.config.ends["suffix"]["plan"], values, plan.mask, encoder_outputs=states,
                            attention_mask=mask).logits  # fmt: skip
    assert torch.equal(found, wanted)
    with pytest.raises(HookError, match="also needs encoder_outputs"):
        model(**batch)


def test_an_encoder_s_target_reads_decoder_tokens_or_labels() -> None:
    here, batch = text()
    target = whole("bart")
    model = stitched(here, end(target, "model.encoder.layers.1"), {"ratio": 1.0})
    tokens = torch.randint(4, 60, (2, 4))
    seen = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1]])
    with torch.no_grad():
        first = model(**batch, decoder_input_ids=tokens).logits
        masked = model(**batch, decoder_input_ids=tokens, decoder_attention_mask=seen).logits
        trained = model(**batch, labels=tokens)
    assert first.shape == (2, 4, 60)
    assert torch.equal(first[0], masked[0])
    assert not torch.allclose(first[1], masked[1])
    shifted = torch.cat([torch.full((2, 1), 2), tokens[:, :-1]], 1)
    with torch.no_grad():
        logits = model(**batch, decoder_input_ids=shifted).logits
    torch.testing.assert_close(trained.logits, logits)
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())
    torch.testing.assert_close(trained.loss, expected)
    with pytest.raises(HookError, match=r"also needs decoder_input_ids \(or decoder_inputs_embeds or labels\)"):
        model(**batch)


def test_the_other_tower_of_clip() -> None:
    here, batch = text()
    target = tiny("clip")
    there = end(target, "text_model.encoder.layers.1")
    model = stitched(here, there, {"ratio": 1.0})
    pictures = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        found = model(**batch, pixel_values=pictures).logits_per_image
        assert torch.equal(model(**batch, target_inputs={"pixel_values": pictures}).logits_per_image, found)
        assert found.shape == (3, 2)
        assert not torch.allclose(model(**batch, pixel_values=pictures.flip(-1)).logits_per_image, found)
    with pytest.raises(HookError, match="also needs pixel_values"):
        model(**batch)
    vision = tiny("vit")
    seeing = stitched(end(vision, "vit.layers.1"), there, {"ratio": 1.0})
    with torch.no_grad():  # the source's own picture, and the one that the target compares with
        own = seeing(pixel_values=pictures, target_inputs={"pixel_values": pictures.flip(0)}).logits_per_image
        other = seeing(pixel_values=pictures, target_inputs={"pixel_values": pictures}).logits_per_image
    torch.testing.assert_close(own.flip(0), other)


def test_inputs_that_nobody_takes() -> None:
    model, batch = made("bert-xlnet")
    with pytest.raises(ActivationError, match="XLNetForSequenceClassification, takes no decoder_input_ids"):
        model(**batch, decoder_input_ids=torch.ones(2, 3).long())
    with pytest.raises(ActivationError, match="the source takes input_ids; got pixel_values"):
        model(**batch, pixel_values=torch.randn(2, 3, 16, 16))


# Whisper


def test_whisper_writes_what_another_encoder_heard(tmp_path: Path) -> None:
    import transformers as tf

    base = tiny("whisper").config
    target = tf.WhisperForConditionalGeneration(base).eval()
    torch.manual_seed(3)
    for name, parameter in target.named_parameters():
        if parameter.ndim > 1 and "encoder_attn" in name:
            parameter.data = 0.5 * torch.randn_like(parameter)
    target.generation_config.update(max_new_tokens=6, max_length=None, num_beams=1, suppress_tokens=[2])
    source = tiny("wav2vec2_stable")
    here = end(source, "wav2vec2.encoder.layers.1", preparer(source))
    hook = "model.encoder.layers.1"
    there = end(target, hook, preparer(target, words()))
    folder = saved(tmp_path, here, there, {"target_length": "constant", "constant": 20}, 3)
    model = StitchedModel.from_pretrained(folder).eval()
    assert type(model) is StitchedForGeneration
    sounds = torch.randn(3, 420, generator=torch.Generator().manual_seed(0))
    point = probe(target, hook, make_inputs_for(target))
    with torch.no_grad():
        frames, mask, plan = model.crossing({"input_values": sounds})
        values = model.stitch(frames, mask, plan)
        from hf_stitch.hooks.capture import replaced

        features = torch.zeros(3, 8, 40)
        with replaced(target, point, values):
            states = target.get_encoder()(features)
        for beams in (1, 3):
            found = model.generate(input_values=sounds, num_beams=beams)
            wanted = target.generate(features, encoder_outputs=states, num_beams=beams)
            assert torch.equal(found, wanted)
    assert capture(target, [point], {"input_features": features, "decoder_input_ids": torch.ones(3, 1).long()})
