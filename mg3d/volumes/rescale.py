"""HU is proved, not assumed: which slope and intercept turn stored numbers into Hounsfield units.

CT-RATE's first release holds stored pixel values, and only its metadata table says how they become
HU; its corrected release holds HU, and the same table must not be applied again. So the release
says which rescale is tried first, and the voxels decide: HU have air near -1000 and soft tissue
near 0 (`ct_values`). What lacks either is refused, with the likeliest reason, and so is what the
file itself says is no CT.

Source: CT-RATE's data correction note; NIfTI-1 (`scl_slope`); HU of air -1000 and water 0 by
definition.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from mg3d.volumes.ct_values import missing_landmarks, unlike_ct
from mg3d.volumes.readers.stored import BRIGHTEST_OF_ALL
from mg3d.volumes.volume import Volume, VolumeError

RELEASES = ("first", "corrected", "unknown")
MOST_LOOKED_AT = 1_000_000  # voxels, evenly spread


@dataclass(frozen=True)
class RescaleDecision:
    """HU = slope x stored + intercept, and why.

    Attributes:
        slope: HU per stored unit.
        intercept: HU of a stored 0.
        rule: where they come from: "as stored", "header" or "metadata"; for counting.
        reason: one sentence.
        warnings: what spoke against it, if anything.
    """

    slope: float
    intercept: float
    rule: str
    reason: str
    warnings: tuple[str, ...] = ()


def decide_rescale(
    volume: Volume,
    *,
    release: str = "unknown",
    metadata: tuple[float, float] | None = None,
) -> RescaleDecision:
    """Decide how the numbers of a CT volume become HU, from its release, header and voxels.

    Args:
        volume: as `read_volume` gives it.
        release: "first" (stored values: metadata is tried before the header), "corrected" (HU:
            header before metadata) or "unknown" (as "corrected").
        metadata: RescaleSlope and RescaleIntercept of a metadata table, None where it has none.

    Raises:
        VolumeError: if no rescale on offer gives HU, or the file says that it is no CT.
        ValueError: if the release is none of these.
    """
    if release not in RELEASES:
        raise ValueError(f"release is one of {', '.join(RELEASES)}; got '{release}'")
    if volume.modality not in ("", "CT"):
        raise VolumeError(
            f"{volume.source}: expected HU of a CT, but its header says that it is no CT "
            f"(modality: {volume.modality}); give the CT, or prepare it as what it is"
        )
    sample = _sample(volume)
    low, high = float(sample.min()), float(sample.max())
    if low == high:
        raise VolumeError(
            f"{volume.source}: constant volume (every voxel is {low:g}), expected a CT; "
            "fetch or make it again"
        )
    unscaled = (volume.slope, volume.intercept) == (1.0, 0.0)
    header = (volume.slope, volume.intercept, "as stored" if unscaled else "header")
    offers = [header]
    if metadata is not None and _usable(metadata):
        offers.insert(0 if release == "first" else 1, (*metadata, "metadata"))
    plausible = [offer for offer in offers if not missing_landmarks(sample * offer[0] + offer[1])]
    if not plausible:
        raise VolumeError(_why_not(volume, sample, offers, release, metadata))
    slope, intercept, rule = plausible[0]
    hu = sample * slope + intercept
    odd = unlike_ct(hu) if rule != "as stored" and volume.modality != "CT" else ""
    if odd:
        raise VolumeError(
            f"{volume.source}: expected HU, but with slope {slope:g} and intercept {intercept:g} "
            f"({rule}) the values are unlike those of a CT: {odd}; is it an MR? Give a CT"
        )
    wrapped = float(np.mean(hu > BRIGHTEST_OF_ALL))
    if wrapped:
        raise VolumeError(
            f"{volume.source}: {wrapped:.2%} of the voxels are above {BRIGHTEST_OF_ALL:,.0f} HU; "
            "were negative numbers (padding?) stored without their sign? Save it with signed voxels"
        )
    reasons = {
        "as stored": "the stored values are HU",
        "header": f"HU by the header's slope {slope:g} and intercept {intercept:g}",
        "metadata": f"HU by the metadata's slope {slope:g} and intercept {intercept:g}",
    }
    warnings = _surprises(release, rule, metadata, offers)
    return RescaleDecision(slope, intercept, rule, reasons[rule], warnings)


def rescale(volume: Volume, decision: RescaleDecision) -> Volume:
    """The volume with `values()` in HU; the voxels are not touched."""
    return replace(
        volume,
        slope=decision.slope,
        intercept=decision.intercept,
        warnings=volume.warnings + decision.warnings,
    )


def _sample(volume: Volume) -> np.ndarray:
    step = max(1, math.ceil((volume.voxels.size / MOST_LOOKED_AT) ** (1 / 3)))
    return volume.voxels[::step, ::step, ::step].astype(np.float64).ravel()


def _usable(metadata: tuple[float, float]) -> bool:
    return all(map(math.isfinite, metadata)) and metadata[0] != 0


def _surprises(
    release: str,
    rule: str,
    metadata: tuple[float, float] | None,
    offers: list[tuple[float, float, str]],
) -> tuple[str, ...]:
    if release == "first" and rule != "metadata":
        if metadata is None:
            return ("first release without a metadata row; taken since the values look like HU",)
        if not _usable(metadata):
            return (f"the metadata's slope and intercept {metadata} are unusable; not applied",)
        return ("first release, but the values are HU without the metadata's rescale; not applied",)
    if release != "first" and rule == "metadata":
        return (f"{release} release, but the values are HU only with the metadata's rescale",)
    return ()


def _why_not(
    volume: Volume,
    sample: np.ndarray,
    offers: list[tuple[float, float, str]],
    release: str,
    metadata: tuple[float, float] | None,
) -> str:
    slope, intercept, _ = offers[-1] if offers[0][2] == "metadata" else offers[0]
    hu = sample * slope + intercept
    low, high, median = (float(v) for v in (hu.min(), hu.max(), np.median(hu)))
    tried = ", ".join(f"{s:g} x stored {i:+g} ({rule})" for s, i, rule in offers)
    if low >= -1.5 and high <= 1.5:
        guess = "the values look normalised already; give the volume in HU"
    elif low >= 0 and high <= 255:
        guess = "an 8-bit range (a CT window saved as an image?), not HU; give the volume in HU"
    elif low >= 0:
        guess = "minimum >= 0, not HU? Stored values become HU only with slope and intercept: " + (
            "those of the metadata do not fit this file"
            if metadata is not None
            else "give the metadata table with its RescaleSlope and RescaleIntercept"
        )
    elif any(not missing_landmarks(hu + back) for back in (1000, 1024, 8192)):
        guess = "air lies far below -1000: was the rescale applied twice? Give the published file"
    else:
        guess = "is this a CT with some air and soft tissue in view?"
    return (
        f"{volume.source}: expected HU (air near -1000, soft tissue near 0), got {low:g} to "
        f"{high:g} with median {median:g}; {guess} (tried: {tried}; release: {release})"
    )
