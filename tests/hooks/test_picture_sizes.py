"""Networks of pictures work at the size that their image processor makes, whatever their configuration says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pico_pictures import NETWORKS, network, pictures, seeing

from hf_stitch import StitchedModel, fit
from hf_stitch.activations.hooked_model import open_hooked_model
from hf_stitch.errors import HookError
from hf_stitch.hooks.capture import capture, replaced
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.suffix import apply_suffix_plan, run_suffix
from hf_stitch.hooks.suffix_plan import plan_suffix
from hf_stitch.hooks.trace import probe
from hf_stitch.models.assembly import cut
from hf_stitch.recipe.side import Side
from hf_stitch.runtime.runtime import Runtime

OWN = 64  # of all networks here that have a size in their configuration, but DINOv2: 16


@pytest.mark.parametrize("size", [OWN, 96])
@pytest.mark.parametrize("kind", NETWORKS)
def test_halves_are_the_whole_at_the_size_of_the_image_processor(kind: str, size: int, tmp_path: Path) -> None:
    folder, hook = network(tmp_path, kind, size), NETWORKS[kind][2]
    end = open_hooked_model(Side(model=str(folder), hook=hook), Runtime.start("cpu"))
    halves = cut(end, end, needs_head=False)
    inputs = {"pixel_values": torch.randn(3, 3, size, size)}
    with torch.no_grad():
        values = capture(halves.prefix, [end.point], inputs)[0]
        found = run_suffix(halves.suffix, halves.suffix_config["plan"], values).logits
        assert torch.equal(found, end.model(**inputs).logits)
        other = torch.randn_like(values)
        with replaced(end.model, end.point, other):
            wanted = end.model(**inputs).logits
        assert torch.equal(run_suffix(halves.suffix, halves.suffix_config["plan"], other).logits, wanted)


@pytest.mark.parametrize("kind", ["resnet", "regnet", "bit"])
def test_a_network_without_a_size_runs_at_that_of_the_activations(kind: str, tmp_path: Path) -> None:
    _, model_class, hook = NETWORKS[kind]
    model = model_class.from_pretrained(network(tmp_path, kind, OWN)).eval()
    plan = plan_suffix(model, probe(model, hook, make_inputs_for(model)))
    pixels = {size: torch.randn(2, 3, size, size) for size in (64, 96, 224)}
    with torch.no_grad():
        point = probe(model, hook, make_inputs_for(model))
        seen = {size: (capture(model, [point], {"pixel_values": x})[0], model(x).logits) for size, x in pixels.items()}
        apply_suffix_plan(model, plan)
        for values, logits in seen.values():
            assert torch.equal(run_suffix(model, plan, values).logits, logits)
        with pytest.raises(HookError, match=r"positions for t inputs; 5 is none of them"):
            run_suffix(model, plan, values[:, :5])


@pytest.mark.parametrize(("source", "target", "size"), [("resnet", "swin", 96), ("convnext", "regnet", 64)])
def test_a_fit_between_networks_is_saved_and_answers(source: str, target: str, size: int, tmp_path: Path) -> None:
    folders = [network(tmp_path / kind, kind, n) for kind, n in ((source, size), (target, 64))]
    hooks = (NETWORKS[source][2].replace("stages.0", "stages.1"), NETWORKS[target][2])
    seen = pictures(tmp_path / "seen", fit=20, test=4)
    model, report = fit(seeing(*folders, seen, hooks), tmp_path / "out")
    assert report.parameters["multiply_adds"]["prefix"] > 0
    pixels = torch.randn(3, 3, size, size)
    back = StitchedModel.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        assert torch.equal(back(pixel_values=pixels).logits, model(pixel_values=pixels).logits)
