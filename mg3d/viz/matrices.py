"""Similarity matrices: sentences against sentences, and reports against volumes."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from mg3d.viz.style import (
    FAINT,
    GREEN,
    INK,
    ORANGE,
    SIGNED,
    Array,
    caption,
    figure_function,
    to_numpy,
)


@figure_function
def show_similarities(
    matrices: Mapping[str, Float[Array, "S S"]],
    patient: Int[Array, " S"],
    *,
    title: str = "",
    rows: str = "sentence",
) -> Figure:
    """Draw sentence-by-sentence matrices side by side, on one colour scale from -1 to 1.

    Args:
        matrices: panel title -> cosines.
        patient: of each sentence; lines are drawn where the patient changes.
        title: of the figure.
        rows: what a row and a column stand for, in the singular.
    """
    owner = to_numpy(patient)
    starts = np.flatnonzero(np.diff(owner, prepend=owner[0] - 1))  # each patient's first sentence
    middles = (starts + np.append(starts[1:], len(owner)) - 1) / 2
    fig, row = plt.subplots(
        1, len(matrices), figsize=(3.6 * len(matrices) + 0.9, 3.9), sharey=True, squeeze=False
    )
    for axes, (name, matrix) in zip(row[0], matrices.items(), strict=True):
        image = axes.imshow(to_numpy(matrix), vmin=-1, vmax=1, cmap=SIGNED, interpolation="nearest")
        axes.set(title=name, xlabel=f"{rows}s of patient")
        axes.set_xticks(middles, owner[starts])
        axes.set_yticks(middles, owner[starts])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for border in starts[1:] - 0.5:
            axes.axhline(border, color=INK, linewidth=0.8)
            axes.axvline(border, color=INK, linewidth=0.8)
    row[0, 0].set_ylabel(f"{rows}s of patient")
    fig.colorbar(image, ax=row, label="cosine similarity", shrink=0.85)
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    caption(fig, f"{len(owner)} {rows}s of {len(starts)} patients")
    return fig


@figure_function
def show_similarity_matrix(
    similarity: Float[Array, "R V"],
    *,
    title: str = "",
    k: int = 5,
    note: str = "",
    rows: str = "report",
    columns: str = "volume",
) -> Figure:
    """Draw reports against volumes; entry (i, i) is the matching pair of patient i.

    A ring marks each matching pair: green if the volume is among the report's `k` most similar.

    Args:
        similarity: cosine of report (row) and volume (column).
        title: of the figure.
        k: volumes that a search returns.
        note: added to the caption, for example whose reports these are.
        rows: what a row stands for, in the singular.
        columns: what a column stands for, in the singular.
    """
    values = to_numpy(similarity)
    num_reports, num_volumes = values.shape
    pairs = np.arange(min(values.shape))
    rank = (values[pairs] > values[pairs, pairs][:, None]).sum(1)
    hits = rank < k
    limit = max(float(np.abs(values).max()), 1e-6)
    fig, axes = plt.subplots(figsize=(5.6, 5.0 * min(1.2, max(0.5, num_reports / num_volumes))))
    image = axes.imshow(values, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
    size = min(60.0, (190.0 / max(values.shape)) ** 2)
    for chosen, color in ((hits, GREEN), (~hits, ORANGE)):
        ringed = pairs[chosen]
        axes.scatter(ringed, ringed, s=size, facecolors="none", edgecolors=color, linewidths=1.2)
    axes.set(xlabel=f"{columns} of patient", ylabel=f"{rows} of patient", title=title)
    axes.spines[:].set_color(FAINT)
    fig.colorbar(image, ax=axes, label="cosine similarity", shrink=0.85)
    found = "it is the most similar" if k == 1 else f"among the {k} most similar"
    caption(
        fig,
        f"{num_reports} {rows}s, {num_volumes} {columns}s · rings: the {rows}'s own {columns}, "
        f"green if {found}: {hits.sum()} of {len(pairs)}, "
        f"by chance {min(1.0, k / num_volumes) * len(pairs):.1f}" + (f" · {note}" if note else ""),
    )
    return fig
