"""An attention map laid over the volume, beside the map for another patient's report.

A map by itself shows anatomy as much as attention. So a control is drawn next to it on the same
scale: the map of the same volume for a report that does not describe it.
"""

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, Float, Num
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mg3d.viz.planes import best_index, cut, extent_of, find_plane, hang, mark_sides, outline
from mg3d.viz.slices import small_print
from mg3d.viz.style import (
    ONE_WAY,
    SKY,
    Array,
    caption,
    figure_function,
    find_window,
    to_hu,
    to_numpy,
)

VEIL = 0.6  # opacity of the map
DIM = 2.0  # the volume is darkened under a map, or white bone would wash its colours out


def tokens_to_voxels(
    tokens: Float[Array, "h w d"], shape: tuple[int, int, int], *, smooth: bool = False
) -> Float[np.ndarray, "H W D"]:
    """Resample a map from the token grid to the voxel grid.

    Args:
        tokens: one value per token.
        shape: voxels along each axis.
        smooth: interpolate linearly between token centres. By default all voxels of a token have
            its value: the model has no finer resolution.
    """
    values = to_numpy(tokens)
    places = [  # positions of the voxel centres, in units of tokens
        (np.arange(size) + 0.5) * count / size
        for size, count in zip(shape, values.shape, strict=True)
    ]
    if not smooth:
        return values[np.ix_(*[place.astype(int) for place in places])]
    from scipy.ndimage import map_coordinates

    grid = np.meshgrid(*[place - 0.5 for place in places], indexing="ij")
    return map_coordinates(values.astype(np.float64), grid, order=1, mode="nearest")


@figure_function
def show_attention(
    voxels: Num[Array, "H W D"],
    attention: Float[Array, "h w d"],
    spacing_mm: tuple[float, float, float],
    *,
    control: Float[Array, "h w d"] | None = None,
    mask: Bool[Array, "H W D"] | None = None,
    unit_hu: tuple[float, float] | None = None,
    window_hu: str | tuple[float, float] = "lung",
    planes: tuple[str, ...] = ("axial", "coronal"),
    at: tuple[int, int, int] | None = None,
    limits: tuple[float, float] | None = None,
    title: str = "",
    meaning: str = "gate: 0 closed, 1 open",
    titles: tuple[str, str, str] = ("volume", "own report", "another patient's report"),
    note: str = "",
    smooth: bool = False,
) -> Figure:
    """Draw volume, attention map and control side by side, one row per plane.

    Args:
        voxels: in HU, or on the model's scale, see `unit_hu`.
        attention: one value per visual token, on the grid of the tokens.
        spacing_mm: of the volume's axes.
        control: the same map for a report that is not about this volume.
        mask: True where the finding of the sentence is; outlined everywhere.
        unit_hu: HU that the values 0 and 1 stand for; None: `voxels` are in HU.
        window_hu: "lung", "soft tissue", "bone", "model", or two ends in HU.
        planes: of "axial", "coronal", "sagittal".
        at: indices of the point the slices go through; default: most of the mask, else the middle.
        limits: ends of the colour scale; default: smallest and largest value of both maps.
        title: of the figure.
        meaning: of the map's values: which tokens attend to which, in which layer, what 0 and 1
            mean.
        titles: of the three columns.
        note: added to the caption.
        smooth: interpolate between tokens; by default the edges of the tokens are visible.
    """
    hu, region = to_hu(voxels, unit_hu), None if mask is None else to_numpy(mask)
    maps = [to_numpy(m) for m in (attention, control) if m is not None]
    low, high = limits or (float(np.min(maps)), float(np.max(maps)))
    window, words = find_window(window_hu)
    fine = [tokens_to_voxels(m, hu.shape, smooth=smooth) for m in maps]

    hung = [find_plane(name) for name in planes]
    extents = [extent_of(plane, hu.shape, spacing_mm) for plane in hung]
    inches = 2.9 / max(extent[1] for extent in extents)  # a mm
    fig, grid = plt.subplots(
        len(hung),
        1 + len(maps),
        figsize=(3.0 * (1 + len(maps)) + 0.9, sum(e[3] for e in extents) * inches + 0.9),
        height_ratios=[extent[3] for extent in extents],
        squeeze=False,
    )
    for row, plane, extent in zip(grid, hung, extents, strict=True):
        index = best_index(region, plane, hu.shape) if at is None else at[plane.cut]
        for column, axes in enumerate(row):
            ends = (window[0], window[0] + DIM * (window[1] - window[0])) if column else window
            hang(axes, cut(hu, plane, index), extent, ends).axes.set_anchor("W")
            if column:
                picture = cut(fine[column - 1], plane, index)
                hang(axes, picture, extent, (low, high), ONE_WAY, alpha=VEIL, smooth=smooth)
            if region is not None:
                outline(axes, cut(region, plane, index), extent, SKY)
            mark_sides(axes, plane)
        row[0].set_ylabel(f"{plane.name} {index} of {hu.shape[plane.cut]}", fontsize=8)
    for axes, words_above in zip(grid[0], titles, strict=False):
        axes.set_title(words_above, fontsize=9)
    scale = ScalarMappable(Normalize(low, high), ONE_WAY)
    bar = fig.colorbar(scale, ax=grid, label=meaning, shrink=0.8, aspect=30, pad=0.02, alpha=VEIL)
    bar.ax.set_facecolor("0.2")  # as if over soft tissue
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    outlined = "" if region is None else "blue outline: where the finding is"
    caption(fig, small_print(words, spacing_mm, " · ".join(p for p in (outlined, note) if p)))
    return fig
