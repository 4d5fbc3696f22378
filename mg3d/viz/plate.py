"""A plate to pin to a wall: one panel per finding, each in its own slice, window and section."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
from jaxtyping import Bool, Num
from matplotlib.figure import Figure

from mg3d.viz.style import ORANGE, QUIET, Array, caption, figure_function, find_window


@dataclass(frozen=True)
class Panel:
    """One picture of a plate.

    Attributes:
        title: what is seen.
        words: how a report says it.
        hu: a slice in HU, rows from behind to the front, columns towards the patient's right.
        spacing_mm: between rows and between columns.
        window: name of the HU window, or its two ends.
        mask: where the finding is, outlined; None: no outline.
        centre: row and column in the middle of the section.
        width_mm: of the section; None: the whole slice.
    """

    title: str
    words: str
    hu: Num[Array, "W D"]
    spacing_mm: tuple[float, float]
    window: str | tuple[float, float]
    mask: Bool[Array, "W D"] | None = None
    centre: tuple[float, float] | None = None
    width_mm: float | None = None


@figure_function
def show_plate(panels: Sequence[Panel], *, columns: int = 5, note: str = "") -> Figure:
    """Draw the panels row by row, as seen from the patient's feet: the right side is on the left.

    Args:
        panels: the pictures.
        columns: of the plate.
        note: small print below.
    """
    rows = math.ceil(len(panels) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.3 * columns, 3.25 * rows), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, panel in zip(axes.flat, panels, strict=False):
        _draw(axis, panel)
    if note:
        caption(figure, note)
    return figure


def _draw(axis: plt.Axes, panel: Panel) -> None:
    (low, high), words = find_window(panel.window)
    down, across = panel.spacing_mm
    rows, columns = panel.hu.shape
    extent = (0, columns * across, 0, rows * down)
    # Columns run to the patient's right, which is shown on the left.
    axis.imshow(
        panel.hu[:, ::-1], cmap="gray", vmin=low, vmax=high, extent=extent, origin="lower",
        interpolation="bilinear",
    )  # fmt: skip
    if panel.mask is not None:
        axis.contour(
            panel.mask[:, ::-1], levels=[0.5], colors=ORANGE, linewidths=0.7, extent=extent,
            origin="lower",
        )  # fmt: skip
    width = panel.width_mm or columns * across
    row, column = panel.centre or ((rows - 1) / 2, (columns - 1) / 2)
    middle_x = (columns - 0.5 - column) * across
    middle_y = (row + 0.5) * down
    height = 0.8 * width
    axis.set_xlim(middle_x - width / 2, middle_x + width / 2)
    axis.set_ylim(middle_y - height / 2, middle_y + height / 2)
    axis.set_facecolor("black")
    axis.text(0.015, 0.97, "R", transform=axis.transAxes, color="white", va="top", fontsize=8)
    axis.set_title(panel.title, fontsize=9.5, pad=3, loc="left")
    axis.text(
        0, -0.025, f"{panel.words}\n{words}", transform=axis.transAxes, va="top", fontsize=6.6,
        color=QUIET,
    )  # fmt: skip
