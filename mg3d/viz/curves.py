"""Plots of losses over training and of scores with intervals, each beside its baseline."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mg3d.viz.style import (
    BLUE,
    CYCLE,
    INK,
    ORANGE,
    QUIET,
    ROLES,
    SKY,
    caption,
    figure_function,
)

Table: TypeAlias = Any  # whatever pandas.DataFrame takes: a frame, columns by name, rows

DASHES = (0, (4, 2))


@figure_function
def show_losses(
    history: Table,
    *,
    trivial: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    columns: int = 4,
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw one panel per objective: training loss, held-out loss and the trivial model's loss.

    Args:
        history: the run's table: `step`, one column per objective, and `val_<objective>`, empty at
            steps without a measurement.
        trivial: objective -> loss of the trivial model, drawn dashed.
        labels: objective -> title of its panel, such as `mg3d.objectives.LABELS`; default: the
            objective's name.
        columns: panels side by side.
        title: of the figure.
        note: added to the caption, for example numbers of patients and seeds.
    """
    import pandas as pd

    table, trivial, labels = pd.DataFrame(history), trivial or {}, labels or {}
    names = [c.removeprefix("val_") for c in table.columns if c.startswith("val_")]
    if not names:
        raise ValueError(
            "history has no column val_<objective>, so there are no held-out losses to show; "
            f"its columns are {', '.join(map(str, table.columns))}"
        )
    columns = min(columns, len(names))
    rows = math.ceil(len(names) / columns)
    fig, grid = plt.subplots(
        rows, columns, figsize=(2.5 * columns, 1.9 * rows + 0.8), sharex=True, squeeze=False
    )
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid.flat, names, strict=False):
        if name in table:
            seen = table[["step", name]].dropna()
            axes.plot(seen["step"], seen[name], color=SKY, linewidth=0.7, alpha=0.45)
            axes.plot(seen["step"], _smooth(seen[name]), color=SKY, linewidth=1.4)
        held = table[["step", f"val_{name}"]].dropna()
        axes.plot(held["step"], held[f"val_{name}"], "o-", color=INK, markersize=3, linewidth=1.4)
        if name in trivial and math.isfinite(trivial[name]):
            axes.axhline(trivial[name], color=ORANGE, linestyle=DASHES, linewidth=1.3)
        axes.set_title(labels.get(name, name), fontsize=8.5)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.grid(axis="y")
        axes.margins(x=0.02)
    for axes in grid[-1]:
        axes.set_xlabel("step")
    for axes in grid.flat[len(names) - columns : len(names)]:
        axes.set_xlabel("step")
        axes.tick_params(labelbottom=True)
    grid[0, 0].set_ylabel("loss")
    handles = [
        plt.Line2D([], [], color=SKY, label="training batch, and its running mean"),
        plt.Line2D([], [], color=INK, marker="o", markersize=3, label="held-out patients"),
        plt.Line2D([], [], color=ORANGE, linestyle=DASHES, label="trivial"),
    ]
    fig.legend(handles=handles if trivial else handles[:2], loc="outside lower right", ncols=3)
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    if note:
        caption(fig, note)
    return fig


@figure_function
def show_scores(
    table: Table, *, chance: float = 0.5, label: str = "AUROC", title: str = "", note: str = ""
) -> Figure:
    """Draw one row per finding: the score of each encoder, with intervals.

    Args:
        table: rows with `finding`, `model` (for example "untrained", "pre-trained", "supervised"),
            `value`, and, if known, `low` and `high`, the ends of the interval. The finding "macro"
            comes first, above a line; the others by the best value of the last model.
        chance: score of random guessing, drawn dashed.
        label: of the horizontal axis.
        title: of the figure.
        note: added to the caption: patients, seeds, what the interval is.
    """
    import pandas as pd

    data = pd.DataFrame(table)
    demand_columns(data, "finding", "model", "value")
    models = list(dict.fromkeys(data["model"]))
    last = data[data["model"] == models[-1]].set_index("finding")["value"]
    order = list(dict.fromkeys(data["finding"]))
    order.sort(key=lambda finding: (finding != "macro", -np.nan_to_num(last.get(finding, -1.0))))
    fig, axes = plt.subplots(figsize=(7.2, 0.27 * len(order) + 1.3))
    _mark_chance(axes, chance)
    for i, model in enumerate(models):
        rows = data[data["model"] == model].set_index("finding").reindex(order)
        places = np.arange(len(order)) + (i - (len(models) - 1) / 2) * 0.22
        _dots(axes, rows, places, ROLES.get(model, CYCLE[i % len(CYCLE)]), model)
    if order[0] == "macro":
        axes.axhline(0.5, color=INK, linewidth=0.8)
        order[0] = "mean of all findings"
    _name_rows(axes, order, label)
    fig.legend(loc="outside upper right", ncols=len(models))
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    if note:
        caption(fig, note)
    return fig


@figure_function
def show_ablation(table: Table, *, title: str = "", note: str = "") -> Figure:
    """Draw one row per configuration and one panel per score, with intervals.

    Args:
        table: rows with `configuration`, `score` (a panel each), `value`, and, if known, `low` and
            `high`, the ends of the interval, `group` (rows of one group stand together) and
            `chance` (a dashed line). Rows named "untrained" are grey.
        title: of the figure.
        note: added to the caption: patients, seeds, what the interval is.
    """
    import pandas as pd

    data = pd.DataFrame(table)
    demand_columns(data, "configuration", "score", "value")
    if "group" not in data:
        data["group"] = ""
    rows = data[["group", "configuration"]].drop_duplicates()
    groups = list(dict.fromkeys(rows["group"]))
    places, labels, heads, place = {}, [], [], 0.0
    for group in groups:
        if group:
            heads.append((place, group))
            place += 0.9
        for name in rows.loc[rows["group"] == group, "configuration"]:
            places[group, name] = place
            labels.append((place, name))
            place += 1.0
        place += 0.4
    scores = list(dict.fromkeys(data["score"]))
    fig, panels = plt.subplots(
        1,
        len(scores),
        figsize=(2.0 + 2.9 * len(scores), 0.27 * place + 1.2),
        sharey=True,
        squeeze=False,
    )
    for axes, score in zip(panels[0], scores, strict=True):
        part = data[data["score"] == score]
        if "chance" in part and part["chance"].notna().any():
            _mark_chance(axes, part["chance"].dropna().iloc[0])
        keys = zip(part["group"], part["configuration"], strict=True)
        heights = np.array([places[key] for key in keys])
        plain = (part["configuration"] == "untrained").to_numpy()
        _dots(axes, part[~plain], heights[~plain], BLUE, None)
        _dots(axes, part[plain], heights[plain], QUIET, None)
        axes.set_xlabel(score)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    first = panels[0, 0]
    first.set_yticks([p for p, _ in labels], [name for _, name in labels])
    first.set_ylim(place - 0.6, -0.8)
    for height, group in heads:
        first.annotate(
            group,
            (0, height),
            xycoords=("axes fraction", "data"),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8,
            fontweight="bold",
        )
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    if note:
        caption(fig, note)
    return fig


def _mark_chance(axes: Axes, chance: float) -> None:
    axes.axvline(chance, color=QUIET, linewidth=1, linestyle=DASHES)
    axes.annotate(
        "chance",
        (chance, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        color=QUIET,
        fontsize=7.5,
    )


def _dots(axes: Axes, rows: Any, heights: np.ndarray, color: str, label: str | None) -> None:
    values = rows["value"].to_numpy(dtype=float)
    if "low" in rows and "high" in rows:
        low, high = rows["low"].to_numpy(dtype=float), rows["high"].to_numpy(dtype=float)
        axes.hlines(heights, low, high, color=color, linewidth=1.6, alpha=0.55)
    axes.plot(values, heights, "o", color=color, markersize=4.5, label=label)


def _name_rows(axes: Axes, names: Sequence[str], label: str) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.set_xlabel(label)


def _smooth(values: Any) -> Any:
    return values.rolling(max(1, len(values) // 25), min_periods=1, center=True).mean()


def demand_columns(data: Any, *columns: str) -> None:
    """Raise a ValueError that names the missing columns, if there are any."""
    missing = [name for name in columns if name not in data]
    if missing:
        raise ValueError(
            f"the table lacks the columns {', '.join(missing)}; it has "
            f"{', '.join(map(str, data.columns)) or 'none'}; give one row per dot"
        )
