"""What preprocessing keeps of a scan: the box that is cut out, and the voxels made of it."""

from typing import TypeAlias

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mg3d.viz.planes import PLANES, Plane, cut, extent_of, hang, mark_sides
from mg3d.viz.style import (
    AMBER,
    FAINT,
    Array,
    caption,
    figure_function,
    find_window,
    to_hu,
    to_numpy,
)

Extent: TypeAlias = tuple[float, float, float, float]  # left, right, bottom, top; mm


@figure_function
def show_what_the_model_sees(
    source_hu: Num[Array, "H W D"],
    source_affine: Float[Array, "4 4"],
    model: Num[Array, "h w d"],
    model_affine: Float[Array, "4 4"],
    *,
    unit_hu: tuple[float, float] | None = None,
    window_hu: str | tuple[float, float] = "model",
    at: tuple[int, int, int] | None = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw three planes of a scan with the box that is kept, and below them the model's input.

    Both rows show the same planes at one scale in mm, through one HU window.

    Args:
        source_hu: the scan in HU, canonical axes.
        source_affine: from index to mm, such as `Volume.affine`.
        model: the volume on the model's grid, in HU or scaled, see `unit_hu`.
        model_affine: from index to mm, such as `GridVolume.affine`.
        unit_hu: HU that the values 0 and 1 of `model` stand for; None: `model` is in HU.
        window_hu: "lung", "soft tissue", "bone", "model", or two ends in HU.
        at: model voxel that the planes go through; None: the middle.
        title: of the figure.
        note: added to the caption.

    Raises:
        ValueError: if one grid is rotated against the other.
    """
    source, grid = to_numpy(source_hu), to_hu(model, unit_hu)
    source_mm, grid_mm = (_spacing(to_numpy(a)) for a in (source_affine, model_affine))
    start, step = _place(to_numpy(source_affine), to_numpy(model_affine))
    limits, words = find_window(window_hu)
    middle = at or tuple(n // 2 for n in grid.shape)
    scans = [extent_of(plane, source.shape, source_mm) for plane in PLANES.values()]
    boxes = [
        _box(plane, source.shape, source_mm, start, step * grid.shape) for plane in PLANES.values()
    ]
    frames = [_around(scan, box) for scan, box in zip(scans, boxes, strict=True)]
    widths, heights = ([f[k + 1] - f[k] for f in frames] for k in (0, 2))
    scale = 9.0 / sum(widths)  # inches a mm
    size = (9.3, 2 * max(heights) * scale + 1.6)
    fig, panels = plt.subplots(2, 3, figsize=size, width_ratios=widths, squeeze=True)
    for column, plane in enumerate(PLANES.values()):
        place = start[plane.cut] + (middle[plane.cut] + 0.5) * step[plane.cut]
        index = int(np.clip(np.floor(place), 0, source.shape[plane.cut] - 1))
        above, below = panels[:, column]
        hang(above, cut(source, plane, index), scans[column], limits)
        hang(below, cut(grid, plane, middle[plane.cut]), boxes[column], limits)
        _draw(above, boxes[column], ("black", 3.0), (AMBER, 1.5))
        _draw(below, scans[column], (FAINT, 1.0))
        for axes, where, array in ((above, index, source), (below, middle[plane.cut], grid)):
            axes.set(xlim=frames[column][:2], ylim=frames[column][2:], anchor="N")
            mark_sides(axes, plane)
            axes.set_title(
                f"{plane.name} {where} of {array.shape[plane.cut]}", fontsize=8, fontweight="normal"
            )
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    caption(
        fig,
        " · ".join(
            part
            for part in (
                f"above: the scan, {_words(source.shape, source_mm)}, and the box that is kept",
                f"below, where it lies: the model's grid, {_words(grid.shape, grid_mm)}",
                f"{words}, the same scale in mm throughout",
                note,
            )
            if part
        ),
    )
    return fig


def _place(
    source: Float[np.ndarray, "4 4"], model: Float[np.ndarray, "4 4"]
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """Start and voxel size of the model's grid, in source voxels from the edge of the scan."""
    index = np.linalg.inv(source) @ model
    step = np.diag(index)[:3]
    turned = np.abs(index[:3, :3] - np.diag(step)).max()
    if turned > 1e-3 or (step <= 0).any():
        raise ValueError(
            "the axes of scan and model grid run different ways; give both in canonical order, "
            "as read_volume and to_grid do"
        )
    # Affines refer to voxel centres; the box starts half a model voxel before its first centre.
    return index[:3, 3] + 0.5 - step / 2, step


def _spacing(affine: Float[np.ndarray, "4 4"]) -> tuple[float, float, float]:
    height, width, depth = np.linalg.norm(affine[:3, :3], axis=0)
    return float(height), float(width), float(depth)


def _box(
    plane: Plane,
    shape: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    start: Float[np.ndarray, " 3"],
    length: Float[np.ndarray, " 3"],
) -> Extent:
    """The kept box in mm of the scan's picture; it may reach beyond the scan (padded with air)."""
    ends = []
    for axis in (plane.across, plane.up):
        first, last = start[axis], start[axis] + length[axis]
        if axis == plane.across:  # this axis is flipped in the picture
            first, last = shape[axis] - last, shape[axis] - first
        ends += [float(first * spacing_mm[axis]), float(last * spacing_mm[axis])]
    return ends[0], ends[1], ends[2], ends[3]


def _around(one: Extent, other: Extent) -> Extent:
    """The smallest extent that holds both."""
    left, right = min(one[0], other[0]), max(one[1], other[1])
    return left, right, min(one[2], other[2]), max(one[3], other[3])


def _draw(axes: Axes, extent: Extent, *strokes: tuple[str, float]) -> None:
    """Draw the border of an extent, once for each (colour, width)."""
    left, right, bottom, top = extent
    for color, width in strokes:
        axes.add_patch(
            Rectangle(
                (left, bottom), right - left, top - bottom,
                fill=False, edgecolor=color, linewidth=width, clip_on=False,
            )
        )  # fmt: skip


def _words(shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> str:
    voxels = " × ".join(str(n) for n in shape)
    return f"{voxels} voxels of {' × '.join(f'{s:.3g}' for s in spacing_mm)} mm"
