"""The zoo: small models and synthetic data that ship with the package, so that recipes run offline.

`zoo:NAME` in a recipe is a folder here. `hf_stitch.zoo.build.build` makes everything again from seeds.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from hf_stitch.errors import ZooError, nearest
from hf_stitch.recipe.names import without_zoo
from hf_stitch.runtime.cache import cache_folder
from hf_stitch.zoo.cameras import cameras
from hf_stitch.zoo.functions.paper import network_names
from hf_stitch.zoo.speech import translations

ROOT = Path(__file__).parent
SENTIMENT_MODELS = ("xlnet-sentiment", "xlnet-sentiment-weak", "roberta-sentiment")
PARABOLA_PAIRS = 5  # by hand
_MODELS = ("wav2vec2-speech", *SENTIMENT_MODELS, "bart-german",
           *(f"parabola-{side}-{pair}" for pair in range(PARABOLA_PAIRS) for side in "ab"),
           *network_names(), *cameras.network_names())  # fmt: skip
# made in the user's cache when they are first opened: they would be as large as all else together
RENDERED = ("cameras", "opinions-german")
_DATA = ("opinions", "sentences", "parabola", "fold", "square", "warped", *RENDERED)


def model_names() -> list[str]:
    """Return the names of all models, without the `zoo:`."""
    return list(_MODELS)


def data_names() -> list[str]:
    """Return the names of all data sets, without the `zoo:`."""
    return list(_DATA)


def resolve_model(name: str) -> Path:
    """Return the folder of a model, for `from_pretrained`; `name` may carry the `zoo:`.

    Loading a small network, such as `parabola-a-0`, by an Auto class also needs `hf_stitch.register()`.
    """
    return _resolve(name, _MODELS, "model", ROOT / "models")


def resolve_data(name: str) -> Path:
    """Return the folder of a data set, one parquet file per split; `name` may carry the `zoo:`."""
    bare = without_zoo(name)
    if bare in RENDERED:
        return _rendered(bare)
    return _resolve(name, _DATA, "data set", ROOT / "data")


def _rendered(name: str) -> Path:
    maker = cameras if name == "cameras" else translations
    folder = cache_folder() / f"{maker.stamp()}-zoo-{name}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
            made = Path(scratch) / name
            maker.write_data(made)
            with suppress(OSError):  # another process was quicker
                made.rename(folder)
    return folder


def _resolve(name: str, known: tuple[str, ...], kind: str, parent: Path) -> Path:
    bare = without_zoo(name)
    if bare not in known:
        raise ZooError(f"the zoo has no {kind} {bare!r}: {nearest(bare, known)}")
    folder = parent / bare
    if not folder.is_dir():
        raise ZooError(f"the zoo's {kind} {bare!r} is not in this installation; make it with `hf-stitch zoo build`")
    return folder
