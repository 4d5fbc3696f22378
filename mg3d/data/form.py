"""The form that data were prepared in, compared with the form that a run expects.

A model is built for one shape, one spacing and one HU window. Data prepared otherwise train it as
well as any, and every number it then reports (lengths in mm, HU, scores) is wrong in silence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PreparedForm"]

TOLERANCE = 1e-6  # relative, of numbers that went through JSON


@dataclass(frozen=True, kw_only=True)
class PreparedForm:
    """What a reader expects of prepared volumes; None leaves a point open.

    Attributes:
        shape: voxels.
        spacing_mm: of the grid, as `volumes.grid.Grid` has it; "stretched" where the whole scan, or
            its central `crop`, was stretched to the shape.
        crop: central share of each axis that was kept, of a stretched grid.
        hu_window: HU that became 0 and 1. Not compared for data that hold no HU.
    """

    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float | None, float | None, float | None] | str | None = None
    crop: tuple[float, float, float] | None = None
    hu_window: tuple[float, float] | None = None

    @classmethod
    def of_grid(
        cls,
        volume_shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float] | None,
        crop: tuple[float, float, float],
        hu_window: tuple[float, float],
    ) -> "PreparedForm":
        """The form that a run's grid settings ask for; a spacing of None is a stretched grid."""
        return cls(
            shape=volume_shape,
            spacing_mm=spacing_mm or "stretched",
            crop=crop,
            hu_window=hu_window,
        )

    def check(self, folder: Path, facts: Mapping[str, Any], shape: tuple[int, ...]) -> None:
        """Compare with what dataset.json states.

        Args:
            folder: prepared; named in the error.
            facts: its dataset.json; {} where there is none: then only the shape is compared.
            shape: of its first volume, voxels.

        Raises:
            ValueError: if any point differs; names both values and the way out.
        """
        differ = [
            f"{name} {_words(stated)} instead of {_words(expected)}"
            for name, stated, expected in self._compared(facts, shape)
            if not _same(stated, expected)
        ]
        if differ:
            raise ValueError(
                f"{folder} was prepared in another form than the model expects: "
                f"{'; '.join(differ)}. Prepare the data with the same preset as the model, or give "
                "the run the grid and window of the data"
            )

    def _compared(
        self, facts: Mapping[str, Any], shape: tuple[int, ...]
    ) -> list[tuple[str, Any, Any]]:
        """Name, stated value and expected value of every point that is compared."""
        points: list[tuple[str, Any, Any]] = []
        if self.shape is not None:
            points.append(("shape", shape, self.shape))
        settings = facts.get("settings")
        if not settings:
            return points
        grid, intensity = settings["grid"], settings.get("intensity", {})
        stated = grid["spacing_mm"] or "stretched"
        # Pictures have no spacing, so a grid that stretches them keeps to any spacing.
        pictures = intensity.get("rule") == "8 bit" and stated == "stretched"
        if self.spacing_mm is not None and not pictures:
            points.append(("spacing (mm)", stated, self.spacing_mm))
        if self.crop is not None and self.spacing_mm == stated == "stretched":
            points.append(("crop", grid["crop"], self.crop))
        if self.hu_window is not None and "HU" in facts.get("unit", ["HU"]):
            points.append(("HU window", settings["hu_window"], self.hu_window))
        return points


def _same(stated: Any, expected: Any) -> bool:
    if isinstance(stated, str) or isinstance(expected, str):
        return stated == expected
    if len(stated) != len(expected):
        return False
    return all(
        one == other
        or (None not in (one, other) and abs(one - other) <= TOLERANCE * max(abs(one), abs(other)))
        for one, other in zip(stated, expected, strict=True)
    )


def _words(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "(" + ", ".join("own" if v is None else f"{v:g}" for v in value) + ")"
