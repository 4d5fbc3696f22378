"""Slices of volumes in true proportions, with sides marked: three planes, or many patients."""

import math
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, Num
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mg3d.viz.planes import (
    PLANES,
    best_index,
    cut,
    extent_of,
    find_plane,
    hang,
    mark_sides,
    outline,
)
from mg3d.viz.style import CYCLE, Array, caption, figure_function, find_window, to_hu, to_numpy

Masks = Bool[Array, "H W D"] | Mapping[str, Bool[Array, "H W D"]] | None


@figure_function
def show_planes(
    voxels: Num[Array, "H W D"],
    spacing_mm: tuple[float, float, float],
    *,
    unit_hu: tuple[float, float] | None = None,
    window_hu: str | tuple[float, float] = "lung",
    at: tuple[int, int, int] | None = None,
    mask: Masks = None,
    title: str = "",
    note: str = "",
    smooth: bool = False,
) -> Figure:
    """Draw an axial, a coronal and a sagittal slice at one scale.

    Args:
        voxels: in HU, or on the model's scale, see `unit_hu`.
        spacing_mm: of the three axes.
        unit_hu: HU that the values 0 and 1 stand for; None: `voxels` are in HU.
        window_hu: "lung", "soft tissue", "bone", "model", or two ends in HU.
        at: indices of the point all three slices go through; default: most of the mask, else the
            middle.
        mask: True where a finding is, or several by name; outlined.
        title: of the figure.
        note: added to the caption, for example "synthetic patient, not for clinical use".
        smooth: interpolate between voxels; by default every voxel is one flat square.
    """
    hu = to_hu(voxels, unit_hu)
    masks = name_masks(mask)
    union = np.any(list(masks.values()), axis=0) if masks else None
    limits, words = find_window(window_hu)
    extents = [extent_of(plane, hu.shape, spacing_mm) for plane in PLANES.values()]
    widths, heights = [e[1] for e in extents], [e[3] for e in extents]
    scale = 9.0 / sum(widths)  # inches a mm
    fig, row = plt.subplots(
        1, 3, figsize=(9.3, max(heights) * scale + 0.8), width_ratios=widths, squeeze=True
    )
    for axes, plane, extent in zip(row, PLANES.values(), extents, strict=True):
        index = best_index(union, plane, hu.shape) if at is None else at[plane.cut]
        hang(axes, cut(hu, plane, index), extent, limits, smooth=smooth).axes.set_anchor("N")
        for color, region in zip(colors_of(masks), masks.values(), strict=True):
            outline(axes, cut(region, plane, index), extent, color)
        mark_sides(axes, plane)
        axes.set_title(
            f"{plane.name} {index} of {hu.shape[plane.cut]}", fontsize=8, fontweight="normal"
        )
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    explain_masks(fig, masks)
    caption(fig, small_print(words, spacing_mm, note))
    return fig


@figure_function
def show_grid_of_patients(
    volumes: Mapping[str, Num[Array, "H W D"]],
    spacing_mm: tuple[float, float, float],
    *,
    unit_hu: tuple[float, float] | None = None,
    window_hu: str | tuple[float, float] = "lung",
    plane: str = "coronal",
    masks: Mapping[str, Bool[Array, "H W D"]] | None = None,
    columns: int = 4,
    title: str = "",
    note: str = "",
    smooth: bool = False,
) -> Figure:
    """Draw one slice of each patient, all in the same window.

    Args:
        volumes: label -> voxels; the label is written above the slice.
        spacing_mm: of the three axes, the same for all.
        unit_hu: HU that the values 0 and 1 stand for; None: voxels are in HU.
        window_hu: "lung", "soft tissue", "bone", "model", or two ends in HU.
        plane: "axial", "coronal" or "sagittal".
        masks: label -> mask of the finding, outlined; the slice with its largest area is shown.
        columns: patients side by side.
        title: of the figure.
        note: added to the caption.
        smooth: interpolate between voxels.
    """
    if not volumes:
        raise ValueError("volumes is empty; give at least one patient, as label -> voxels")
    hung, masks = find_plane(plane), masks or {}
    limits, words = find_window(window_hu)
    columns = min(columns, len(volumes))
    rows = math.ceil(len(volumes) / columns)
    _, width, _, height = extent_of(hung, next(iter(volumes.values())).shape, spacing_mm)
    inches = 9.7 / columns
    fig, grid = plt.subplots(
        rows,
        columns,
        figsize=(10.0, rows * (inches * height / width + 0.2) + 0.5),
        squeeze=False,
    )
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (label, voxels) in zip(grid.flat, volumes.items(), strict=False):
        hu = to_hu(voxels, unit_hu)
        mask = to_numpy(masks[label]) if label in masks else None
        index = best_index(mask, hung, hu.shape)
        extent = extent_of(hung, hu.shape, spacing_mm)
        axes.set_axis_on()
        hang(axes, cut(hu, hung, index), extent, limits, smooth=smooth)
        if mask is not None:
            outline(axes, cut(mask, hung, index), extent, CYCLE[0])
        mark_sides(axes, hung)
        axes.set_title(label, fontsize=8.5, fontweight="normal")
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    caption(fig, small_print(f"{plane}, {words}", spacing_mm, note))
    return fig


def name_masks(mask: Masks) -> dict[str, Bool[np.ndarray, "H W D"]]:
    """Masks by name; a single mask gets the name ""."""
    if mask is None:
        return {}
    if isinstance(mask, Mapping):
        return {name: to_numpy(region) for name, region in mask.items()}
    return {"": to_numpy(mask)}


def colors_of(masks: Mapping[str, object]) -> list[str]:
    """One colour per mask, in order."""
    return [CYCLE[i % len(CYCLE)] for i in range(len(masks))]


def explain_masks(fig: Figure, masks: Mapping[str, object]) -> None:
    """A legend, if the masks have names."""
    lines = [
        Line2D([], [], color=color, label=name)
        for color, name in zip(colors_of(masks), masks, strict=True)
        if name
    ]
    if lines:
        fig.legend(handles=lines, loc="outside upper right", ncols=min(4, len(lines)))


def small_print(words: str, spacing_mm: tuple[float, float, float], note: str) -> str:
    """The caption of a figure of volumes: plane and window, voxel size, note."""
    size = " × ".join(f"{side:.3g}" for side in spacing_mm)
    return " · ".join(part for part in (words, f"voxel {size} mm", note) if part)
