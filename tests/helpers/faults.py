"""Faults that are tried by machine: one seed in CI, others by an environment variable, told when a test fails."""

from __future__ import annotations

import os
import random

SEED = int(os.environ.get("HF_STITCH_FUZZ_SEED", "20261"))


def draws(what: str) -> random.Random:
    """Numbers of a test of its own; printed, and so shown where it fails: with this seed it fails again."""
    print(f"HF_STITCH_FUZZ_SEED={SEED} ({what})")
    return random.Random(f"{SEED} {what}")


def damaged(draw: random.Random, content: bytes) -> tuple[str, bytes]:
    """A file with one bit flipped, or cut short; with words for what was done."""
    made, place = bytearray(content), draw.randrange(len(content))
    if draw.random() < 0.25:
        del made[place:]
        return f"cut at byte {place}", bytes(made)
    bit = draw.randrange(8)
    made[place] ^= 1 << bit
    return f"bit {bit} of byte {place}", bytes(made)
