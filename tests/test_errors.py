from __future__ import annotations

import inspect

from counts import ERRORS

from hf_stitch import errors
from hf_stitch.errors import StitchError, nearest


def test_every_error_of_ours_is_a_stitch_error() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
    assert len(kinds) == ERRORS
    assert all(issubclass(kind, StitchError) and kind.__doc__ for kind in kinds)


def test_nearest_names_the_closest_first_and_then_all() -> None:
    assert nearest("smothing", ["smoothing", "ridge"]) == "did you mean 'smoothing'? known: ridge, smoothing"
    assert nearest("zzz", ["b", "a"]) == "known: a, b"
    assert nearest("", []) == "known: "


def test_nearest_shortens_long_lists() -> None:
    names = [f"name{i:02d}" for i in range(30)]
    assert nearest("nothing", names, limit=2) == "known: name00, name01, ... (30 in all)"
