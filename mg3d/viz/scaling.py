"""Losses against size: measured runs, the law fitted to them, and how far it was stretched."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter

from mg3d.viz.curves import DASHES, Table, demand_columns
from mg3d.viz.style import BLUE, FAINT, GREEN, INK, ORANGE, PINK, QUIET, caption, figure_function

COLORS = (ORANGE, BLUE, GREEN, PINK)
MARKERS = "osD^"
BAND = 0.16  # opacity of an interval


@figure_function
def show_law(
    runs: Table,
    curves: Table | None = None,
    *,
    x_label: str,
    y_label: str,
    marks: Mapping[str, float] | None = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw one dot per run and one curve per law, both axes logarithmic.

    Args:
        runs: rows with `line` (what a curve belongs to, such as a model size), `x` and `loss`.
        curves: rows with `line`, `x`, `loss`, `low` and `high`; inside the measured range of x the
            curve is drawn through, beyond it dashed on a grey ground. None: the mean of the runs at
            each x, joined.
        x_label: what grows, such as "training patients".
        y_label: the loss, with its unit.
        marks: label -> loss that a horizontal line stands for, such as that of guessing.
        title: of the figure.
        note: added below: seeds, patients, what the band is.
    """
    import pandas as pd

    dots = pd.DataFrame(runs)
    demand_columns(dots, "line", "x", "loss")
    laws = None if curves is None else pd.DataFrame(curves)
    if laws is not None:
        demand_columns(laws, "line", "x", "loss", "low", "high")
    fig, axes = plt.subplots(figsize=(6.4, 3.8))
    for place, name in enumerate(dict.fromkeys(dots["line"])):
        color, marker = COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]
        part = dots[dots["line"] == name]
        axes.plot(
            part["x"], part["loss"], marker, color=color, markersize=4.5, alpha=0.8, label=name
        )
        if laws is None:
            mean = part.groupby("x")["loss"].mean()
            axes.plot(mean.index, mean, color=color, linewidth=1.3)
        else:
            _draw_law(axes, laws[laws["line"] == name], float(part["x"].max()), color)
    for label, loss in (marks or {}).items():
        axes.axhline(loss, color=QUIET, linewidth=1, linestyle=DASHES, zorder=0)
        axes.annotate(
            label, (0.0, loss), xycoords=("axes fraction", "data"), xytext=(3, 2),
            textcoords="offset points", ha="left", color=QUIET, fontsize=7.5,
        )  # fmt: skip
    _scale(axes, dots, laws)
    axes.set(xlabel=x_label, ylabel=y_label)
    fig.legend(loc="outside right upper", labelcolor=INK)
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    if note:
        caption(fig, note)
    return fig


def _draw_law(axes: Axes, law: Any, measured_to: float, color: str) -> None:
    law = law.sort_values("x")
    axes.fill_between(law["x"], law["low"], law["high"], color=color, alpha=BAND, linewidth=0)
    inside, beyond = law[law["x"] <= measured_to], law[law["x"] >= measured_to]
    axes.plot(inside["x"], inside["loss"], color=color, linewidth=1.5)
    axes.plot(beyond["x"], beyond["loss"], color=color, linewidth=1.5, linestyle=DASHES)


def _scale(axes: Axes, dots: Any, laws: Any) -> None:
    """Logarithmic axes with plain numbers, and grey where nothing was measured."""
    axes.set(xscale="log", yscale="log")
    measured = sorted(set(dots["x"]))
    end = measured[-1] if laws is None or not len(laws) else max(measured[-1], laws["x"].max())
    if end > measured[-1]:
        axes.axvspan(measured[-1], end, color=FAINT, alpha=0.45, linewidth=0, zorder=0)
        axes.annotate(
            "not measured", (measured[-1] * (end / measured[-1]) ** 0.5, 1.0),
            xycoords=("data", "axes fraction"), xytext=(0, -9), textcoords="offset points",
            ha="center", color=QUIET, fontsize=7.5,
        )  # fmt: skip
    if len(measured) <= 8 and all(float(x).is_integer() and x < 1e6 for x in measured):
        wanted = [*measured, end] if end >= 2 * measured[-1] else measured
        axes.xaxis.set_major_locator(FixedLocator(wanted))
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="x", which="minor", length=0)
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(FixedLocator(_round_numbers(low, high)))
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="y", which="minor", length=0)
    axes.set_ylim(low, high)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _round_numbers(low: float, high: float) -> list[float]:
    """Three to eight multiples of 1, 2 or 5 times a power of ten between two losses."""
    step = 10.0 ** np.floor(np.log10(high - low))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if (high - low) / s <= 8)
    return [
        float(np.round(k * step, 10)) for k in range(int(np.ceil(low / step)), 1 + int(high / step))
    ]
