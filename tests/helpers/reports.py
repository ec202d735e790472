"""Realistic reports for tests, made of fixed numbers: a classification and a regression."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from hf_stitch.evaluation.statistics import classes, intervals
from hf_stitch.report.measure import Measure
from hf_stitch.report.report import Report
from hf_stitch.report.verdict.judge import judge

SPEECH = {
    "rbf+nearest": (0.93, 0.965, 0.97, 0.94),
    "affine": (0.78, 0.80, 0.83, 0.77),
    "diffusion": (0.71, 0.72, 0.74, 0.69),
    "trim": (0.50, 0.51, 0.50, 0.52),
    "cascade": (0.96, 0.975, 1.0, 0.95),
}
SPLITS = {"validation": 120, "test": 200, "test/known": 100, "test/unseen": 100}
"""Samples of each split; the rates above are those of these splits, in this order."""

PARABOLA = {"diffusion": 6.1e-10, "diffusion-one": 9.2e-8, "affine": 4.7e-3, "majority": 0.0891}
"""Output errors on the test, forward."""
BACKWARD = 2.2
"""How many times as large they are backward."""


def rate(method: str, split: str = "test") -> float:
    """Share of samples on which a method of the speech report gives the target's answer."""
    return SPEECH[method][list(SPLITS).index(split)]


def _measure(name: str, method: str, split: str, interval: intervals.Interval, **more: Any) -> Measure:
    return Measure(
        name, method, split, value=interval.value, low=interval.low, high=interval.high, n=interval.n, **more
    )


def speech_measures(skill: dict[str, tuple[float, ...]] | None = None) -> list[Measure]:
    """Agreement, kappa and the rest of simulated methods that give the target's answer as often as `skill` says."""
    return list(_simulated(tuple((skill or SPEECH).items())))


@functools.cache
def _simulated(skill: tuple[tuple[str, tuple[float, ...]], ...]) -> list[Measure]:
    measures: list[Measure] = []
    for column, (split, n) in enumerate(SPLITS.items()):
        rng = np.random.default_rng(column)
        target = rng.integers(0, 2, n)
        label = np.where(rng.random(n) < 0.97, target, 1 - target)
        answers = {}
        for method, rates in skill:
            wrong = rng.permutation(n) >= round(rates[column] * n)
            answers[method] = np.where(wrong, 1 - target, target)
        for method, answer in answers.items():
            for name in ("agreement", "kappa", "balanced_accuracy"):
                measures.append(_measure(name, method, split, getattr(classes, name)(answer, target)))
            measures.append(_measure("accuracy", method, split, classes.agreement(answer, label)))
            if method != "cascade" and "cascade" in answers:
                difference = classes.compare(answer, answers["cascade"], target).difference
                measures.append(_measure("agreement_minus_cascade", method, split, difference))
        measures.append(_measure("agreement", "majority", split, classes.majority(target)))
        measures.append(_measure("accuracy", "target", split, classes.agreement(target, label)))
        errors = rng.binomial(7, 0.06, n)
        measures.append(_measure("wer", "source", split, intervals.ratio(errors, np.full(n, 7)), better="lower"))
    return measures


def _cloud(seed: int, n: int = 256) -> tuple[list[list[float]], np.ndarray]:
    angle = np.linspace(0, math.pi, n)
    noise = np.random.default_rng(seed).normal(0, 0.02, (n, 3))
    return (np.column_stack([np.cos(angle), np.cos(2 * angle), np.cos(3 * angle)]) + noise).tolist(), angle


def _fit(coordinates: int) -> dict[str, Any]:
    sides = {}
    for seed, side in enumerate(("source", "target")):
        points, _ = _cloud(seed)
        sides[side] = {
            "eigenvalues": [math.exp(-0.02 * p**1.5) for p in range(24)],
            "laplace": [(0.9 + 0.2 * seed) * p**2 for p in range(1, 25)],
            "bandwidth": 0.0213 + seed / 100,
            "whitney": "6 selected features are fewer than 2 d + 1 = 7" if seed else None,
            "components": 1,
            "residuals": [1.0, 0.21, 0.93, 0.18, 0.4, 0.11],
            "coordinates": points,
        }
    return {
        **sides,
        "alignment": {"residual": 0.137, "coordinates": coordinates, "kind": "procrustes"},
        "neighbourhoods": {
            side: {"dimension": [2.5, 2.0, 3.25], "rank": 3, "local_spectrum": [1.0, 0.3]} for side in sides
        },
        "centres": 1904,
        "smoothing": 0.01,
        "warnings": ["target: 6 selected features are fewer than 2 d + 1 = 7"],
        "rows": 512,
        "dropped_words": 0,
    }


def speech_report(skill: dict[str, tuple[float, ...]] | None = None, **changes: Any) -> Report:
    """Speech to sentiment, as it might have come out."""
    measures = speech_measures(skill)
    chosen = {"method": "rbf+nearest", "split": "validation", "measure": "kappa"}
    fields: dict[str, Any] = {
        "recipe": {
            "name": "speech_sentiment",
            "description": "A speech recogniser's first half goes on as the second half of a text classifier.",
            "source": {"model": "zoo:speech_ctc", "class": "Wav2Vec2ForCTC", "hook": "wav2vec2.encoder.layers.3"},
            "target": {
                "model": "zoo:sentiment_xlnet",
                "class": "XLNetForSequenceClassification",
                "hook": "transformer.word_embedding",
            },
            "data": {
                "fit": {"dataset": "zoo:speech", "split": "fit", "columns": {"source": "audio", "target": "text"}},
                "validation": {"dataset": "zoo:speech", "split": "validation", "columns": {"source": "audio"}},
                "test": {"dataset": "zoo:speech", "split": "test", "columns": {"source": "audio", "group": "voice"}},
            },
            "sequence": {"length": "ctc", "parts": 3, "target_length": "ctc"},
            "stitch": {"method": "rbf", "landing": "nearest"},
            "compare": [
                "affine",
                "diffusion",
                {"name": "trim", "sequence": {"length": "trim", "target_length": "ratio"}},
            ],
            "seed": 0,
        },
        "fingerprint": "4d1f0c6a9be2705c33aa0f12",
        "environment": {"python": "3.11.7", "torch": "2.13.0", "transformers": "5.23.0", "device": "cpu", "threads": 2},
        "timings": {
            "load": 0.71,
            "collect.source": 12.4,
            "collect.target": 3.9,
            "fit.rbf": 0.083,
            "evaluate": 8.3,
            "total": 26.2,
        },
        "memory_peak_bytes": 1_312_817_152,
        "parameters": {"source": 655_392, "target": 365_474, "layer": {"parameters": 27_744, "buffers": 195_072}},
        "measures": measures,
        "verdict": judge(measures, "rbf+nearest"),
        "chosen": chosen,
        "diagnostics": {
            "fits": {
                "rbf+nearest": {"centres": 1904, "smoothing": 0.01, "warnings": [], "rows": 1904, "dropped_words": 37},
                "affine": {"ridge": 3.16, "warnings": [], "rows": 1904, "dropped_words": 37},
                "diffusion": _fit(64),
            },
            "error_by_length": {
                "31-74": {"value": 0.02, "low": 0.0055, "high": 0.07, "n": 50},
                "74-96": {"value": 0.04, "low": 0.011, "high": 0.135, "n": 50},
                "96-121": {"value": 0.08, "low": 0.0316, "high": 0.188, "n": 50},
            },
            "error_by_class": {
                "negative": {"value": 0.05, "low": 0.0222, "high": 0.112, "n": 101},
                "positive": {"value": 0.02, "low": 0.005, "high": 0.071, "n": 99},
            },
            "wrong": ["test-0007", "test-0131"],
            "licences": {"source": "apache-2.0", "target": "apache-2.0"},
            "warnings": ["37 recognised words matched no true word and were left out of the fit"],
        },
        "notes": ["Word boundaries come from the recogniser's own CTC head, so its upper blocks run too."],
    }
    return Report(**{**fields, **changes})


def parabola_report(**changes: Any) -> Report:
    """Two small networks of the same parabola: an error over many decades, and no classes."""
    measures: list[Measure] = []
    for method, error in PARABOLA.items():
        for direction, factor in (("forward", 1.0), ("backward", BACKWARD)):
            for split, n in (("validation", 128), ("test", 1024)):
                more: dict[str, Any] = {"split": split, "n": n, "better": "lower"}
                value = error * factor * (1.0 if split == "test" else 0.93)
                span = {"value": value, "low": value * 0.6, "high": value * 1.7}
                measures.append(Measure("output_mse", method, direction=direction, **span, **more))  # type: ignore[arg-type]
                if method.startswith("diffusion"):
                    inside = {key: number * 7.3 for key, number in span.items()}
                    measures.append(Measure("map_mse", method, direction=direction, **inside, **more))  # type: ignore[arg-type]
    fields: dict[str, Any] = {
        "recipe": {
            "name": "parabola",
            "description": "Two networks learned the same parabola; one's first half goes on as the other's second.",
            "source": {"model": "zoo:parabola_a", "hook": "hidden.2", "features": "all"},
            "target": {"model": "zoo:parabola_b", "hook": "hidden.2", "features": "all"},
            "data": {
                part: {"dataset": "zoo:parabola", "split": part, "columns": {"source": "x"}}
                for part in ("fit", "validation", "test")
            },
            "stitch": {"method": "diffusion", "coordinates": 2, "inverse": "aligned"},
            "directions": "both",
        },
        "fingerprint": "77e0",
        "environment": {"python": "3.11.7", "torch": "2.13.0"},
        "timings": {"fit.diffusion": 1.94, "evaluate": 0.2},
        "memory_peak_bytes": 402_000_000,
        "parameters": {"source": 169, "target": 169},
        "measures": measures,
        "verdict": judge(measures, "diffusion"),
        "chosen": {"method": "diffusion", "split": "validation", "measure": "output_mse"},
        "diagnostics": {"fits": {"diffusion": _fit(2)}},
        "notes": [],
    }
    return Report(**{**fields, **changes})
