"""One drawing of MG-3D: both encoders, where they meet, and what each objective reads.

Only places and words are chosen here; every arrow comes from the caller, who has it from the
library (`mg3d.objectives.paths`). Colour says what a box can depend on, which follows from the
arrows: the volume, the report, or both.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch
from matplotlib.path import Path

from mg3d.viz.style import FAINT, INK, QUIET, caption, figure_function

Arrow = tuple[str, str]  # from, to

COLUMNS = (0.0, 2.1, 4.2, 6.5, 8.9, 11.7)
# box -> column, row from the top, words
PLACES: dict[str, tuple[int, float, str]] = {
    "masked_volume": (0, 0.4, "volume,\nblocks hidden"),
    "volume": (0, 2.7, "volume"),
    "report": (0, 6.9, "report"),
    "masked_report": (0, 9.2, "report,\nwords hidden"),
    "encoder": (1, 2.0, "vision\nencoder"),
    "text_encoder": (1, 7.6, "text encoder,\nfrozen"),
    "masked_visual_tokens": (2, 0.6, "visual tokens,\nblocks hidden"),
    "visual_tokens": (2, 2.8, "visual tokens"),
    "volume_vector": (2, 4.8, "volume vector"),
    "sentence_tokens": (2, 6.9, "sentence tokens"),
    "sentence_fusion": (3, 2.2, "gated fusion\nwith sentences"),
    "word_fusion": (3, 4.1, "gated fusion\nwith words"),
    "informed": (3, 7.2, "sentence values\ngated by volume"),
    "filled_visual_tokens": (4, 0.3, "filled-in tokens"),
    "repaired_words": (4, 1.4, "repaired words"),
    "fused_volume_vector": (4, 2.9, "fused volume"),
    "fused_report_vector": (4, 4.0, "fused report"),
    "report_vector": (4, 5.6, "report vector"),
    "aggregate": (4, 6.7, "sentence aggregate"),
    "informed_sentences": (4, 7.8, "informed sentences"),
    "identity": (4, 8.9, "sentence identity"),
    "embedded_sentences": (4, 10.0, "embedded sentences"),
}
# start of an arrow, column where it ends -> row between boxes in which it passes other columns
LANES = {("text_encoder", 3): 5.85, ("volume_vector", 5): 4.8}
WIDTHS = (1.5, 1.5, 1.6, 1.75, 1.9, 1.9)
HEIGHT, LAST_ROW = 0.8, 10.0
INPUT_COLUMN, OBJECTIVE_COLUMN = 0, 5

# what a box depends on -> fill, edge; of the palette that colour-blind readers can tell apart
MODALITIES = {
    "the volume": ("#d3e7f5", "#0072b2"),
    "the report": ("#fae0c3", "#b45309"),
    "both": ("#e9dcef", "#7b4b94"),
}


@figure_function
def show_architecture(
    paths: Mapping[str, Collection[Arrow]],
    lit: str = "",
    *,
    labels: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Draw the model as boxes and arrows; `lit` brings one objective's part forward.

    Args:
        paths: objective -> arrows on the way to it, as `mg3d.objectives.paths.paths` gives them.
        lit: the objective whose part is lit; "": everything.
        labels: objective -> words in its box; default: its name.
        title: of the figure.

    Raises:
        ValueError: if `lit` is none of the objectives, or a box has no place in the drawing.
    """
    if lit and lit not in paths:
        raise ValueError(f"objectives are {', '.join(paths)}; got lit='{lit}'")
    arrows = {arrow for way in paths.values() for arrow in way}
    shown = set(paths[lit]) if lit else arrows
    places = _place(paths, arrows, labels or {})
    depends = _modalities(arrows)
    fig, axes = plt.subplots(figsize=(11.0, 6.0))
    bright = {box for arrow in shown for box in arrow}
    for arrow in sorted(arrows, key=lambda arrow: (arrow in shown, arrow)):
        _draw_arrow(axes, places, arrow, depends[arrow[0]], arrow in shown)
    for box, place in places.items():
        _draw_box(axes, place, depends[box], box in bright)
    axes.set(xlim=(-0.9, 12.8), ylim=(LAST_ROW + 0.6, -0.5))
    axes.set_axis_off()
    if title:
        fig.suptitle(title, x=0.01, ha="left")
    fig.legend(
        handles=[Patch(fc=fill, ec=edge, label=name) for name, (fill, edge) in MODALITIES.items()],
        title="can depend on",
        loc="outside upper right",
        ncols=3,
        title_fontsize=8,
    )
    read = [box for box in places if (box, lit) in shown]
    names = ", ".join(" ".join(places[box][2].split()) for box in read)
    caption(
        fig, f"lit: what {lit.upper()} reads ({names}), and what that is made of" if lit else ""
    )
    return fig


Place = tuple[int, float, str]


def _place(
    paths: Mapping[str, Collection[Arrow]], arrows: set[Arrow], labels: Mapping[str, str]
) -> dict[str, Place]:
    boxes = {box for arrow in arrows for box in arrow} - set(paths)
    homeless = sorted(boxes - PLACES.keys())
    if homeless:
        raise ValueError(
            f"the drawing has no place for {', '.join(homeless)}; add it to PLACES in "
            "mg3d/viz/architecture.py"
        )
    step = LAST_ROW / max(1, len(paths) - 1)
    ends = {
        name: (OBJECTIVE_COLUMN, row * step, labels.get(name, name.upper()))
        for row, name in enumerate(paths)
    }
    return {box: place for box, place in PLACES.items() if box in boxes} | ends


def _modalities(arrows: set[Arrow]) -> dict[str, str]:
    """What each box can be reached from, in words."""
    sources = {"volume": ("volume", "masked_volume"), "report": ("report", "masked_report")}
    reached = {name: set(starts) for name, starts in sources.items()}
    for found in reached.values():
        while new := {end for start, end in arrows if start in found} - found:
            found |= new
    boxes = {box for arrow in arrows for box in arrow}
    return {
        box: "both"
        if all(box in found for found in reached.values())
        else "the volume"
        if box in reached["volume"]
        else "the report"
        for box in boxes
    }


def _draw_box(axes: Axes, place: Place, modality: str, bright: bool) -> None:
    column, row, words = place
    width, (fill, edge) = WIDTHS[column], MODALITIES[modality]
    box = FancyBboxPatch(
        (COLUMNS[column] - width / 2, row - HEIGHT / 2),
        width,
        HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.12",
        facecolor=fill if bright else "white",
        edgecolor=edge if bright else FAINT,
        linewidth=1.4,
        zorder=3,
    )
    axes.add_patch(box)
    strong = column in (INPUT_COLUMN, OBJECTIVE_COLUMN)
    axes.text(
        COLUMNS[column],
        row,
        words,
        ha="center",
        va="center",
        fontsize=8.5,
        linespacing=1.15,
        fontweight="bold" if strong and bright else "normal",
        color=INK if bright else QUIET,
        zorder=4,
    )


def _draw_arrow(
    axes: Axes, places: Mapping[str, Place], arrow: Arrow, modality: str, bright: bool
) -> None:
    (column, row, _), (end_column, end_row, _) = places[arrow[0]], places[arrow[1]]
    if column == end_column:  # straight down or up
        side = HEIGHT / 2 if end_row > row else -HEIGHT / 2
        way = Path([(COLUMNS[column], row + side), (COLUMNS[column], end_row - side)])
    else:
        start = COLUMNS[column] + WIDTHS[column] / 2
        end = COLUMNS[end_column] - WIDTHS[end_column] / 2
        stops = [(start, row), (end, end_row)]
        if lane := LANES.get((arrow[0], end_column)):
            entry = COLUMNS[column + 1] - WIDTHS[column + 1] / 2
            exit_ = COLUMNS[end_column - 1] + WIDTHS[end_column - 1] / 2
            stops[1:1] = [(entry, lane), (exit_, lane)]
        way = _curve(stops)
    axes.add_patch(
        FancyArrowPatch(
            path=way,
            arrowstyle="-|>",
            mutation_scale=8,
            color=MODALITIES[modality][1] if bright else FAINT,
            linewidth=1.5 if bright else 0.8,
            shrinkA=0,
            shrinkB=0,
            zorder=2 if bright else 1,
        )
    )


def _curve(stops: Sequence[tuple[float, float]]) -> Path:
    """A path through all stops, horizontal at each."""
    points, codes = [stops[0]], [Path.MOVETO]
    for (start, row), (end, end_row) in pairwise(stops):
        bend = min(0.5 * (end - start), 1.2)
        points += [(start + bend, row), (end - bend, end_row), (end, end_row)]
        codes += [Path.CURVE4] * 3
    return Path(points, codes)
