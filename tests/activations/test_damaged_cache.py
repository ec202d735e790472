"""A hundred faults in a cache of collected activations: each part is made anew, and the result is what it was."""

from __future__ import annotations

from pathlib import Path

import torch
from faults import damaged, draws
from pico_recipes import observations, reading

from hf_stitch.runtime.cache import cache_folder

FAULTS = 100


def test_no_fault_of_the_cache_is_silent(pico_roberta: Path, pico_xlnet: Path, written: Path) -> None:
    opened = observations(reading(pico_roberta, pico_xlnet, written))
    draw, known = draws("cache"), opened.collect().frames["fit"]
    before = known.source.whole(), known.target.whole()  # read before anything is damaged
    parts = sorted(cache_folder().rglob("*.safetensors"))
    assert len(parts) > 1
    for attempt in range(FAULTS):
        path = draw.choice(parts)
        whole = path.read_bytes()
        if draw.random() < 0.1:
            how = "lost"
            path.unlink()
        else:
            how, made = damaged(draw, whole)
            path.write_bytes(made)
        what = f"{attempt}: {path.name}: {how}"
        after = opened.collect().frames["fit"]
        for one, other in zip(before, (after.source.whole(), after.target.whole())):
            assert torch.equal(one.values, other.values), what
            assert torch.equal(one.lengths, other.lengths), what
        assert path.read_bytes() == whole, f"{what}: not made anew"
