"""One slice drawn twice: with square voxels, as in the array, and in true proportions in mm."""

import matplotlib.pyplot as plt
from jaxtyping import Num
from matplotlib.figure import Figure

from mg3d.viz.planes import cut, extent_of, find_plane, hang, mark_sides
from mg3d.viz.style import Array, caption, figure_function, find_window, to_numpy


@figure_function
def show_proportions(
    hu: Num[Array, "H W D"],
    spacing_mm: tuple[float, float, float],
    *,
    plane: str = "coronal",
    window_hu: str | tuple[float, float] = "lung",
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw the middle slice in voxels and in mm, side by side at equal width.

    Args:
        hu: voxels in HU.
        spacing_mm: of the three axes.
        plane: "axial", "coronal" or "sagittal".
        window_hu: a key of `HU_WINDOWS`, or two ends in HU.
        title: of the figure.
        note: added to the caption.
    """
    hung, array = find_plane(plane), to_numpy(hu)
    index = array.shape[hung.cut] // 2
    limits, words = find_window(window_hu)
    panels = {
        "counted": ("voxels", extent_of(hung, array.shape, (1.0, 1.0, 1.0))),
        "measured": ("mm", extent_of(hung, array.shape, spacing_mm)),
    }
    heights = [3.4 * extent[3] / extent[1] for _, extent in panels.values()]
    fig, row = plt.subplots(1, 2, figsize=(7.6, max(heights) + 1.1))
    for axes, (name, (unit, extent)) in zip(row, panels.items(), strict=True):
        hang(axes, cut(array, hung, index), extent, limits).axes.set_anchor("N")
        mark_sides(axes, hung)
        size = f"{extent[1]:.0f} wide, {extent[3]:.0f} high"
        axes.set_title(f"{name} in {unit}: {size}", fontsize=8.5, fontweight="normal")
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    sides = f"voxel {spacing_mm[hung.across]:.3g} mm across, {spacing_mm[hung.up]:.3g} mm up"
    caption(fig, " · ".join(part for part in (f"{plane}, {words}", sides, note) if part))
    return fig
