"""Signed maps laid over a volume, each beside its controls; where a map is 0, the volume is seen.

Red speaks for the score, blue against it, and the stronger the colour, the less of the CT shows
through. The map's highest voxel is marked: filled if it lies inside the finding, open if outside.
"""

import math
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, Float, Num
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mg3d.viz.overlay import tokens_to_voxels
from mg3d.viz.planes import Plane, best_index, cut, extent_of, find_plane, hang, mark_sides, outline
from mg3d.viz.slices import small_print
from mg3d.viz.style import (
    AMBER,
    SIGNED,
    SKY,
    Array,
    caption,
    figure_function,
    find_window,
    to_hu,
    to_numpy,
)

STRONGEST = 0.85  # opacity of the largest value
QUANTILE = 0.999  # of a map's absolute values: the end of its scale, so that one voxel is not all


@figure_function
def show_heat(
    voxels: Num[Array, "H W D"],
    maps: Mapping[str, Float[Array, "..."]],
    spacing_mm: tuple[float, float, float],
    *,
    mask: Bool[Array, "H W D"] | None = None,
    unit_hu: tuple[float, float] | None = None,
    window_hu: str | tuple[float, float] = "model",
    plane: str = "axial",
    at: tuple[int, int, int] | None = None,
    columns: int = 4,
    title: str = "",
    volume_title: str = "volume",
    note: str = "",
) -> Figure:
    """Draw one slice of the volume, and the same slice under each map.

    Args:
        voxels: in HU, or on the model's scale, see `unit_hu`.
        maps: title -> signed map, of the volume's shape or coarser.
        spacing_mm: of the volume's axes.
        mask: where the finding is; outlined everywhere.
        unit_hu: HU that the values 0 and 1 stand for; None: `voxels` are in HU.
        window_hu: "lung", "soft tissue", "bone", "model", or two ends in HU.
        plane: "axial", "coronal" or "sagittal".
        at: indices of a point the slice goes through; default: most of the mask, else the middle.
        columns: panels side by side.
        title: of the figure.
        volume_title: above the volume without a map.
        note: added to the caption.

    Raises:
        ValueError: if there is no map.
    """
    if not maps:
        raise ValueError("maps is empty; give at least one, as title -> map")
    hu, region = to_hu(voxels, unit_hu), None if mask is None else to_numpy(mask)
    limits, words = find_window(window_hu)
    hung = find_plane(plane)
    extent = extent_of(hung, hu.shape, spacing_mm)
    index = best_index(region, hung, hu.shape) if at is None else at[hung.cut]
    count = 1 + len(maps)
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    width = 9.4 / columns
    fig, grid = plt.subplots(
        rows,
        columns,
        figsize=(10.0, rows * (width * extent[3] / extent[1] + 0.28) + 0.75),
        squeeze=False,
    )
    panels = [*grid.flat]
    for axes in panels[count:]:
        axes.set_axis_off()
    for axes, (name, heat) in zip(panels, {volume_title: None, **maps}.items(), strict=False):
        hang(axes, cut(hu, hung, index), extent, limits)
        fine = None if heat is None else tokens_to_voxels(heat, hu.shape)
        if fine is not None:
            _lay(axes, cut(fine, hung, index), extent, _end(fine))
        if region is not None:
            outline(axes, cut(region, hung, index), extent, SKY)
        if fine is not None:
            _mark_highest(axes, fine, region, hung, spacing_mm)
        mark_sides(axes, hung)
        axes.set_title(name, fontsize=8.5, fontweight="normal")
    bar = fig.colorbar(
        ScalarMappable(Normalize(-1, 1), SIGNED), ax=grid, shrink=0.75, aspect=25, pad=0.01
    )
    bar.set_ticks([-1, 0, 1], labels=["against", "0", "for"])
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    parts = [f"{plane} {index} of {hu.shape[hung.cut]}, {words}"]
    marks = "diamond: the map's highest voxel of all slices"
    if region is not None:
        parts += ["blue outline: the finding"]
        marks += ", filled if inside the finding"
    parts += [marks, "each map has its own scale"]
    caption(fig, small_print(" · ".join(parts), spacing_mm, note))
    return fig


def _end(heat: Float[np.ndarray, "H W D"]) -> float:
    return max(float(np.quantile(np.abs(heat), QUANTILE)), 1e-12)


def _lay(
    axes: Axes,
    picture: Float[np.ndarray, "r c"],
    extent: tuple[float, float, float, float],
    end: float,
) -> None:
    strength = np.clip(picture / end, -1, 1)
    colors = plt.get_cmap(SIGNED)((strength + 1) / 2)
    colors[..., 3] = STRONGEST * np.abs(strength) ** 0.7  # weak values are still seen
    axes.imshow(colors, extent=extent, aspect="equal", interpolation="nearest")


def _mark_highest(
    axes: Axes,
    heat: Float[np.ndarray, "H W D"],
    region: Bool[np.ndarray, "H W D"] | None,
    plane: Plane,
    spacing_mm: tuple[float, float, float],
) -> None:
    top = np.unravel_index(int(heat.argmax()), heat.shape)
    sizes = heat.shape
    # Axis `across` runs from right to left in the picture, `up` from its bottom to its top.
    x = (sizes[plane.across] - top[plane.across] - 0.5) * spacing_mm[plane.across]
    y = (top[plane.up] + 0.5) * spacing_mm[plane.up]
    inside = region is not None and bool(region[top])
    for edge, size in (("black", 3.2), (AMBER, 1.6)):
        axes.plot(
            *(x, y),
            marker="D",
            markersize=6,
            markerfacecolor=AMBER if inside else "none",
            markeredgecolor=edge,
            markeredgewidth=size,
        )
