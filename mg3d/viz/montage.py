"""A montage: one scan from bottom to top and in two planes, in several windows."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mg3d.viz.planes import PLANES, Plane, cut, extent_of
from mg3d.viz.style import caption, figure_function, find_window

WINDOWS = ("lung", "soft tissue", "bone")


@figure_function
def show_montage(
    hu: Num[np.ndarray, "H W D"],
    spacing_mm: tuple[float, float, float],
    *,
    every_mm: float = 20.0,
    windows: Sequence[str | tuple[float, float]] = WINDOWS,
    columns: int = 8,
    title: str,
    note: str = "",
) -> Figure:
    """Axial slices from the lowest up, then three coronal and three sagittal ones, once a window.

    Args:
        hu: voxels[h, w, d] in HU.
        spacing_mm: of the three axes.
        every_mm: between axial slices.
        windows: names of HU windows, or their two ends.
        columns: pictures in a row.
        title: of the figure.
        note: small print below.

    Raises:
        ValueError: if `every_mm` is smaller than the distance of the slices.
    """
    if every_mm < spacing_mm[0]:
        raise ValueError(
            f"axial slices lie {spacing_mm[0]:g} mm apart, got every_mm {every_mm:g}; take at "
            "least that"
        )
    views = [(PLANES["axial"], index) for index in _axial(hu.shape[0], spacing_mm[0], every_mm)]
    for name in ("coronal", "sagittal"):
        plane = PLANES[name]
        views += [(plane, round(hu.shape[plane.cut] * share)) for share in (0.35, 0.5, 0.65)]
    rows = math.ceil(len(views) / columns)
    figure, axes = plt.subplots(
        rows * len(windows), columns, figsize=(1.9 * columns, 1.75 * rows * len(windows)),
        squeeze=False,
    )  # fmt: skip
    for axis in axes.flat:
        axis.set_axis_off()
    described = []
    for number, window in enumerate(windows):
        ends, words = find_window(window)
        described.append(words)
        block = axes[number * rows : (number + 1) * rows].flat
        for axis, (plane, index) in zip(block, views, strict=False):
            _draw(axis, hu, spacing_mm, plane, index, ends)
    figure.suptitle(title)
    mm = " × ".join(f"{size:.3g}" for size in spacing_mm)
    caption(
        figure, f"from above: {', '.join(described)} · voxel {mm} mm" + (f" · {note}" * bool(note))
    )
    return figure


def _axial(slices: int, spacing_mm: float, every_mm: float) -> list[int]:
    """Slices `every_mm` apart, the same distance from both ends."""
    count = max(1, math.floor((slices - 1) * spacing_mm / every_mm))
    first = ((slices - 1) - (count - 1) * every_mm / spacing_mm) / 2
    return [round(first + number * every_mm / spacing_mm) for number in range(count)]


def _draw(
    axis: Axes,
    hu: np.ndarray,
    spacing_mm: tuple[float, float, float],
    plane: Plane,
    index: int,
    ends: tuple[float, float],
) -> None:
    axis.imshow(
        cut(hu, plane, index), cmap="gray", vmin=ends[0], vmax=ends[1],
        extent=extent_of(plane, hu.shape, spacing_mm), interpolation="bilinear",
    )  # fmt: skip
    axis.set_title(f"{plane.name} {index * spacing_mm[plane.cut]:.0f} mm", fontsize=6, pad=1)
