"""The errors a user can cause. Each message says what was expected, what came, and what to do next.

Every `StitchError` ends the command line with status 2 and one clear line; anything else is our own fault (status 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class StitchError(Exception):
    """Base of all errors that a user can mend."""


class RecipeError(StitchError):
    """A recipe that cannot be read: unknown key, unknown method, wrong value."""


class ZooError(StitchError):
    """An unknown `zoo:` name, or a missing tool needed to rebuild the zoo."""


class DataError(StitchError):
    """Samples that cannot be used: empty, one class, silent, too short, not audio."""


class HookError(StitchError):
    """A hook point that does not exist, fires never or more than once, or has no usable activation."""


class ProbeError(HookError):
    """A model that cannot be probed, since nobody knows inputs on which it runs.

    Args:
        cause: what went wrong. advice: what to do about it where the error was raised; whoever knows of another way,
            as a recipe does, says `cause` with that.
    """

    def __init__(self, cause: str, advice: str = "give a function make_inputs(batch, length) -> keyword arguments"):
        super().__init__(cause, advice)
        self.cause, self.advice = cause, advice

    def __str__(self) -> str:
        return f"{self.cause}; {self.advice}"


class ActivationError(StitchError):
    """Activations that are NaN, infinite, constant, unpaired or too few."""


class ManifoldError(StitchError):
    """A cloud on which no diffusion map can be made: disconnected, duplicated, too small."""


class FitError(StitchError):
    """A stitching layer that cannot be fitted from what was given."""


class ArtifactError(StitchError):
    """A saved stitched model that is truncated, of another version, or in the way."""


class HubError(StitchError):
    """A repository of the Hub that is missing, closed to this token, or out of reach."""


def nearest(name: str, known: Iterable[str], limit: int = 12) -> str:
    """Return a phrase that names the known name nearest to `name`, then (some of) the known ones."""
    names = sorted(known)
    same = [
        known for known in names if known.casefold() == name.casefold()
    ]  # difflib sees nothing common in SEED and seed
    close = same or difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    shown = ", ".join(names[:limit]) + (f", ... ({len(names)} in all)" if len(names) > limit else "")
    return f"{hint}known: {shown}"
