"""Scores of several trainings against their number of steps: does longer training still help?"""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from mg3d.viz.curves import Table, demand_columns
from mg3d.viz.style import BLUE, CYCLE, ORANGE, PINK, QUIET, SKY, caption, figure_function

COLORS = {
    **{"six + clip": BLUE, "only clip": SKY, "the paper's six": ORANGE},
    "six + clip, reports shuffled": PINK,
}
SMALL: dict[str, Any] = {"marker": "o", "markersize": 4.5}
LARGE: dict[str, Any] = {"marker": "D", "markersize": 5.0}
APART = 1.05  # factor between neighbouring lines on the step axis, so that intervals do not overlap


@figure_function
def show_growth(table: Table, *, title: str = "", note: str = "") -> Figure:
    """Draw one panel per score and one line per configuration, steps on a logarithmic axis.

    Args:
        table: rows with `configuration`, `steps`, `patients`, `score` (a panel each), `value`,
            `low` and `high`. Runs with the fewest patients are joined by a line; runs with more are
            diamonds. Rows named "untrained" are a grey band, or grey diamonds with more patients.
        title: of the figure.
        note: added to the caption: patients, seeds, what the interval is.
    """
    import pandas as pd

    data = pd.DataFrame(table)
    demand_columns(data, "configuration", "steps", "patients", "score", "value", "low", "high")
    before = data[data["configuration"] == "untrained"]
    data = data[data["configuration"] != "untrained"]
    scores, names = (list(dict.fromkeys(data[key])) for key in ("score", "configuration"))
    fewest, last = int(data["patients"].min()), float(data["steps"].max())
    fig, panels = plt.subplots(
        1, len(scores), figsize=(2.2 + 3.0 * len(scores), 3.1), squeeze=False
    )
    for axes, score in zip(panels[0], scores, strict=True):
        for place, name in enumerate(names):
            rows = data[(data["score"] == score) & (data["configuration"] == name)]
            shift = APART ** (place - (len(names) - 1) / 2)
            color = COLORS.get(name, CYCLE[place % len(CYCLE)])
            line = rows[rows["patients"] == fewest].sort_values("steps")
            _draw(axes, line, shift, color, "-", SMALL)
            _draw(axes, rows[rows["patients"] > fewest], shift * APART**3.5, color, "", LARGE)
        _untrained(axes, before[before["score"] == score], fewest, last * APART**5)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(sorted(set(data["steps"]))))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda steps, _: f"{steps:,.0f}")
        axes.set_xlabel("training steps")
        axes.set_title(score)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    handles = [
        plt.Line2D([], [], color=COLORS.get(name, CYCLE[place % len(CYCLE)]), label=name, **SMALL)
        for place, name in enumerate(names)
    ]
    handles += [
        plt.Line2D([], [], color=QUIET, linestyle="", label=f"{patients:,} patients", **LARGE)
        for patients in sorted(set(data["patients"]) - {fewest})
    ]
    fig.legend(handles=handles, loc="outside right upper")
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    if note:
        caption(fig, note)
    return fig


def _draw(axes: Axes, rows: Any, shift: float, color: str, line: str, dot: dict[str, Any]) -> None:
    steps = rows["steps"] * shift
    axes.vlines(steps, rows["low"], rows["high"], color=color, linewidth=1.6, alpha=0.55)
    axes.plot(steps, rows["value"], color=color, linestyle=line, **dot)


def _untrained(axes: Axes, rows: Any, fewest: int, beside: float) -> None:
    """Untrained encoder: a band where its probe had the fewest patients, else diamonds."""
    _draw(axes, rows[rows["patients"] > fewest].assign(steps=beside), 1.0, QUIET, "", LARGE)
    rows = rows[rows["patients"] == fewest]
    if not len(rows):
        return
    axes.axhspan(rows["low"].mean(), rows["high"].mean(), color=QUIET, alpha=0.12, linewidth=0)
    axes.axhline(rows["value"].mean(), color=QUIET, linewidth=1)
    axes.annotate(
        "untrained",
        (0.0, rows["value"].mean()),
        xycoords=("axes fraction", "data"),
        xytext=(3, 3),
        textcoords="offset points",
        color=QUIET,
        fontsize=7.5,
    )
