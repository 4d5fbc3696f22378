"""Axial, coronal and sagittal slices, shown in radiological convention.

A volume is `voxels[h, w, d]`: inferior to superior, posterior to anterior, the patient's left to
right. Axial slices are seen from the feet and coronal ones from the front, so the patient's right
is on the left of the picture; in a sagittal slice the patient's front is on the left.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap
from matplotlib.image import AxesImage


@dataclass(frozen=True)
class Plane:
    """One kind of slice: the axis it is cut from, and how the others lie in the picture."""

    name: str
    cut: int  # volume axis across the slice
    up: int  # volume axis that points up in the picture
    across: int  # volume axis that runs from right to left in the picture
    marks: tuple[str, str, str, str]  # letters at the left, right, top, bottom of the picture


PLANES = {
    "axial": Plane("axial", cut=0, up=1, across=2, marks=("R", "L", "A", "P")),
    "coronal": Plane("coronal", cut=1, up=0, across=2, marks=("R", "L", "S", "I")),
    "sagittal": Plane("sagittal", cut=2, up=0, across=1, marks=("A", "P", "S", "I")),
}


def find_plane(name: str) -> Plane:
    """The plane of that name.

    Raises:
        ValueError: if there is none; the message lists them.
    """
    if name not in PLANES:
        raise ValueError(f"planes are {', '.join(PLANES)}, got '{name}'; choose one of them")
    return PLANES[name]


def cut(volume: Shaped[np.ndarray, "H W D"], plane: Plane, index: int) -> Shaped[np.ndarray, "r c"]:
    """One slice as a picture: row 0 at the top, the patient's right (or front) at column 0."""
    # Both axes are flipped: index 0 is inferior and left, but the picture starts at top and right.
    return np.take(volume, index, axis=plane.cut)[::-1, ::-1]


def extent_of(
    plane: Plane, shape: tuple[int, ...], spacing_mm: tuple[float, float, float]
) -> tuple[float, float, float, float]:
    """Extent of the picture in mm, as matplotlib takes it: left, right, bottom, top."""
    width = shape[plane.across] * spacing_mm[plane.across]
    height = shape[plane.up] * spacing_mm[plane.up]
    return 0.0, width, 0.0, height


def hang(
    axes: Axes,
    picture: Shaped[np.ndarray, "r c"],
    extent: tuple[float, float, float, float],
    limits: tuple[float, float],
    cmap: str | Colormap = "gray",
    *,
    alpha: float = 1.0,
    smooth: bool = False,
) -> AxesImage:
    """Show a picture in true proportions."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes.imshow(
        picture,
        cmap=cmap,
        vmin=limits[0],
        vmax=limits[1],
        extent=extent,
        alpha=alpha,
        aspect="equal",
        interpolation="bicubic" if smooth else "nearest",
    )


def mark_sides(axes: Axes, plane: Plane) -> None:
    """Write the letters of the patient's sides (R, L, A, P, S, I) at the picture's edges."""
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.98), (0.5, 0.02))
    anchors = (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom"))
    outline = [patheffects.withStroke(linewidth=2, foreground="black")]
    for text, (x, y), (horizontal, vertical) in zip(plane.marks, places, anchors, strict=True):
        axes.text(
            x,
            y,
            text,
            transform=axes.transAxes,
            ha=horizontal,
            va=vertical,
            color="white",
            fontsize=8,
            fontweight="bold",
            path_effects=outline,
        )


def outline(
    axes: Axes,
    mask: Bool[np.ndarray, "r c"],
    extent: tuple[float, float, float, float],
    color: str,
) -> None:
    """Draw the border of a mask along the edges of its voxels, not through them."""
    if not mask.any():
        return
    padded = np.pad(mask, 1).astype(int)
    rows, columns = mask.shape
    x = np.linspace(extent[0], extent[1], columns + 1)
    y = np.linspace(extent[3], extent[2], rows + 1)
    across, down = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1, :]
    edges = [((x[j], y[i]), (x[j + 1], y[i])) for i, j in zip(*np.nonzero(across), strict=True)]
    edges += [((x[j], y[i]), (x[j], y[i + 1])) for i, j in zip(*np.nonzero(down), strict=True)]
    for width, ink in ((2.6, "black"), (1.2, color)):
        axes.add_collection(
            LineCollection(edges, colors=ink, linewidths=width, capstyle="projecting")
        )


def best_index(mask: Bool[np.ndarray, "H W D"] | None, plane: Plane, shape: tuple[int, ...]) -> int:
    """Index of the slice with the largest area of the mask; the middle one without a mask."""
    if mask is None or not mask.any():
        return shape[plane.cut] // 2
    others = tuple(axis for axis in range(3) if axis != plane.cut)
    return int(mask.sum(axis=others).argmax())
