"""The zoo: small models and synthetic data that ship with the package, so that recipes run offline.

`zoo:NAME` in a recipe is a folder here. `hf_stitch.zoo.build.build` makes everything again from seeds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hf_stitch.errors import ZooError, nearest
from hf_stitch.recipe.names import without_zoo
from hf_stitch.runtime.cache import cache_folder
from hf_stitch.zoo.families import families, family_of

ROOT = Path(__file__).parent


def model_names() -> list[str]:
    """Return the names of all models, without the `zoo:`."""
    return [name for family in families() for name in family.MODELS]


def data_names() -> list[str]:
    """Return the names of all data sets, without the `zoo:`."""
    return shipped_data() + [name for family in families() for name in family.RENDERED]


def shipped_data() -> list[str]:
    """Those that ship; the others are rendered when they are first opened."""
    return [name for family in families() for name in family.DATA]


def resolve_model(name: str) -> Path:
    """Return the folder of a model, for `from_pretrained`; `name` may carry the `zoo:`.

    Loading a small network, such as `parabola-a-0`, by an Auto class also needs `hf_stitch.register()`.
    """
    return _resolve(name, model_names(), "model", ROOT / "models")


def resolve_data(name: str) -> Path:
    """Return the folder of a data set, one parquet file per split; `name` may carry the `zoo:`."""
    bare = without_zoo(name)
    if is_rendered(bare):
        return _rendered(bare)
    return _resolve(name, data_names(), "data set", ROOT / "data")


def is_rendered(name: str) -> bool:
    """Whether a data set does not ship, but is made in the cache when it is first opened."""
    return name in data_names() and name not in shipped_data()


def rendered_folder(name: str) -> Path:
    """Where a data set that does not ship is made; it may not be there yet."""
    return cache_folder() / f"{family_of(name).stamp(name)}-zoo-{name}"


def _rendered(name: str) -> Path:
    maker, folder = family_of(name), rendered_folder(name)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
            made = Path(scratch) / name
            maker.write_data(name, made, lambda message: None)
            with suppress(OSError):  # another process was quicker
                made.rename(folder)
    return folder


def _resolve(name: str, known: Sequence[str], kind: str, parent: Path) -> Path:
    bare = without_zoo(name)
    if bare not in known:
        raise ZooError(f"the zoo has no {kind} {bare!r}: {nearest(bare, known)}")
    folder = parent / bare
    if not folder.is_dir():
        raise ZooError(f"the zoo's {kind} {bare!r} is not in this installation; make it with `hf-stitch zoo build`")
    return folder
