"""The spoken opinions with their German: `opinions-german`, written where it is needed from the opinions that ship."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hf_stitch.errors import ZooError
from hf_stitch.zoo.speech import german as rules

SPOKEN = Path(__file__).parents[1] / "data" / "opinions"


def stamp() -> str:
    """Return a stamp of what the data depend on."""
    sources = [Path(__file__), Path(rules.__file__), *sorted(SPOKEN.glob("*.parquet"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:24]


def write_data(folder: Path) -> None:
    """Write the splits of the opinions with a column `german` more.

    Raises:
        ZooError: the opinions are not in this installation.
    """
    import pyarrow
    import pyarrow.parquet
    from datasets import Dataset, Features, Value

    parts = sorted(SPOKEN.glob("*.parquet"))
    if not parts:
        raise ZooError("the zoo's data set 'opinions' is not in this installation; make it with `hf-stitch zoo build`")
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        table = pyarrow.parquet.read_table(part)
        written = pyarrow.array([rules.german(text) for text in table["text"].to_pylist()])
        features = Features({**Dataset(table).features, "german": Value("string")})
        more = table.append_column("german", written).replace_schema_metadata(features.arrow_schema.metadata)
        pyarrow.parquet.write_table(more, folder / part.name)
