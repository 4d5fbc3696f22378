"""The common style of all figures: colours by role, text sizes, HU windows.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart. A role has the
same colour in every figure: blue is always the pre-trained model.
"""

import textwrap
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Num, Shaped
from matplotlib.figure import Figure

Array: TypeAlias = np.ndarray | torch.Tensor

INK, QUIET, FAINT = "#22272e", "#69717b", "#d7dbe0"  # text, secondary text, lines behind data
BLUE, ORANGE, GREEN, PINK = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
SKY, AMBER = "#56b4e9", "#e69f00"
CYCLE = (ORANGE, SKY, GREEN, PINK, AMBER, BLUE)

# model that a score belongs to -> colour
ROLES = {"untrained": QUIET, "pre-trained": BLUE, "supervised": ORANGE}
SIGNED = "RdBu_r"  # values around 0
ONE_WAY = "inferno"  # values from low to high: attention

# ends of the grey scale in HU: level -/+ half the width radiologists use
HU_WINDOWS = {
    "lung": (-1350.0, 150.0),
    "soft tissue": (-160.0, 240.0),
    "bone": (-500.0, 1300.0),
    "model": (-1000.0, 1000.0),
}

STYLE = {
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 6.0,
    "axes.labelsize": 9.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=list(CYCLE)),
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "figure.titlesize": 12.0,
    "figure.titleweight": "bold",
}

P = ParamSpec("P")


def figure_function(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the common style and close the figure, or a notebook would show it twice.

    What a refused call had begun to draw is closed as well; figures of the reader stay open.
    """

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        before = set(plt.get_fignums())
        try:
            with plt.rc_context(STYLE):
                return draw(*args, **kwargs)
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)

    return styled


def to_numpy(array: Shaped[Array, "*any"]) -> Shaped[np.ndarray, "*any"]:
    """An array on the CPU, without gradient."""
    return array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else array


def to_hu(
    voxels: Num[Array, "*any"], unit_hu: tuple[float, float] | None
) -> Num[np.ndarray, "*any"]:
    """Voxels in HU.

    Args:
        voxels: in HU; or 0 to 1 (0 to 255 if uint8) between the two ends of `unit_hu`.
        unit_hu: HU of the values 0 and 1; None if `voxels` are in HU.

    Raises:
        ValueError: if `unit_hu` is None but all values lie between 0 and 1, or are uint8.
    """
    values = to_numpy(voxels)
    if unit_hu is None:
        if values.dtype == np.uint8 or (values.min() >= 0 and values.max() <= 1):
            raise ValueError(
                f"voxels in HU reach below 0 (air is -1000), but these are {values.dtype} from "
                f"{values.min()} to {values.max()}, the model's scale; give the HU of its ends, "
                "for example unit_hu=(-1000, 1000)"
            )
        return values
    unit = values.astype(np.float32) / (255 if values.dtype == np.uint8 else 1)
    return unit_hu[0] + unit * (unit_hu[1] - unit_hu[0])


def find_window(window_hu: str | tuple[float, float]) -> tuple[tuple[float, float], str]:
    """The ends of an HU window, and its description for a caption.

    Args:
        window_hu: a key of `HU_WINDOWS`, or two ends in HU.
    """
    if isinstance(window_hu, str):
        if window_hu not in HU_WINDOWS:
            raise ValueError(
                f"HU windows are {', '.join(HU_WINDOWS)}, got '{window_hu}'; choose one of them, "
                "or give its two ends in HU"
            )
        ends, name = HU_WINDOWS[window_hu], f"{window_hu} window "
    else:
        ends, name = window_hu, "window "
    return ends, f"{name}{ends[0]:+.0f} to {ends[1]:+.0f} HU".replace("-", "\N{MINUS SIGN}")


def caption(fig: Figure, text: str) -> None:
    """Write a caption below the figure, wrapped to its width."""
    lines = textwrap.wrap(text, width=int(fig.get_figwidth() * 17))  # characters an inch
    fig.supxlabel(
        "\n".join(lines), fontsize=7.5, color=QUIET, fontweight="normal", x=0.01, ha="left"
    )
