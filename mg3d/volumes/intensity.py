"""From stored numbers to a scale a model can read: HU where they are proved, else said to be none.

A CT must show HU. What holds none is not passed off as HU: 8-bit pictures and MR are brought to
0..1 by a stated rule, and the facts of the volume say "0 to 1" where others say "HU".
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mg3d.volumes.rescale import RescaleDecision, decide_rescale, rescale
from mg3d.volumes.volume import Volume, VolumeError

# A grid pads with air, -1000: so 0..1 is laid over these ends before, and taken from them after.
UNIT_WINDOW = (-1000.0, 1000.0)
BYTE = 255.0
MOST_LOOKED_AT = 1_000_000  # voxels, evenly spread


@dataclass(frozen=True)
class Scaled:
    """A volume ready for the grid.

    Attributes:
        volume: its `values()` are HU, or lie over `UNIT_WINDOW`.
        window: values that become 0 and 1.
        facts: slope and intercept from the stored numbers to the unit "to" names, and why.
    """

    volume: Volume
    window: tuple[float, float]
    facts: dict[str, Any]


@dataclass(frozen=True)
class ProvedHU:
    """A CT whose HU are proved, volume by volume; see `decide_rescale`."""

    rule: str = field(default="HU, proved", init=False)
    is_hu = True

    def scale(
        self,
        volume: Volume,
        *,
        hu_window: tuple[float, float],
        release: str = "unknown",
        metadata: tuple[float, float] | None = None,
    ) -> Scaled:
        """Find the rescale that gives HU.

        Raises:
            VolumeError: if none on offer does.
        """
        decision = decide_rescale(volume, release=release, metadata=metadata)
        return Scaled(rescale(volume, decision), hu_window, _facts(decision, "HU"))


@dataclass(frozen=True)
class EightBit:
    """Pictures of 0 to 255: a CT window saved as images, or grey values of unknown meaning.

    Attributes:
        low_hu: HU of a stored 0, if the data set states its window; None: unknown.
        high_hu: HU of a stored 255, likewise.
    """

    low_hu: float | None = None
    high_hu: float | None = None
    rule: str = field(default="8 bit", init=False)

    def __post_init__(self) -> None:
        if (self.low_hu is None) != (self.high_hu is None):
            raise ValueError(
                f"EightBit takes both ends of its window or none, got {self.low_hu} and "
                f"{self.high_hu}"
            )
        if self.low_hu is not None and self.high_hu is not None and self.low_hu >= self.high_hu:
            raise ValueError(f"low_hu {self.low_hu} must be below high_hu {self.high_hu}")

    @property
    def is_hu(self) -> bool:
        """Whether the window is known."""
        return self.low_hu is not None

    def scale(
        self,
        volume: Volume,
        *,
        hu_window: tuple[float, float],
        release: str = "unknown",
        metadata: tuple[float, float] | None = None,
    ) -> Scaled:
        """Lay 0..255 over the stated window, or over 0..1.

        Raises:
            VolumeError: if the values are not 0 to 255, or all the same.
        """
        low, high = _ends(volume)
        if low < 0 or high > BYTE or high <= 1:
            raise VolumeError(
                f"{volume.source}: expected 8-bit values, 0 to 255, got {low:g} to {high:g}; "
                "is it HU, or normalised already? Prepare it as such"
            )
        if self.low_hu is not None and self.high_hu is not None:
            start, length, to = self.low_hu, self.high_hu - self.low_hu, "HU"
            reason = f"0 and 255 are {self.low_hu:g} and {self.high_hu:g} HU, by the data set"
        else:
            start, length, to = 0.0, 1.0, "0 to 1"
            reason = "8-bit grey values, no HU: 0 and 255 become 0 and 1"
        slope = volume.slope * length / BYTE
        intercept = volume.intercept * length / BYTE + start
        decision = RescaleDecision(slope, intercept, self.rule, reason)
        if to == "HU":
            return Scaled(rescale(volume, decision), hu_window, _facts(decision, to))
        return _over_unit_window(volume, decision)


@dataclass(frozen=True)
class Percentiles:
    """MR, whose scale is arbitrary: two percentiles of each volume become 0 and 1.

    Attributes:
        low: percentile that becomes 0.
        high: percentile that becomes 1.
    """

    low: float = 0.5
    high: float = 99.5
    rule: str = field(default="percentiles", init=False)
    is_hu = False

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(f"percentiles are 0 <= low < high <= 100, got {self.low}, {self.high}")

    def scale(
        self,
        volume: Volume,
        *,
        hu_window: tuple[float, float],
        release: str = "unknown",
        metadata: tuple[float, float] | None = None,
    ) -> Scaled:
        """Lay the range between the percentiles over 0..1.

        Raises:
            VolumeError: if they are the same.
        """
        _ends(volume)
        values = volume.slope * np.percentile(spread_sample(volume), (self.low, self.high))
        low, high = sorted(float(value) for value in values + volume.intercept)
        if low == high:
            raise VolumeError(
                f"{volume.source}: percentiles {self.low:g} and {self.high:g} are both {low:g}; "
                "expected an image with contrast; fetch it again, or take wider percentiles"
            )
        slope = volume.slope / (high - low)
        intercept = (volume.intercept - low) / (high - low)
        reason = (
            f"no HU: percentiles {self.low:g} and {self.high:g} of the volume, {low:.6g} and "
            f"{high:.6g}, become 0 and 1"
        )
        return _over_unit_window(volume, RescaleDecision(slope, intercept, self.rule, reason))


Intensity = ProvedHU | EightBit | Percentiles


def spread_sample(volume: Volume, most: int = MOST_LOOKED_AT) -> np.ndarray:
    """Stored numbers of up to about `most` voxels, evenly spread over the volume."""
    step = max(1, int(np.ceil((volume.voxels.size / most) ** (1 / 3))))
    return volume.voxels[::step, ::step, ::step].ravel()


def _ends(volume: Volume) -> tuple[float, float]:
    """Smallest and largest value of a volume that is not constant."""
    ends = (float(volume.voxels.min()), float(volume.voxels.max()))
    low, high = sorted(volume.slope * end + volume.intercept for end in ends)
    if low == high:
        raise VolumeError(
            f"{volume.source}: constant volume (every voxel is {low:g}), expected an image; "
            "fetch or make it again"
        )
    return low, high


def _over_unit_window(volume: Volume, decision: RescaleDecision) -> Scaled:
    """The decision gives 0..1; the grid gets the same over `UNIT_WINDOW`."""
    low, high = UNIT_WINDOW
    slope = decision.slope * (high - low)
    intercept = decision.intercept * (high - low) + low
    scaled = replace(volume, slope=slope, intercept=intercept)
    return Scaled(scaled, UNIT_WINDOW, _facts(decision, "0 to 1"))


def _facts(decision: RescaleDecision, to: str) -> dict[str, Any]:
    return {
        "slope": decision.slope,
        "intercept": decision.intercept,
        "rule": decision.rule,
        "reason": decision.reason,
        "to": to,
    }
