"""Pairs of sentences as SSM sorts them (same, undecided, different), and what becomes of each."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mg3d.viz.style import (
    FAINT,
    GREEN,
    INK,
    ORANGE,
    QUIET,
    SIGNED,
    Array,
    caption,
    figure_function,
    to_numpy,
)

KINDS = {"same": GREEN, "undecided": FAINT, "different": ORANGE}
LONGEST = 52  # letters of a sentence that are written
BINS = np.linspace(-1, 1, 81)


@figure_function
def show_two_patients(
    cosine: Float[Array, "R C"],
    target: Float[Array, "R C"],
    decided: Bool[Array, "R C"],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    names: tuple[str, str] = ("first patient", "second patient"),
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw the sentences of one patient against those of another: cosines, and what they count as.

    Args:
        cosine: of the identities of both sentences.
        target: 0 where a pair does not count as the same.
        decided: False where a pair is left undecided.
        rows: sentences of the first patient.
        columns: sentences of the second patient.
        names: of the two patients.
        title: of the figure.
        note: added to the caption.

    Raises:
        ValueError: if there is not one row and one column for each sentence.
    """
    values, asked, clear = to_numpy(cosine), to_numpy(target), to_numpy(decided)
    if values.shape != (len(rows), len(columns)):
        raise ValueError(
            f"{len(rows)} and {len(columns)} sentences need as many rows and columns, but the "
            f"cosines have the shape {values.shape}"
        )
    kind = np.where(~clear, 1, np.where(asked > 0, 0, 2))
    height = 0.2 * max(len(rows), len(columns), 6) + 1.5
    fig, (left, right) = plt.subplots(1, 2, figsize=(11.0, height), sharey=True)
    left.imshow(values, vmin=-1, vmax=1, cmap=SIGNED, aspect="auto", interpolation="nearest")
    right.imshow(
        *(kind, ListedColormap(list(KINDS.values()))),
        vmin=0, vmax=2, aspect="auto", interpolation="nearest",
    )  # fmt: skip
    for axes, name in ((left, "cosine of the words"), (right, "what the pair counts as")):
        axes.set_title(name)
        axes.set(xlabel=f"sentence of {names[1]}", xticks=range(len(columns)))
        axes.tick_params(axis="x", labelsize=6.5)
        axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.0)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
    left.set_yticks(range(len(rows)), [f"{_short(s)}  {i}" for i, s in enumerate(rows)], fontsize=7)
    left.set_title(f"rows: {names[0]}  ", loc="right", fontsize=9, color=QUIET, x=0.0)
    right.set_title(f"  columns: {names[1]}", loc="left", fontsize=9, color=QUIET, x=1.0)
    right.set_title("what the pair counts as", loc="center")
    listed = "\n".join(f"{i}  {_short(s)}" for i, s in enumerate(columns))
    right.annotate(
        listed, (1.0, 1.0), xycoords="axes fraction", xytext=(8, 0), textcoords="offset points",
        va="top", fontsize=7, linespacing=1.7, color=INK,
    )  # fmt: skip
    counts = np.bincount(kind.ravel(), minlength=3)
    fig.legend(
        handles=[
            Patch(fc=color, label=f"{name}: {count}")
            for (name, color), count in zip(KINDS.items(), counts, strict=True)
        ],
        loc="outside lower right",
        ncols=3,
    )
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    scale = "left: white 0, dark red 1, blue below 0"
    caption(fig, " · ".join(part for part in (scale, note) if part))
    return fig


@figure_function
def show_kinds(
    cosines: Mapping[str, Float[Array, " pairs"]],
    *,
    asked: Mapping[str, float] | None = None,
    x_label: str = "cosine of the visual features",
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw one histogram above another, for each kind of pairs, on one axis from -1 to 1.

    Args:
        cosines: kind -> cosine of each of its pairs; the kinds of `KINDS` have their own colours.
        asked: kind -> the cosine it should have, drawn dashed.
        x_label: of the axis.
        title: of the figure.
        note: added to the caption.
    """
    fig, column = plt.subplots(
        len(cosines), 1, figsize=(7.6, 1.15 * len(cosines) + 0.9), sharex=True, squeeze=False
    )
    for axes, (name, values) in zip(column[:, 0], cosines.items(), strict=True):
        numbers = np.clip(to_numpy(values), -1, 1)
        weights = np.full(len(numbers), 1 / max(1, len(numbers)))
        color = KINDS.get(name, QUIET)
        axes.hist(numbers, BINS, weights=weights, color=color, edgecolor=QUIET, linewidth=0.5)
        axes.set_title(f"{name}: {len(numbers):,} pairs", fontsize=9)
        axes.set(yticks=[], xlim=(-1.02, 1.02))
        axes.spines["left"].set_visible(False)
        if asked and name in asked:
            axes.axvline(asked[name], color=INK, linestyle=(0, (4, 2)), linewidth=1.2)
    column[-1, 0].set_xlabel(x_label)
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    dashed = "dashed: what the pairs are asked for" if asked else ""
    caption(fig, " · ".join(part for part in (dashed, note) if part))
    return fig


def _short(sentence: str) -> str:
    return sentence if len(sentence) <= LONGEST else f"{sentence[: LONGEST - 1]}…"
