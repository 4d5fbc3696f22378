"""Cosines of sentence pairs of known meaning, compared with the two thresholds of SSM."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mg3d.viz.style import (
    CYCLE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    QUIET,
    Array,
    caption,
    figure_function,
    to_numpy,
)

BINS = np.linspace(-0.1, 1.0, 56)


@figure_function
def show_pairs(
    pairs: Sequence[tuple[str, str, bool]],
    cosines: Mapping[str, Float[Array, " pairs"]],
    *,
    same_above: float = 0.9,
    different_below: float = 0.6,
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw one row per pair of sentences, one dot per measure.

    Args:
        pairs: two sentences, and whether they have the same meaning.
        cosines: measure -> cosine of each pair.
        same_above: cosine from which SSM takes two sentences as the same.
        different_below: cosine up to which SSM takes them as different.
        title: of the figure.
        note: added to the caption.
    """
    fig, axes = plt.subplots(figsize=(9.3, 0.42 * len(pairs) + 1.5))
    _mark_zones(axes, same_above, different_below)
    rows = np.arange(len(pairs))
    styles = zip(cosines.items(), ("o", "D", "s", "^"), (INK, *CYCLE), strict=False)
    for (name, values), marker, color in styles:
        axes.plot(to_numpy(values), rows, marker, color=color, markersize=5, label=name)
    axes.set_yticks(rows, [f"{first}\n{second}" for first, second, _ in pairs], fontsize=7.5)
    for label, (_, _, same) in zip(axes.get_yticklabels(), pairs, strict=True):
        label.set_color(GREEN if same else ORANGE)
    axes.set(ylim=(len(pairs) - 0.4, -0.6), xlim=(-0.05, 1.03), xlabel="cosine")
    axes.tick_params(axis="y", length=0)
    axes.hlines(rows + 0.5, -0.05, 1.03, color=FAINT, linewidth=0.6)
    fig.legend(loc="outside upper right", ncols=len(cosines))
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    truth = "sentences in green say the same, in orange something else"
    caption(fig, " · ".join(part for part in (truth, note) if part))
    return fig


@figure_function
def show_cosines(
    cosines: Mapping[str, Float[Array, " pairs"]],
    same: Array,
    *,
    same_above: float = 0.9,
    different_below: float = 0.6,
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw histograms of the cosines of same and of different pairs, one panel per measure.

    Args:
        cosines: measure -> cosine of each pair.
        same: (pairs,) True where the two sentences have the same meaning.
        same_above: cosine from which SSM takes two sentences as the same.
        different_below: cosine up to which SSM takes them as different.
        title: of the figure.
        note: added to the caption.
    """
    truth = to_numpy(same).astype(bool)
    fig, row = plt.subplots(1, len(cosines), figsize=(9.3, 3.1), sharey=True, squeeze=False)
    for axes, (name, values) in zip(row[0], cosines.items(), strict=True):
        numbers = np.clip(to_numpy(values), BINS[0], BINS[-1])
        _mark_zones(axes, same_above, different_below)
        for chosen, color, label in (
            (~truth, ORANGE, f"say something else ({(~truth).sum():,} pairs)"),
            (truth, GREEN, f"say the same ({truth.sum():,} pairs)"),
        ):
            weights = np.full(chosen.sum(), 1 / max(1, chosen.sum()))
            axes.hist(
                numbers[chosen], BINS, weights=weights, histtype="stepfilled", color=color,
                alpha=0.45, edgecolor=color, linewidth=1.2, label=label,
            )  # fmt: skip
        axes.set(xlabel="cosine", xlim=(BINS[0], BINS[-1] + 0.01))
        axes.set_title(name, fontsize=9, pad=16)
    row[0, 0].set_ylabel("share of the pairs")
    handles, labels = row[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower right", ncols=2)
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    if note:
        caption(fig, note)
    return fig


def _mark_zones(axes: Axes, same_above: float, different_below: float) -> None:
    """Shade the ranges that SSM takes as same and as different; between them is undecided."""
    axes.axvspan(same_above, 1.03, color=GREEN, alpha=0.10, linewidth=0)
    axes.axvspan(-0.2, different_below, color=ORANGE, alpha=0.08, linewidth=0)
    places = {"taken as different": different_below / 2, "same": (same_above + 1.0) / 2}
    places["undecided"] = (different_below + same_above) / 2
    for text, place in places.items():
        axes.annotate(
            text, (place, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3),
            textcoords="offset points", ha="center", fontsize=7.5, color=QUIET,
        )  # fmt: skip
