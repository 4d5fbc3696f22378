"""Figures of Hounsfield units: histograms of volumes, and one slice in several windows."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Num
from matplotlib.figure import Figure

from mg3d.viz.planes import cut, extent_of, find_plane, hang, mark_sides
from mg3d.viz.slices import small_print
from mg3d.viz.style import (
    AMBER,
    BLUE,
    FAINT,
    GREEN,
    INK,
    PINK,
    SKY,
    Array,
    caption,
    figure_function,
    find_window,
    to_numpy,
)

# tissue -> lower and upper end in HU, as in the volumes' histograms, and colour
TISSUES_HU: dict[str, tuple[float, float, str]] = {
    "air": (-1050.0, -950.0, SKY),
    "lung": (-950.0, -500.0, BLUE),
    "fat": (-150.0, -50.0, AMBER),
    "soft tissue": (0.0, 100.0, PINK),
    "bone": (200.0, 1500.0, GREEN),
}
BINS = 260


@figure_function
def show_hu_histograms(
    values: Mapping[str, Num[Array, "*any"]],
    *,
    range_hu: tuple[float, float] = (-1100.0, 1100.0),
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw one histogram per volume, coloured by the tissue that each HU range stands for.

    Args:
        values: title -> values in HU, or values that are mistaken for HU.
        range_hu: ends of the axis; the share of values outside is written in the panel's corner.
        title: of the figure.
        note: caption.
    """
    if not values:
        raise ValueError("values is empty; give at least one volume, as title -> values")
    low, high = range_hu
    edges = np.linspace(low, high, BINS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    height = 1.5 * len(values) + 1.2 if len(values) > 1 else 3.2
    fig, rows = plt.subplots(len(values), 1, figsize=(8.6, height), sharex=True, squeeze=False)
    for axes, (name, array) in zip(rows[:, 0], values.items(), strict=True):
        numbers = to_numpy(array).ravel()
        share = np.histogram(numbers, edges)[0] / numbers.size
        axes.bar(middles, share, edges[1] - edges[0], color=FAINT)
        for start, end, color in TISSUES_HU.values():
            axes.axvspan(max(start, low), min(end, high), color=color, alpha=0.14, linewidth=0)
            inside = (middles >= start) & (middles < end)
            axes.bar(middles[inside], share[inside], edges[1] - edges[0], color=color)
        axes.stairs(share, edges, color=INK, linewidth=0.8)
        axes.set(yscale="log", ylim=(2e-6, 1), xlim=(low, high), ylabel="share of voxels")
        axes.set_title(name, fontsize=9)
        outside = float(np.mean((numbers < low) | (numbers > high)))
        if outside > 0:
            axes.text(
                0.995, 0.93, f"outside the axis: {outside:.2%}", fontsize=7.5,
                transform=axes.transAxes, ha="right", va="top",
            )  # fmt: skip
    rows[-1, 0].set_xlabel("value, taken as HU")
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=color, label=name)
        for name, (_, _, color) in TISSUES_HU.items()
    ]
    fig.legend(handles=handles, loc="outside lower right", ncols=len(handles))
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    if note:
        caption(fig, note)
    return fig


@figure_function
def show_windows(
    hu: Num[Array, "H W D"],
    spacing_mm: tuple[float, float, float],
    windows: Sequence[str | tuple[float, float]] = ("lung", "soft tissue", "bone"),
    *,
    plane: str = "axial",
    index: int | None = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw one slice through several HU windows.

    Args:
        hu: voxels in HU.
        spacing_mm: of the three axes.
        windows: names or ends in HU, see `HU_WINDOWS`.
        plane: "axial", "coronal" or "sagittal".
        index: of the slice; None: the middle.
        title: of the figure.
        note: added to the caption.
    """
    hung, array = find_plane(plane), to_numpy(hu)
    index = array.shape[hung.cut] // 2 if index is None else index
    extent = extent_of(hung, array.shape, spacing_mm)
    inches = 9.7 / len(windows)
    fig, row = plt.subplots(
        1,
        len(windows),
        figsize=(10.0, inches * extent[3] / extent[1] + 0.9),
        squeeze=False,
    )
    for axes, window in zip(row[0], windows, strict=True):
        limits, words = find_window(window)
        hang(axes, cut(array, hung, index), extent, limits)
        mark_sides(axes, hung)
        axes.set_title(words, fontsize=8.5, fontweight="normal")
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    words = f"{plane} {index} of {array.shape[hung.cut]}"
    caption(fig, small_print(words, spacing_mm, note))
    return fig
