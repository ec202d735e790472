"""Activation collection: the same whatever the processes, the batches, and where an earlier run stopped."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forward_passes import forward_passes
from hypothesis import given, settings
from hypothesis import strategies as st
from pico_recipes import listening, observations, reading, saved
from torch import nn

from hf_stitch.activations.collection import buckets_of
from hf_stitch.activations.frames import Frames
from hf_stitch.activations.observations import Observations
from hf_stitch.errors import ActivationError
from hf_stitch.hooks import capture
from hf_stitch.runtime import part_store
from hf_stitch.runtime.cache import cache_folder, entries


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 16))
@settings(deadline=None, max_examples=60)
def test_buckets_hold_every_sample_once_and_like_lengths_together(lengths: list[int], size: int) -> None:
    found = buckets_of(lengths, size)
    assert sorted(i for bucket in found for i in bucket) == list(range(len(lengths)))
    assert all(len(bucket) == size for bucket in found[:-1])
    assert sorted(lengths) == [lengths[i] for bucket in found for i in bucket]


def same(a: Frames, b: Frames) -> None:
    for name in ("source", "target", "path"):
        first, second = getattr(a, name), getattr(b, name)
        assert (first is None) == (second is None)
        if first is not None:
            assert torch.equal(first.whole().values, second.whole().values)
            assert torch.equal(first.lengths, second.lengths)
    assert torch.equal(a.output, b.output)
    assert (a.buckets, a.key) == (b.buckets, b.key)


def frames(opened: Observations) -> Frames:
    return opened.collect().frames["fit"]


@pytest.fixture
def text(pico_roberta: Path, pico_xlnet: Path, written: Path) -> dict:
    return reading(pico_roberta, pico_xlnet, written)


@pytest.fixture
def speech(pico_listener: Path, pico_xlnet: Path, spoken: Path) -> dict:
    return listening(pico_listener, pico_xlnet, spoken)


@pytest.mark.parametrize("kind", ["text", "speech"])
def test_every_sample_is_what_it_is_alone(request: pytest.FixtureRequest, kind: str) -> None:
    content = request.getfixturevalue(kind)
    opened = observations({**content, "directions": "both" if kind == "text" else "forward"})
    found, samples = frames(opened), opened.samples["fit"]
    assert len(found) == len(samples)
    for i in (0, 7, len(found) - 1):
        for end, raw, ragged in (
            (opened.source, samples.source(i), found.source),
            (opened.target, samples.target(i), found.target),
        ):
            inputs = end.preparer.batch([raw])
            with torch.no_grad():
                seen, output = capture.observe(end.model, [end.point, *([end.head] if end.head else [])], inputs)
            torch.testing.assert_close(ragged[i], seen[0][0], rtol=1e-4, atol=1e-5)
            if end is opened.target:
                torch.testing.assert_close(found.output[i], output.logits[0], rtol=1e-4, atol=1e-5)
            elif end.head:
                assert found.path is not None
                assert torch.equal(found.path[i], seen[1][0].argmax(-1))
    if kind == "speech":
        assert found.source_output is None
        with pytest.raises(ActivationError, match="directions: both needs a source that answers"):
            found.swapped()
    else:
        back = found.swapped()
        assert back.source is found.target
        assert back.output is found.source_output
        assert back.key != found.key
        alone = frames(observations(content))
        assert alone.source_output is None, "nobody asked"
        assert torch.equal(alone.source.whole().values, found.source.whole().values)


class Shares:
    """A stand-in for one process of several, in the place of accelerate's."""

    is_main_process = True
    device = torch.device("cpu")

    def __init__(self, process_index: int, num_processes: int) -> None:
        self.process_index, self.num_processes = process_index, num_processes

    def wait_for_everyone(self) -> None:
        pass

    def gather(self, part: torch.Tensor) -> torch.Tensor:
        return part.repeat(self.num_processes)


def test_parts_do_not_depend_on_the_processes(text: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    alone = observations(text)
    whole = frames(alone)
    monkeypatch.setenv("HF_STITCH_CACHE", str(tmp_path / "shared"))
    opened = observations(text)
    parts = []
    for index in range(3):
        accelerator: Any = Shares(index, 3)
        shared = dataclasses.replace(opened, runtime=dataclasses.replace(opened.runtime, accelerator=accelerator))
        with nullcontext() if index == 2 else pytest.raises(FileNotFoundError):  # the others' parts are not there yet
            shared.collect()
        parts.append({path.name for path in (tmp_path / "shared" / whole.key).iterdir()})
    assert len(parts[0]) < len(parts[1]) < len(parts[2]) == len(whole.buckets)
    same(frames(opened), whole)


def test_a_second_run_computes_nothing(text: dict) -> None:
    whole = frames(observations(text))
    assert [entry.name for entry in entries()] == [whole.key]
    again = observations(text)
    runs = forward_passes(again.source.model), forward_passes(again.target.model)
    same(frames(again), whole)
    assert runs == ([], [])


@pytest.mark.parametrize("change", ["model", "hook", "samples", "columns"])
def test_other_requests_have_caches_of_their_own(text: dict, pico_xlnet: Path, change: str) -> None:
    changed = json.loads(json.dumps(text))
    if change == "model":
        changed["source"] = {"model": str(pico_xlnet), "hook": "transformer.layer.0"}
    elif change == "hook":
        changed["source"]["hook"] = "roberta.encoder.layer.1"
    elif change == "samples":
        changed["data"]["fit"]["samples"] = 9
    else:
        changed["data"]["fit"]["columns"]["target"] = "group"
    first = frames(observations({**text, "seed": 5, "stitch": {"method": "rbf"}}))
    assert frames(observations(text)).key == first.key  # neither the seed nor the method has a part in the activations
    assert frames(observations(changed)).key != first.key


def test_changed_data_under_the_same_name_is_collected_anew(text: dict, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"text": words, "label": i % 2, "id": i, "group": "a"} for i, words in enumerate(["good", "bad"] * 3)]
    path.write_text("\n".join(map(json.dumps, rows)))
    text["data"]["fit"]["dataset"] = str(path)
    first = frames(observations(text))
    rows[0]["text"] = "this great film"
    path.write_text("\n".join(map(json.dumps, rows)))
    second = frames(observations(text))
    assert first.key != second.key
    assert first.target.lengths[0] != second.target.lengths[0]


def test_sounds_recorded_anew_are_collected_anew(speech: dict, spoken: Path, tmp_path: Path) -> None:
    import soundfile

    folder = shutil.copytree(spoken, tmp_path / "spoken")
    speech["data"]["fit"] |= {"dataset": str(folder / "fit.jsonl"), "samples": 6}
    first = frames(observations(speech))
    sound, rate = soundfile.read(folder / "fit-0.wav", dtype="float32")
    times = os.stat(folder / "fit-0.wav").st_mtime_ns
    soundfile.write(folder / "fit-0.wav", sound[::-1], rate)
    os.utime(folder / "fit-0.wav", ns=(times, times))
    second = frames(observations(speech))
    assert first.key != second.key
    assert not torch.equal(first.source.whole().values, second.source.whole().values)


def test_an_interrupted_run_resumes_where_parts_are_missing(text: dict) -> None:
    whole = frames(observations(text))
    parts = sorted((cache_folder() / whole.key).iterdir())
    assert len(parts) >= 3
    kept = parts[1].stat().st_mtime_ns
    parts[0].unlink()
    parts[2].write_bytes(parts[2].read_bytes()[:-5])
    again = observations(text)
    runs, samples = forward_passes(again.source.model), again.samples["fit"]
    same(frames(again), whole)
    missing = [again.source.preparer.batch(samples.batch(whole.buckets[i], 0))["input_ids"] for i in (0, 2)]
    assert [run["input_ids"].tolist() for run in runs] == [ids.tolist() for ids in missing]
    assert parts[1].stat().st_mtime_ns == kept


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_part_is_collected_again(text: dict, seed: int) -> None:
    draw, whole = random.Random(seed), frames(observations(text))
    for part in sorted((cache_folder() / whole.key).iterdir()):
        content = bytearray(part.read_bytes())
        content[-1 - draw.randrange(200)] ^= 1 << draw.randrange(8)
        part.write_bytes(content)
    same(frames(observations(text)), whole)


KILLED = """
import os, sys, time
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.runtime.runtime import Runtime
from hf_stitch.runtime.timings import Timings
from hf_stitch.activations.observations import Observations
opened = Observations.open(Recipe.load(sys.argv[1]), Runtime.start("cpu"), Timings(), ("fit",))
opened.source.model.register_forward_pre_hook(lambda *args: time.sleep(0.3))
opened.collect()
"""


def test_a_killed_run_resumes_to_the_same_activations(
    text: dict, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "killed"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(saved(text, tmp_path))],
        env=os.environ | {"HF_STITCH_CACHE": str(cache)},
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 60
        while not list(cache.glob("*/fit-*.safetensors")):
            assert process.poll() is None, "ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    left = len(list(cache.glob("*/fit-*.safetensors")))
    whole = frames(observations(text))
    assert 0 < left < len(whole.buckets)
    monkeypatch.setenv("HF_STITCH_CACHE", str(cache))
    same(frames(observations(text)), whole)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_name_layer_and_sample(text: dict, value: float) -> None:
    opened = observations(text)
    samples = opened.samples["fit"]
    token = opened.source.tokenizer("watch")["input_ids"][1]
    layer = opened.source.model.get_submodule("roberta.encoder.layer.0")

    def spoil(module: nn.Module, args: tuple, output: torch.Tensor) -> torch.Tensor:
        return torch.where((seen[0] == token)[..., None], value, output)

    seen: list[torch.Tensor] = []
    opened.source.model.register_forward_pre_hook(
        lambda module, args, given: seen.insert(0, given["input_ids"]), with_kwargs=True
    )
    layer.register_forward_hook(spoil)
    with pytest.raises(
        ActivationError, match=r"roberta.encoder.layer.0 gave NaN or infinite activations for sample"
    ) as e:
        opened.collect()
    named = str(e.value).split("'")[1]
    assert "watch" in samples.source(samples.keys.index(named))


def test_a_target_that_neither_answers_nor_writes_is_refused(text: dict, tmp_path: Path, pico_roberta: Path) -> None:
    from transformers import AutoTokenizer, RobertaForTokenClassification

    RobertaForTokenClassification.from_pretrained(pico_roberta).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(pico_roberta).save_pretrained(tmp_path)
    text["target"] = {"model": str(tmp_path), "hook": "roberta.encoder.layer.0"}
    told = r"\(RobertaForTokenClassification\) answers with logits \(\d+, \d+, 2\); expected .* or texts"
    with pytest.raises(ActivationError, match=told):
        observations(text).collect()


def test_a_full_disk_keeps_what_was_collected(text: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    once = part_store.save_file

    def full(tensors: dict, path: Path, metadata: dict) -> None:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        once(tensors, path, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(part_store, "save_file", full)
        with pytest.raises(ActivationError, match="no space left"):
            frames(observations(text))
    again = observations(text)
    runs = forward_passes(again.source.model)
    found = frames(again)
    assert len(runs) == len(found.buckets) - 2


def test_silent_samples_are_refused_by_name(speech: dict, tmp_path: Path, spoken: Path) -> None:
    import soundfile

    from hf_stitch.errors import DataError

    soundfile.write(tmp_path / "x.wav", np.zeros(4000, np.float32), 16000)
    row = {"audio": "x.wav", "text": "a", "label": 0, "group": "a", "id": "mute"}
    other = {**row, "audio": str(spoken / "fit-0.wav"), "label": 1, "id": "loud"}
    (tmp_path / "fit.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(other)}")
    speech["data"]["fit"]["dataset"] = str(tmp_path / "fit.jsonl")
    with pytest.raises(DataError, match="mute"):
        observations(speech).collect()
