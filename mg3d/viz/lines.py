"""A few lines in a few panels: something measured against something chosen."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from mg3d.viz.style import CYCLE, INK, QUIET, caption, figure_function

MARKERS = "osD^v"  # filled and open in turn, so that no line needs its colour to be told
MANY = 30  # points from which on markers are left out


@figure_function
def show_lines(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    *,
    x_label: str,
    y_labels: Sequence[str],
    reference: str = "",
    log: str = "",
    title: str = "",
    note: str = "",
) -> Figure:
    """Draw one panel per entry, each with lines that have the same style in all panels.

    Args:
        panels: panel title -> line label -> (x, y), of equal length.
        x_label: of all panels.
        y_labels: one per panel, with unit.
        reference: label of the line that others are compared with; drawn dashed, without markers.
        log: "x", "y", "xy" or "" for the axes that are logarithmic.
        title: of the figure.
        note: added below, for example patients and seeds.

    Raises:
        ValueError: if there are not as many labels as panels, or a line's ends do not match.
    """
    if len(y_labels) != len(panels):
        raise ValueError(f"give one y label per panel: {len(panels)} panels, got {list(y_labels)}")
    labels = list(dict.fromkeys(label for lines in panels.values() for label in lines))
    ordinary = [label for label in labels if label != reference]
    fig, row = plt.subplots(1, len(panels), figsize=(3.9 * len(panels) + 0.4, 3.3), squeeze=False)
    for axes, (name, lines), y_label in zip(row[0], panels.items(), y_labels, strict=True):
        for label, (x, y) in lines.items():
            if len(x) != len(y):
                raise ValueError(f"'{label}' in '{name}' has {len(x)} x and {len(y)} y values")
            if label == reference:
                axes.plot(x, y, color=QUIET, linestyle=(0, (4, 2)), label=label)
                continue
            place = ordinary.index(label)
            color = CYCLE[place % len(CYCLE)]
            axes.plot(
                *(x, y),
                color=color,
                label=label,
                linewidth=1.6,
                clip_on=False,  # a marker on the frame is drawn whole
                marker=MARKERS[place % len(MARKERS)] if len(x) < MANY else "",
                markerfacecolor="white" if place % 2 else color,
            )
        axes.set(title=name, xlabel=x_label, ylabel=y_label)
        axes.grid(axis="y")
        for axis in "xy":
            if axis in log:
                getattr(axes, f"set_{axis}scale")("log")
        if "y" not in log:
            low, high = min(0.0, axes.get_ylim()[0]), axes.get_ylim()[1]
            axes.set_ylim(low, high + 0.04 * (high - low))  # room for the highest marker
        axes.legend(labelcolor=INK)
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    if note:
        caption(fig, note)
    return fig
