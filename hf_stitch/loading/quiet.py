"""Loading without the progress bars and advice of transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hf_stitch.loading.one_at_a_time import one_at_a_time


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from telling about loading: what matters of it is an error of ours. One thread at a time."""
    from transformers.utils import logging

    with one_at_a_time:
        verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
