"""Numbers on the axes of figures, as people read them: each by itself, and few enough."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import Formatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

# By hand, of figures 3.7 inches wide.
ALONG = 36  # characters that have room along the horizontal axis
MOST = 16  # digits; a float has no more


def readable_ticks(axis: Axis) -> None:
    """Whole numbers at the ticks: matplotlib's own have an offset or factor at the axis's end, or are for TeX."""
    low, high = sorted(axis.get_view_interval())
    if axis.get_scale() == "log":
        axis.set_minor_formatter(NullFormatter())
        if high >= 4 * low:
            return _powers(axis, high / low)
        axis.set_major_locator(MaxNLocator(4))
    elif not isinstance(axis.get_major_formatter(), ScalarFormatter):
        return  # the figure's own
    axis.set_major_formatter(PlainNumbers())
    if isinstance(axis, XAxis) and (longest := _longest(axis)) * len(_seen(axis)) > ALONG:
        axis.set_major_locator(MaxNLocator(max(2, ALONG // longest - 1), prune=None))


def _powers(axis: Axis, ratio: float) -> None:
    """Powers of ten; over two decades or less also twice and five times them."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if ratio < 100 else (1.0,), numticks=5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _seen(axis: Axis) -> list[float]:
    """The ticks that lie within the axis."""
    low, high = sorted(axis.get_view_interval())
    return [float(tick) for tick in axis.get_major_locator()() if low <= tick <= high]


def _longest(axis: Axis) -> int:
    return max((len(text) for text in plain_numbers(_seen(axis))), default=1)


class PlainNumbers(Formatter):
    """Labels of ticks by `plain_numbers`."""

    def __call__(self, value: float, pos: int | None = None) -> str:
        return self.format_ticks([value])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        return [self.fix_minus(text) for text in plain_numbers(values)]


def plain_numbers(values: Sequence[float]) -> list[str]:
    """Numbers with as few digits as tell them apart and leave nothing out, all written alike."""
    largest = max((abs(value) for value in values), default=0.0)
    steps = [abs(b - a) for a, b in pairwise(values)]
    within = 1e-3 * min([step for step in steps if step] or [largest or 1.0])
    fixed = largest == 0 or 1e-4 <= largest < 1e6
    for digits in range(MOST + 1):
        texts = [f"{value + 0.0:.{digits}f}" if fixed else f"{value:.{digits or 1}g}" for value in values]
        if all(abs(float(text) - value) <= within for text, value in zip(texts, values)):
            break
    return [text.removeprefix("-") if float(text) == 0 else text for text in texts]
