"""Families beyond the matrix, stitched to themselves by the identity, saved and loaded: none gives wrong numbers.

Here a hook point of each, in turn the earliest, a middle and the last one. All of them, padded batches and `generate`
too, as a table (some minutes): `PYTHONPATH=.:tests/helpers python tests/helpers/identity.py TABLE.tsv`
"""

from __future__ import annotations

import pytest
import torch
import transformers as tf
from identity import checks, hooks_of_stacks, loaded_again, stitched_to_itself, verdicts
from many_families import CLASSES, build
from shrunk import small_config
from torch import nn

from hf_stitch.errors import HookError
from hf_stitch.hooks import symbolic_shapes
from hf_stitch.hooks.generation import generation_way
from hf_stitch.hooks.trace import RUNS, probe
from hf_stitch.models.configuration_stitched import StitchedConfig

# Those of which a fault was once found, and every second of the others.
FOUND = (
    "BigBirdForSequenceClassification", "CTRLLMHeadModel", "FSMTForConditionalGeneration", "GitForCausalLM",
    "JambaForCausalLM", "NllbMoeForConditionalGeneration", "OpenAIGPTLMHeadModel", "PegasusXForConditionalGeneration",
    "RecurrentGemmaForCausalLM", "RwkvForCausalLM", "SwitchTransformersForConditionalGeneration", "VisualBertModel",
)  # fmt: skip
IN_TURN = [*FOUND, *[name for name in CLASSES if name not in FOUND][::2]]


@pytest.mark.parametrize("name", IN_TURN)
def test_a_family_is_identical_or_refused(name: str) -> None:
    model = build(name)
    try:
        hooks = hooks_of_stacks(model)
    except HookError as error:
        told = str(error)
    else:
        told = ""
    if told:
        assert "make_inputs" in told
        return
    hook = hooks[(0, len(hooks) // 2, -1)[IN_TURN.index(name) % 3]]
    for what, ended in verdicts(model, hook, once=True):
        assert ended == "identical" or ended.startswith("refused: HookError"), (hook, what, ended)


# --- a decoder that starts behind its encoder answers as the model does on its full input ----------------------------

DECODERS = {
    "FSMTForConditionalGeneration": "model.decoder.layers.1",
    "MvpForConditionalGeneration": "model.decoder.layers.0",
    "NllbMoeForConditionalGeneration": "model.decoder.layers.1",
    "PegasusXForConditionalGeneration": "model.decoder.layers.2",
    "ProphetNetForConditionalGeneration": "prophetnet.decoder.layers.1",
    "SwitchTransformersForConditionalGeneration": "decoder.block.1",
    "UMT5ForConditionalGeneration": "decoder.block.0",
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_started_from_states_answers_as_on_its_full_input(name: str) -> None:
    ended = dict(verdicts(build(name), DECODERS[name], once=True))
    assert set(ended.values()) == {"identical"}, ended


# --- what a fresh, loaded model lacks ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["JambaForCausalLM", "RecurrentGemmaForCausalLM"])
def test_a_prefix_of_a_recurrent_model_runs_as_forward_runs_it(name: str) -> None:
    model = build(name)
    stitched = loaded_again(stitched_to_itself(model, "model.layers.0"))
    with torch.no_grad():
        ids = torch.randint(3, 90, (2, 9))
        assert torch.equal(stitched(input_ids=ids).logits, model(input_ids=ids, use_cache=False).logits)


def test_how_experts_are_computed_is_kept() -> None:
    source, target = small_config(tf.MixtralConfig), small_config(tf.Gemma3Config)
    source._experts_implementation = "eager"
    target.text_config._experts_implementation = "batched_mm"
    config = StitchedConfig(source=source, target=target)
    assert config.source._experts_implementation == "eager"
    assert config.target.text_config._experts_implementation == "batched_mm"


@pytest.mark.parametrize(
    ("name", "hook"), [("OpenAIGPTLMHeadModel", "transformer.tokens_embed"), ("CTRLLMHeadModel", "transformer.w")]
)
def test_a_model_that_takes_no_embedded_prompt_does_not_generate_and_says_so(name: str, hook: str) -> None:
    model = build(name)
    stitched = stitched_to_itself(model, hook)
    assert not stitched.can_generate()
    assert dict(checks(stitched, model)) == {"short": "identical", "long": "identical", "padded": "identical"}
    with pytest.raises(HookError, match="takes tokens alone, no inputs_embeds; choose"):
        generation_way(model, probe(model, hook, lambda b, t: {"input_ids": torch.ones(b, t).long()}))
    with pytest.raises(HookError, match="takes tokens alone"):
        stitched.generate(input_ids=torch.ones(1, 4).long())


# --- shapes and outputs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", [[0, 1, 5], [1, 0, 6], [0, 2, -2], [1, 1, 0], [0, 1, 1, 2], 12])
def test_three_runs_tell_formulas_apart_that_two_do_not(formula: symbolic_shapes.Dim) -> None:
    sizes = [symbolic_shapes.size(formula, *run) for run in RUNS]
    found = symbolic_shapes.fit_dim(sizes, RUNS)
    assert found is not None
    assert [symbolic_shapes.size(found, b, t) for b, t in ((1, 5), (6, 50))] == [
        symbolic_shapes.size(formula, b, t) for b, t in ((1, 5), (6, 50))
    ]


class Two(nn.Module):
    """A block whose first output follows the length in no simple way, beside one that does."""

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        length = inputs.shape[1]
        return inputs.new_ones(inputs.shape[0], length * length, 4), inputs


class OfTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.config, self.block, self.head = None, Two(), nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(inputs)[0])


def test_the_first_tensor_is_meant_though_another_could_be_fitted() -> None:
    def make(batch: int, length: int) -> dict[str, torch.Tensor]:
        return {"inputs": torch.randn(batch, length, 4)}

    with pytest.raises(HookError, match=r"block gives a tensor with no batch axis.*\(2, 49, 4\), \(3, 169, 4\)"):
        probe(OfTwo(), "block", make)
    assert probe(OfTwo(), "block", make, output=1).width == 4
