"""Sliders for the figure functions: the same figures, with arguments that the reader changes.

A widget calls the figure function and shows the result as an image, which it replaces in place. It
needs a running kernel; notebooks therefore also draw the figure without the widget, first.
"""

from io import BytesIO

from ipywidgets import Dropdown, HBox, Image, IntSlider, VBox
from jaxtyping import Bool, Float, Num

from mg3d.viz.overlay import show_attention
from mg3d.viz.slices import show_planes
from mg3d.viz.style import HU_WINDOWS, Array

DPI = 80  # a picture takes under 0.2 s


def browse_slices(
    voxels: Num[Array, "H W D"],
    spacing_mm: tuple[float, float, float],
    overlay: Float[Array, "h w d"] | None = None,
    *,
    unit_hu: tuple[float, float] | None = None,
    window_hu: str = "lung",
    mask: Bool[Array, "H W D"] | None = None,
    meaning: str = "gate: 0 closed, 1 open",
    shown: str = "own report",
) -> VBox:
    """Three planes through a point you choose, in a window you choose.

    Args:
        voxels: in HU, or on the model's scale, see `unit_hu`.
        spacing_mm: of the three axes.
        overlay: one value per visual token, drawn over an axial slice on a fixed colour scale.
        unit_hu: HU that the values 0 and 1 stand for; None: `voxels` are in HU.
        window_hu: the first window, a key of `HU_WINDOWS`.
        mask: True where a finding is; outlined.
        meaning: of the overlay's values.
        shown: what the overlay is, above it.
    """
    names = ("inferior to superior", "posterior to anterior", "left to right")
    sliders = [
        IntSlider(
            size // 2, min=0, max=size - 1, description=name, style={"description_width": "initial"}
        )
        for name, size in zip(names, voxels.shape, strict=True)
    ]
    windows = Dropdown(options=list(HU_WINDOWS), value=window_hu, description="HU window")
    picture = Image(format="png")

    def redraw(_change: object = None) -> None:
        at = (sliders[0].value, sliders[1].value, sliders[2].value)
        if overlay is None:
            fig = show_planes(
                voxels, spacing_mm, unit_hu=unit_hu, window_hu=windows.value, at=at, mask=mask
            )
        else:
            fig = show_attention(
                voxels,
                overlay,
                spacing_mm,
                unit_hu=unit_hu,
                window_hu=windows.value,
                at=at,
                mask=mask,
                meaning=meaning,
                titles=("volume", shown, ""),
                planes=("axial",),
            )
        png = BytesIO()
        fig.savefig(png, format="png", dpi=DPI)
        picture.value = png.getvalue()

    for control in (*sliders, windows):
        control.observe(redraw, names="value")
    redraw()
    return VBox([HBox(sliders), windows, picture])
