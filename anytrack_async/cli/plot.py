"""Bar charts of AnyTrack's evaluations, in the terminal or as a PNG or SVG file."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
from rich.text import Text

from anytrack_async.cli.output import stdout_console, write_error
from anytrack_async.errors import ConfigurationError

TERMINAL: Final = "-"
"""The value of ``--plot`` for a chart in the terminal."""

SUFFIXES: Final = (".png", ".svg")
"""Suffixes of the picture files that ``--plot`` can write."""

Number: TypeAlias = Decimal | float

_NAME_LENGTH = 40  # characters; longer names would leave no room for the bars


@attrs.frozen
class Chart:
    """A bar chart.

    Attributes:
        title: the line above the bars.
        bars: the name, the value and the value's text of each bar, from top to bottom.
    """

    title: str
    bars: Sequence[tuple[str, Number, str]]


class Plot:
    """Draws charts where the value of ``--plot`` says.

    It is made before AnyTrack is asked, so that a wrong file name or a missing library costs no
    request.

    Args:
        value: `TERMINAL`, or the path of a file that ends in one of `SUFFIXES`.

    Raises:
        ConfigurationError: the file has another suffix, or the extra ``[plot]`` is missing.
    """

    def __init__(self, value: str) -> None:
        self._path = None if value == TERMINAL else Path(value)
        if self._path is None:
            self._library = _load("plotext")
            return
        if self._path.suffix.lower() not in SUFFIXES:
            raise ConfigurationError(
                f"--plot cannot write {value!r}: name a file that ends in .png or .svg, or leave "
                "the name out for a chart in the terminal"
            )
        self._library = _load("matplotlib")

    def draw(self, charts: Iterable[Chart]) -> None:
        """Draw *charts* below each other; those without bars are left out.

        Raises:
            OSError: the file cannot be written.
        """
        drawable = [chart for chart in charts if chart.bars]
        if not drawable:
            write_error("AnyTrack has no values to draw, so there is no chart", label="warning")
        elif self._path is None:
            _print(self._library, drawable)
        else:
            _save(self._library, drawable, self._path)
            stdout_console().print(Text(f"wrote {self._path}"), soft_wrap=True)


def _load(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise ConfigurationError(
            f"--plot needs {name}: pip install 'anytrack_async[plot]'"
        ) from None


def _shown(name: str) -> str:
    """Return *name* without control characters, which could command the terminal, and not long."""
    text = "".join(char if char.isprintable() else "?" for char in name)
    return text if len(text) <= _NAME_LENGTH else f"{text[: _NAME_LENGTH - 1]}…"


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the axis: it contains zero; ``[0.0, 0.0]`` gives ``(0.0, 1.0)``."""
    low, high = min(0.0, *values), max(0.0, *values)
    return (low, high) if low < high else (0.0, 1.0)


# In the terminal


def _print(plotext: Any, charts: Iterable[Chart]) -> None:
    console = stdout_console()
    # The chart may be higher than the terminal, which scrolls; plotext would leave out bars.
    plotext.terminal.limit(False, False)
    for chart in charts:
        text = _terminal_chart(plotext.figure, chart, console.width)
        console.print(Text(text), soft_wrap=True)


def _terminal_chart(figure: Any, chart: Chart, width: int) -> str:
    bars = [*reversed(chart.bars)]  # plotext counts from the bottom
    values = [float(value) for _, value, _ in bars]
    rows = [*range(1, len(bars) + 1)]
    figure.clear()
    figure.plot_size(width, max(len(bars), 2) + 4)  # 4: title, frame and axis
    figure.title(_shown(chart.title))
    figure.draw(figure.bar(rows, values, orientation="horizontal", width=0.2))
    figure.ruler("x").lim(*_limits(values))
    # The limits are the middles of the first and the last row; the bars are thinner than a row.
    figure.ruler("y").lim(1, max(len(bars), 2))
    figure.ruler("y").ticks(rows, [f"{_shown(name)}  {text}" for name, _, text in bars])
    rendered: str = figure.build().string(colorless=True)
    return rendered.rstrip("\n")


# As a file


def _save(matplotlib: Any, charts: Sequence[Chart], path: Path) -> None:
    # A figure of its own, without pyplot, needs no display and no window system.
    figure_class = import_module("matplotlib.figure").Figure
    inches = sum(len(chart.bars) * 0.3 + 1.2 for chart in charts)
    figure = figure_class(figsize=(8, inches), layout="constrained")
    import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    heights = [len(chart.bars) + 1 for chart in charts]
    panels = figure.subplots(len(charts), squeeze=False, height_ratios=heights)
    for (axes,), chart in zip(panels, charts, strict=True):
        _fill(axes, chart)
    # As text, a name in an SVG file can be searched, and be shown in a font that has its letters.
    with matplotlib.rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(path, format=path.suffix[1:].lower())


def _fill(axes: Any, chart: Chart) -> None:
    rows = range(len(chart.bars))
    drawn = axes.barh(rows, [float(value) for _, value, _ in chart.bars], height=0.6)
    # A name with two dollar signs is no formula.
    axes.set_yticks(rows, [_shown(name) for name, _, _ in chart.bars], parse_math=False)
    axes.invert_yaxis()
    axes.set_title(_shown(chart.title), parse_math=False)
    axes.bar_label(drawn, [text for _, _, text in chart.bars], padding=3)
    axes.margins(x=0.15)  # room for the values beside the bars
