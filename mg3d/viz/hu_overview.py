"""Is a whole data set in HU? One histogram of all volumes, and one image row per volume."""

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from mg3d.viz.hounsfield import TISSUES_HU
from mg3d.viz.style import INK, QUIET, Array, caption, figure_function, to_numpy

LEAST = 1e-4  # smallest share of voxels in a bin that is drawn
MOST_LINES = 400  # rows of the lower panel; of more volumes, an evenly spaced subset is shown


@figure_function
def show_hu_overview(
    shares: Float[Array, "volumes bins"],
    edges: Float[Array, " edges"],
    *,
    unit: str = "HU",
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw the histogram of a data set, and below it an image with one row per volume.

    A data set in HU has its peaks in the coloured ranges, and its rows look alike; the row of a
    volume that is shifted or scaled differs from the others.

    Args:
        shares: of the voxels of each volume, by bin; a row sums to 1.
        edges: of the bins, one more than there are bins.
        unit: "HU", or "0 to 1" for volumes that are not in HU; no tissue is marked then.
        title: of the figure.
        note: added to the caption, such as the name of the data set.

    Raises:
        ValueError: if there is no volume.
    """
    rows, edges = to_numpy(shares), to_numpy(edges)
    if not len(rows):
        raise ValueError("there is no volume to show; give one row per volume")
    per_volume = min(3.0, 1.1 + 0.02 * len(rows))
    fig, (top, below) = plt.subplots(
        2, 1, figsize=(9.4, 3.4 + per_volume), sharex=True, height_ratios=(2.6, per_volume)
    )
    middle = np.median(rows, axis=0)
    low, high = np.percentile(rows, (5, 95), axis=0)
    if unit == "HU":
        for number, (name, (start, end, color)) in enumerate(TISSUES_HU.items()):
            height = 0.98 - 0.07 * (number % 2)  # neighbours' names do not touch
            _mark_tissue(top, below, name, (start, end), color, height)
    band = {"step": "mid", "color": QUIET, "alpha": 0.3, "linewidth": 0}
    centres = (edges[1:] + edges[:-1]) / 2
    top.fill_between(
        centres, np.maximum(low, LEAST / 10), np.maximum(high, LEAST / 10), **band,
        label="9 of 10 volumes",
    )  # fmt: skip
    top.stairs(
        np.maximum(middle, LEAST / 10), edges, color=INK, linewidth=1.2, label="median volume"
    )
    top.set(yscale="log", ylim=(LEAST / 2, 1.6), ylabel="share of voxels", xlim=edges[[0, -1]])
    top.legend(loc="upper right", bbox_to_anchor=(1, 0.9))
    lines = _in_order(rows)
    image = below.imshow(
        np.maximum(lines, LEAST / 10),
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        norm=LogNorm(LEAST, 0.3),
        extent=(edges[0], edges[-1], len(lines) + 0.5, 0.5),
    )
    below.set(xlabel=unit, ylabel="volume")
    below.yaxis.get_major_locator().set_params(integer=True)
    fig.colorbar(image, ax=below, label="share", pad=0.01, aspect=12, extend="min")
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    caption(fig, " · ".join(part for part in (_small_print(len(rows), unit, edges), note) if part))
    return fig


def _mark_tissue(
    top: Axes, below: Axes, name: str, ends: tuple[float, float], color: str, height: float
) -> None:
    """Mark a tissue's range: shaded and named in the histogram, two lines in the panel below."""
    top.axvspan(*ends, color=color, alpha=0.16, linewidth=0)
    place = blended_transform_factory(top.transData, top.transAxes)
    top.text(
        sum(ends) / 2, height, name, transform=place,
        ha="center", va="top", fontsize=8, fontweight="bold", color=color,
    )  # fmt: skip
    for end in ends:
        below.axvline(end, color=color, linewidth=0.9, alpha=0.9)


def _in_order(rows: np.ndarray) -> np.ndarray:
    """Sort rows by distance from the median histogram, largest last; keep at most `MOST_LINES`."""
    # Area between cumulative histograms (Wasserstein distance, in bins): grows with a shift in HU.
    apart = np.abs(np.cumsum(rows - np.median(rows, axis=0), axis=1)).sum(axis=1)
    ordered = rows[np.argsort(apart, kind="stable")]
    if len(ordered) <= MOST_LINES:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, MOST_LINES).round().astype(int)]


def _small_print(volumes: int, unit: str, edges: np.ndarray) -> str:
    width = (edges[-1] - edges[0]) / (len(edges) - 1)
    words = f"{volumes:,} volume{'s' * (volumes != 1)}, bins of {width:.3g}"
    if unit == "HU":
        words += " HU, before resampling; the first and last bin include all values beyond"
    else:
        words += ", before resampling; these volumes are not in HU"
    order = "lower panel: one row per volume, the most unlike the median at the bottom"
    thinned = f" ({MOST_LINES} of them shown)" if volumes > MOST_LINES else ""
    return f"{words} · {order}{thinned}"
