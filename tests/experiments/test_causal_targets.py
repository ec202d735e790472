"""Causal language models that are hooked in the middle: aligned, measured, generating, saved, judged, refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf
from pico_causal import SPECIAL, fresh, saved, sentences, tokenizer, trained

from hf_stitch.activations.next_tokens import divergence, said, truth_of
from hf_stitch.errors import ActivationError, ArtifactError, HookError, RecipeError
from hf_stitch.experiments.evaluate import evaluate
from hf_stitch.experiments.fit import fit
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.token_offsets import NOTHING, causal_spans, offsets
from hf_stitch.models.modeling_stitched import StitchedModel
from hf_stitch.models.predictor import Predictor
from hf_stitch.recipe.overrides import merge
from hf_stitch.report.measure import find
from hf_stitch.report.report import Report

HOOK = "transformer.h.1"
MEASURES = {"next_token_agreement", "next_token_kl", "loss", "loss_difference", "perplexity", "next_token_accuracy"}


def texts(folder: Path, name: str, rows: list[str]) -> dict[str, Any]:
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(json.dumps({"text": row, "id": f"{name}-{i}"}) for i, row in enumerate(rows)))
    return {"dataset": str(path), "columns": {"source": "text", "id": "id"}}


def asked(folder: Path, source: Path, target: Path, hooks: tuple[str, str] = (HOOK, HOOK), **more: Any) -> dict:
    base = {
        "source": {"model": str(source), "hook": hooks[0]},
        "target": {"model": str(target), "hook": hooks[1]},
        "data": {"fit": texts(folder, "fit", sentences(60, 1)), "test": texts(folder, "test", sentences(20, 2))},
        "trust": "none",
    }
    return merge(base, more)


def value(report: Report, name: str, method: str = "affine", direction: str = "forward") -> float | None:
    found = find(report.measures, name, method, "test", direction)
    return None if found is None else found.value


def run(recipe: dict, out: Path | None = None) -> tuple[StitchedModel, Report]:
    return fit(recipe, out, device="cpu", progress=False)


@pytest.fixture(scope="module")
def random(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two GPT-2s of random weights and the same tokens."""
    return tuple(saved(tmp_path_factory.mktemp(f"gpt2-{seed}"), seed=seed) for seed in (1, 2))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path, Report]:
    """Two GPT-2s trained apart on the same language, and the stitch of the one onto the other."""
    place = tmp_path_factory.mktemp("seeds")
    ends = [trained(place / str(seed), seed, steps=110) for seed in (1, 2)]
    recipe = asked(place, *ends, hooks=("transformer.h.0", "transformer.h.0"), trust="distance", compare=["orthogonal"])
    recipe["data"]["fit"] = texts(place, "more", sentences(160, 5))
    _, report = run(recipe, place / "out")
    return *ends, place / "out", report


def test_two_seeds_say_the_same_where_controls_do_not(seeds: tuple[Path, Path, Path, Report]) -> None:
    report = seeds[3]
    kl = {
        name: value(report, "next_token_kl", method=name) for name in ("affine", "identity", "mean", "shuffled-pairs")
    }
    assert kl["affine"] < 0.05 < 0.5 < min(kl["identity"], kl["mean"], kl["shuffled-pairs"])
    same = {name: value(report, "next_token_agreement", method=name) for name in (*kl, "majority", "source")}
    assert same["affine"] > 0.9 > 0.6 > max(same["identity"], same["mean"], same["shuffled-pairs"], same["majority"])
    assert same["source"] > 0.8
    assert report.verdict.code == "holds"
    assert {m.name for m in report.measures if m.method == "affine" and m.split == "test"} >= MEASURES
    assert all(m.low <= m.value <= m.high for m in report.measures if m.name in MEASURES)
    for method in ("target", "source", "affine"):
        loss, perplexity = (value(report, name, method=method) for name in ("loss", "perplexity"))
        assert perplexity == pytest.approx(np.exp(loss))
    own = value(report, "loss", method="target")
    assert value(report, "loss", method="affine") - own == pytest.approx(
        value(report, "loss_difference", method="affine"), abs=1e-5
    )
    assert any("cache: none" in note for note in report.notes)
    assert report.diagnostics.usage["cache"] == "none"
    assert "the source alone" in report.verdict.text
    page = (seeds[2] / "report.html").read_text()
    assert "Next tokens alike" in page
    assert "Perplexity" in page
    card = (seeds[2] / "README.md").read_text()
    assert "text-generation" in card
    assert "shuffled-pairs" in card


def test_the_target_alone_is_measured_as_by_hand(seeds: tuple[Path, Path, Path, Report]) -> None:
    for place, method in ((seeds[1], "target"), (seeds[0], "source")):
        model = tf.AutoModelForCausalLM.from_pretrained(place).eval()
        tools = tf.AutoTokenizer.from_pretrained(place)
        total = right = count = 0
        for text in sentences(20, 2):
            ids = tools(text, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                logits = model(input_ids=ids).logits[0, :-1]
            total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
            right += int((logits.argmax(-1) == ids[0, 1:]).sum())
            count += ids.shape[1] - 1
        assert value(seeds[3], "loss", method=method) == pytest.approx(total / count, abs=1e-5)
        assert value(seeds[3], "next_token_accuracy", method=method) == pytest.approx(right / count)


def test_the_stitched_model_is_measured_as_by_hand(seeds: tuple[Path, Path, Path, Report]) -> None:
    model = StitchedModel.from_pretrained(seeds[2]).eval()
    tools = tf.AutoTokenizer.from_pretrained(seeds[1])
    own = tf.AutoModelForCausalLM.from_pretrained(seeds[1]).eval()
    kl = same = loss = count = 0.0
    for text in sentences(20, 2):
        ids = tools(text, return_tensors="pt")
        with torch.no_grad():
            given, target = (one(**ids).logits[0, :-1].double().log_softmax(-1) for one in (model, own))
        kl += float((target.exp() * (target - given)).sum())
        same += int((given.argmax(-1) == target.argmax(-1)).sum())
        loss -= float(given.gather(-1, ids["input_ids"][0, 1:, None]).sum())
        count += len(given)
    report = seeds[3]
    assert value(report, "next_token_kl", method="affine") == pytest.approx(kl / count, abs=1e-5)
    assert value(report, "next_token_agreement", method="affine") == pytest.approx(same / count)
    assert value(report, "loss", method="affine") == pytest.approx(loss / count, abs=1e-5)
    again = evaluate(seeds[2], device="cpu", progress=False)  # end to end, of the saved model
    for name in MEASURES:
        for method in ("affine", "identity", "mean", "source"):
            if (found := value(report, name, method=method)) is not None:
                assert value(again, name, method=method) == pytest.approx(found, abs=2e-5), (name, method)
    assert again.verdict.code == "holds"


def test_it_generates_as_by_hand_and_in_a_fresh_process(seeds: tuple[Path, Path, Path, Report]) -> None:
    source, target = (tf.AutoModelForCausalLM.from_pretrained(place).eval() for place in seeds[:2])
    model = StitchedModel.from_pretrained(seeds[2]).eval()
    tools = tf.AutoTokenizer.from_pretrained(seeds[2], padding_side="left")
    prompts = ["the film was", "i", "so very great it was"]
    wanted = {prompt: by_hand(model, source, target, tools(prompt)["input_ids"], 6) for prompt in prompts}
    batch = tools(prompts, padding=True, return_tensors="pt")
    found = model.generate(**batch, max_new_tokens=6, eos_token_id=None)
    assert torch.equal(found[:, : batch["input_ids"].shape[1]], batch["input_ids"])
    assert {p: row[-6:].tolist() for p, row in zip(prompts, found)} == wanted
    right = tf.AutoTokenizer.from_pretrained(seeds[2], padding_side="right")(prompts, padding=True, return_tensors="pt")
    assert torch.equal(model.generate(**right, max_new_tokens=6, eos_token_id=None)[:, -6:], found[:, -6:])
    stop = wanted[prompts[0]][2]  # the end, where it comes
    ended = model.generate(**tools(prompts[0], return_tensors="pt"), max_new_tokens=6, eos_token_id=stop)
    place = wanted[prompts[0]].index(stop) + 1
    assert ended[0, -place:].tolist() == wanted[prompts[0]][:place]
    beams = model.generate(**batch, max_new_tokens=3, num_beams=3, num_return_sequences=2, eos_token_id=None)
    assert beams.shape == (6, batch["input_ids"].shape[1] + 3)
    code = (
        "import json, sys, hf_stitch, transformers as tf; place = sys.argv[1]\n"
        "asked = json.loads(sys.argv[2])\n"
        "texts = tf.pipeline('stitched-text', model=place)(asked, max_new_tokens=6, batch_size=3)\n"
        "whole = tf.pipeline('text-generation', model=place)(asked[0], max_new_tokens=6, return_tensors=True)\n"
        "from hf_stitch.models.predictor import Predictor\n"
        "print(json.dumps([[one['tokens'] for one in texts], whole[0]['generated_token_ids'],"
        " [one['text'] for one in Predictor(place)(asked)]]))"
    )
    tokens, whole, answers = json.loads(fresh(code, str(seeds[2]), json.dumps(prompts)).splitlines()[-1])
    assert [row[:1] for row in tokens] == [wanted[prompt][:1] for prompt in prompts]
    assert whole[: len(tools(prompts[0])["input_ids"])] == tools(prompts[0])["input_ids"]
    assert all(answers)


def by_hand(model: StitchedModel, source: Any, target: Any, ids: list[int], new: int) -> list[int]:
    """Greedy tokens by a loop with hooks on the two whole models, without any cache."""
    tokens, kept = list(ids), {}

    def read(_module: Any, _args: Any, output: Any) -> None:
        kept["seen"] = output[0] if isinstance(output, tuple) else output

    def write(_module: Any, _args: Any, output: Any) -> Any:
        return (kept["mapped"], *output[1:]) if isinstance(output, tuple) else kept["mapped"]

    for _ in range(new):
        batch = torch.tensor([tokens])
        with torch.no_grad():
            handle = source.transformer.h[0].register_forward_hook(read)
            source(input_ids=batch, use_cache=False)
            handle.remove()
            kept["mapped"] = model.layer(kept["seen"])
            handle = target.transformer.h[0].register_forward_hook(write)
            tokens.append(int(target(input_ids=torch.zeros_like(batch), use_cache=False).logits[0, -1].argmax()))
            handle.remove()
    return tokens[len(ids) :]


def test_forward_gives_the_loss_of_labels(seeds: tuple[Path, Path, Path, Report]) -> None:
    model, tools = StitchedModel.from_pretrained(seeds[2]).eval(), tf.AutoTokenizer.from_pretrained(seeds[2])
    batch = tools(["the film was so good"], return_tensors="pt")
    with torch.no_grad():
        output = model(**batch, labels=batch["input_ids"])
    wanted = torch.nn.functional.cross_entropy(output.logits[0, :-1], batch["input_ids"][0, 1:])
    assert float(output.loss) == pytest.approx(float(wanted), abs=1e-6)


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT2LMHeadModel": ("transformer.h.1", {}),
    "LlamaForCausalLM": ("model.layers.1", {"num_key_value_heads": 2}),
    "Qwen2ForCausalLM": ("model.layers.1", {"num_key_value_heads": 2}),
    "MistralForCausalLM": ("model.layers.1", {"num_key_value_heads": 2, "sliding_window": 4}),
    "Gemma2ForCausalLM": ("model.layers.1", {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4}),
    "OPTForCausalLM": ("model.decoder.layers.1", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "GPTNeoXForCausalLM": ("gpt_neox.layers.1", {}),
    "PhiForCausalLM": ("model.layers.1", {}),
    "BloomForCausalLM": ("transformer.h.1", {"n_layer": 3, "n_head": 4}),
    "MambaForCausalLM": ("backbone.layers.1", {"state_size": 4}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_onto_itself_diverges_by_exactly_nothing(kind: str, tmp_path: Path) -> None:
    hook, sizes = KINDS[kind]
    place = saved(tmp_path / "model", kind, **sizes)
    recipe = asked(tmp_path, place, place, hooks=(hook, hook), stitch={"method": "orthogonal"})
    model, report = run(recipe)
    assert value(report, "next_token_kl", method="identity") == 0.0
    assert value(report, "next_token_agreement", method="identity") == 1.0
    assert value(report, "loss_difference", method="identity") == 0.0
    assert value(report, "next_token_kl", method="orthogonal") < 1e-6
    assert value(report, "next_token_kl", method="mean") > 1e-3
    # the whole model writes the same, with its own cache
    tools = tokenizer(side="left")
    batch = tools(["the film was", "i"], padding=True, return_tensors="pt")
    settings = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}
    own = tf.AutoModelForCausalLM.from_pretrained(place).eval()
    for prompt in ("the film was", "i"):
        alone = tools(prompt, return_tensors="pt")
        given = {key: alone[key] for key in ("input_ids", "attention_mask")}
        wanted = own.generate(**given, **settings)[0, -5:]
        assert model.generate(**given, **settings)[0, -5:].tolist() == wanted.tolist()
    together = model.generate(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], **settings)
    assert together[1, -5:].tolist() == wanted.tolist()
    model.save_pretrained(tmp_path / "out")
    again = StitchedModel.from_pretrained(tmp_path / "out").eval()
    assert torch.equal(again.generate(**given, **settings), model.generate(**given, **settings))


def test_positions_that_count_have_a_token_of_their_own_and_one_behind() -> None:
    rows = truth_of(torch.tensor([0, 7, 8, 2]), special={0, 1, 2})
    assert rows[:, 0].tolist() == [7, 8, 2, -1]  # the end is foretold; what comes behind it nobody knows
    assert rows[:, 1].tolist() == [0, 1, 1, 0]


def test_divergence_of_log_shares() -> None:
    torch.manual_seed(0)
    one, two = (torch.randn(5, 9) for _ in range(2))
    true = torch.tensor([3, -1, 0, 8, 2])
    best, loss, shares = said(one, true)
    assert best.tolist() == one.argmax(-1).tolist()
    assert float(loss[1]) == 0.0
    assert float(loss[0]) == pytest.approx(float(torch.nn.functional.cross_entropy(one[:1], true[:1])), abs=1e-6)
    other = said(two, true)[2]
    assert torch.equal(divergence(shares, shares), torch.zeros(5, dtype=torch.float64))
    wanted = torch.nn.functional.kl_div(other, shares, reduction="none", log_target=True).sum(-1)
    assert torch.allclose(divergence(shares, other), wanted.double(), atol=1e-6)
    never = one.clone()
    never[:, 4] = -torch.inf  # a token that the target excludes
    assert divergence(said(never, true)[2], other).isfinite().all()


def ranges(frame: str, pieces: bool, text: str) -> Any:
    return offsets(tokenizer(frame, pieces=pieces), [text])[0]


def test_no_token_is_given_what_comes_behind_its_end() -> None:
    words, letters = "good film", ranges("$A", True, "good film")
    source = ranges("$A", False, words)
    assert letters == [(0, 2), (2, 4), (5, 9)]
    # `go` knows nothing, for the word ends behind it; `##od` ends with its word
    assert causal_spans(source, letters) == [NOTHING, (0, 1), (1, 2)]
    framed = ranges("<s> $A", False, words)
    assert causal_spans(framed, letters) == [(0, 1), (1, 2), (2, 3)]  # what stands in front of all is known
    assert causal_spans(letters, source) == [(0, 2), (2, 3)]  # all pieces of a word
    assert causal_spans(letters, ranges("<s> $A </s>", False, words)) == [None, (0, 2), (2, 3), None]
    # a character of two tokens: the first does not know it all
    assert causal_spans([(0, 1), (1, 2)], [(0, 1), (1, 2), (1, 2)]) == [(0, 1), (0, 1), (1, 2)]
    assert causal_spans([None], [(0, 3)]) == [(0, 1)]
    assert causal_spans([], [(0, 3)]) == [NOTHING]


@pytest.fixture(scope="module")
def spans(tmp_path_factory: pytest.TempPathFactory) -> tuple[StitchedModel, Report, Path]:
    """A model of words onto one of pieces, with a token in front of every text."""
    place = tmp_path_factory.mktemp("spans")
    source = saved(place / "source", "LlamaForCausalLM", 1, num_key_value_heads=2)
    target = saved(place / "target", "GPT2LMHeadModel", 2, tokenizer("<s> $A", pieces=True), n_positions=80)
    recipe = asked(
        place, source, target, hooks=("model.layers.1", HOOK), sequence={"length": "spans"}, trust="distance"
    )
    return *run(recipe, place / "out"), place


def test_spans_of_other_tokens_know_nothing_of_later_ones(spans: tuple[StitchedModel, Report, Path]) -> None:
    model, report, place = spans
    assert {m.name for m in report.measures if m.method == "affine"} >= MEASURES
    assert value(report, "next_token_kl", method="affine") < value(report, "next_token_kl", method="shuffled-pairs")
    assert value(report, "perplexity", method="source") is None
    assert any("loss and perplexity of the source alone are left out" in note for note in report.notes)
    model = StitchedModel.from_pretrained(place / "out").eval()
    tools = Preparer.load(place / "out", model.config)
    short, long = "the film was never good", "the film was never boring to the"
    with torch.no_grad():
        one, two = (model(**tools.batch([text])).logits[0] for text in (short, long))
    pieces = tokenizer("<s> $A", pieces=True)
    first, second = (pieces(text)["input_ids"] for text in (short, long))
    same = next(i for i, (a, b) in enumerate(zip(first, second)) if a != b)
    assert same > 5
    assert torch.allclose(one[:same], two[:same], atol=1e-5)
    assert torch.allclose(one[same], two[same], atol=1e-5)  # a first piece: its word ends behind it
    assert not torch.allclose(one[-1], two[-1], atol=1e-3)


def test_what_holds_no_source_position_is_a_constant(spans: tuple[StitchedModel, Report, Path]) -> None:
    model = spans[0]
    special = model.rule.special
    assert special is not None
    assert special.slope is None
    assert special.spec["ids"] == [-1, SPECIAL.index("<s>")]
    inputs = Preparer.load(spans[2] / "out", model.config).batch(
        ["never", "good film"]
    )  # `ne` and `go` come before their words end
    with torch.no_grad():
        frames, mask, plan = model.crossing(dict(inputs))
        values = model.stitch(frames, mask, plan)
    assert torch.equal(values[0, :2], values[1, :2])
    assert torch.allclose(values[0, 1], special.constant[0])
    assert not torch.allclose(values[0, 2], values[1, 2])


def test_other_tokens_generate_nothing_and_say_so(spans: tuple[StitchedModel, Report, Path]) -> None:
    model, report, place = spans
    with pytest.raises(ArtifactError, match=r"have other tokens.*sequence.length: trim"):
        model.generate(**Preparer.load(place / "out", model.config).batch(["good film"]))
    with pytest.raises(ArtifactError, match="have other tokens"):
        list(Predictor(place / "out")(["good film"]))
    assert any("generation: none" in note for note in report.notes)
    again = evaluate(place / "out", device="cpu", progress=False)
    assert value(again, "next_token_kl") == pytest.approx(value(report, "next_token_kl"), abs=2e-5)


def test_what_a_cache_or_positions_cannot_hold_is_refused(seeds: tuple[Path, Path, Path, Report]) -> None:
    model, tools = StitchedModel.from_pretrained(seeds[2]).eval(), tf.AutoTokenizer.from_pretrained(seeds[2])
    batch = tools("the film was", return_tensors="pt")
    with pytest.raises(HookError, match=r"use_cache: .*give use_cache=False"):
        model.generate(**batch, use_cache=True)
    with pytest.raises(HookError, match=r"past_key_values: .*leave it out"):
        model.generate(**batch, past_key_values=((),))
    with pytest.raises(HookError, match=r"too few positions for 62 tokens.*max_new_tokens"):
        model.generate(**batch, max_new_tokens=60)
    with pytest.raises(ActivationError, match="generates from input_ids"):
        model.generate(inputs_embeds=torch.zeros(1, 2, 32))
    assert model.generate(**batch, eos_token_id=None).shape[1] == 41  # of its own settings as many as fit
    assert torch.equal(model.generate(**batch, max_new_tokens=4, use_cache=False)[:, :3], batch["input_ids"])


def refused(folder: Path, random: tuple[Path, Path]) -> dict[str, tuple[dict, type[Exception], str]]:
    framed = saved(folder / "framed", "GPT2LMHeadModel", 3, tokenizer("<s> $A"))
    both_ways = saved(folder / "bert", "BertLMHeadModel", 3)
    bart = saved(folder / "bart", "BartForConditionalGeneration", 3, d_model=32, decoder_layers=2, encoder_layers=2,
                 decoder_attention_heads=4, encoder_attention_heads=4, decoder_start_token_id=2)  # fmt: skip
    t5 = saved(folder / "t5", "T5ForConditionalGeneration", 3, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4,
               decoder_start_token_id=1)  # fmt: skip
    silent = folder / "silent"
    tf.AutoModelForCausalLM.from_pretrained(random[0]).save_pretrained(silent)
    made: Callable[..., dict] = lambda source=random[0], target=random[1], **more: asked(folder, source, target, **more)  # noqa: E731
    return {
        "other tokens by trim": (made(framed), RecipeError, "sequence.length: spans"),
        "another rule": (made(sequence={"length": "pool"}), RecipeError, "`trim`.*or.*`spans`"),
        "another rule compared": (
            made(compare=[{"name": "even", "sequence": {"length": "resample"}}]),
            RecipeError, "compare: even: .*`spans`",
        ),
        "slices": (made(sequence={"slice": 2}), RecipeError, "sequence.slice.*token by token"),
        "a constant length": (
            made(sequence={"target_length": "constant"}), RecipeError, "target_length.*token by token",
        ),
        "a hook inside an attention": (
            made(hooks=(HOOK, "transformer.h.1.attn")), HookError, "do not determine the output.*hook a whole block",
        ),
        "a model that sees later tokens": (
            made(random[0], both_ways, hooks=(HOOK, "bert.encoder.layer.1")),
            HookError, "sees later tokens.*is_decoder",
        ),
        "a decoder of an encoder-decoder": (
            made(random[0], bart, hooks=(HOOK, "model.decoder.layers.0")), HookError, "inside its encoder",
        ),
        "a source hooked in such a decoder": (
            made(t5, random[1], hooks=("decoder.block.0", HOOK)), HookError, "positions for a text of",
        ),
        "a source without a tokenizer": (made(silent), ArtifactError, "no tokenizer.*save one beside"),
        "a target without a tokenizer": (made(random[0], silent), ArtifactError, "no tokenizer.*save one beside"),
    }  # fmt: skip


CASES = (
    "other tokens by trim", "another rule", "another rule compared", "slices", "a constant length",
    "a hook inside an attention", "a model that sees later tokens", "a decoder of an encoder-decoder",
    "a source hooked in such a decoder",
    "a source without a tokenizer", "a target without a tokenizer",
)  # fmt: skip


def test_what_cannot_be_stitched_is_refused_in_one_line(random: tuple[Path, Path], tmp_path: Path) -> None:
    cases = refused(tmp_path, random)
    assert set(cases) == set(CASES)
    for name, (recipe, error, words) in cases.items():
        with pytest.raises(error, match=words) as found:
            run(recipe)
        assert "\n" not in str(found.value), name


def test_a_source_that_is_not_causal_is_told(random: tuple[Path, Path], tmp_path: Path) -> None:
    both_ways = saved(tmp_path / "bert", "BertModel", 3)
    _, report = run(asked(tmp_path, both_ways, random[1], hooks=("encoder.layer.1", HOOK)))
    assert any("is not causal" in note for note in report.notes)
    assert any("no causal language model head" in note for note in report.notes)


def test_texts_of_one_token_foretell_nothing(random: tuple[Path, Path], tmp_path: Path) -> None:
    data = {"test": texts(tmp_path, "short", ["film", "i", "so good", "the film was"])}
    _, report = run(asked(tmp_path, *random, data=data))
    found = next(m for m in report.measures if m.name == "next_token_kl" and m.method == "affine")
    assert found.n == 2
    nothing = {"test": texts(tmp_path, "nothing", ["film", "i"])}
    _, report = run(asked(tmp_path, *random, data=nothing))
    assert value(report, "next_token_kl", method="affine") is None
    assert report.verdict.code == "not-measured"


def test_both_directions_and_validation_choose_by_divergence(random: tuple[Path, Path], tmp_path: Path) -> None:
    data = {"validation": texts(tmp_path, "validation", sentences(12, 4))}
    recipe = asked(tmp_path, *random, data=data, directions="both", compare=["orthogonal"])
    _, report = run(recipe)
    assert report.chosen["measure"] == "next_token_kl"
    assert value(report, "next_token_kl", method="affine", direction="backward") is not None
