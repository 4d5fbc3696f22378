"""What every reader hands over: the voxels as they lie on disk, and where they lie in the patient.

The checks that no file format changes are here: a geometry must be possible, and a voxel a number.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Shaped

from mg3d.volumes.readers.payload import VolumeError

PLAUSIBLE_MM = (0.01, 100.0)  # of a spacing
LONGEST_MM = 3000.0  # of a volume along an axis; more than a patient and a table
SAME_SPACING = 0.01  # two statements about one spacing may differ by this share
SHEARED = 0.01  # cosine between two axes
OBLIQUE_DEGREES = 5.0
MOST = 1e20  # of a voxel; more is no measurement, and 32 bits soon overflow
SCALES = (1e-12, 1e12)  # of a slope; an intercept has the same upper end
FEW_SLICES = 20  # fewer along an axis are accepted with a warning
BRIGHTEST_OF_ALL = 31_000.0  # HU; the extended scale ends at 30,710
MODALITIES = (  # of DICOM, which may be named in a message
    *("CT", "MR", "PT", "NM", "US", "CR", "DX", "RF", "XA", "MG", "OT", "SC", "SEG", "RTDOSE"),
    *("RTSTRUCT", "SR", "PR", "KO", "REG", "OPT", "ES", "SM", "BI"),
)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM and MetaImage point left and to the back


@dataclass(frozen=True)
class StoredImage:
    """One volume with the axes of its file.

    Attributes:
        voxels: numbers as stored.
        affine: index to RAS+ mm.
        slope: value = slope x voxel + intercept; 1 and 0 where the file says nothing.
        intercept: see `slope`.
        warnings: what is odd but was accepted, and how it was understood.
        modality: "CT", "MR", "PT" and so on; "" where the file does not say.
    """

    voxels: Shaped[np.ndarray, "a b c"]
    affine: Float64[np.ndarray, "4 4"]
    slope: float = 1.0
    intercept: float = 0.0
    warnings: tuple[str, ...] = ()
    modality: str = ""


def check_geometry(
    path: Path, affine: Float64[np.ndarray, "4 4"], shape: tuple[int, int, int]
) -> tuple[str, ...]:
    """Refuse an affine that places no voxels in space; say what is odd about another.

    Args:
        path: named in errors.
        affine: stored index to RAS+ mm.
        shape: voxels along the stored axes.

    Raises:
        VolumeError: if it is not finite, singular, or no scanner has such a spacing.
    """
    if not np.isfinite(affine).all():
        raise VolumeError(f"{path}: the affine holds NaN or Inf; the header is damaged")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if min(spacing) == 0 or abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-3:
        raise VolumeError(
            f"{path}: singular affine, it does not place the voxels in space; the header is damaged"
        )
    if not (PLAUSIBLE_MM[0] <= min(spacing) and max(spacing) <= PLAUSIBLE_MM[1]):
        raise VolumeError(
            f"{path}: spacing {in_words(spacing)} mm, expected {PLAUSIBLE_MM[0]} to "
            f"{PLAUSIBLE_MM[1]} mm; are the header's units right?"
        )
    odd: tuple[str, ...] = ()
    longest = max(spacing * shape)
    if longest > LONGEST_MM:
        odd = (f"the volume is {longest / 1000:.3g} m long; are the header's units right?",)
    directions = affine[:3, :3] / spacing
    cosine = np.abs(directions.T @ directions - np.eye(3)).max()
    if cosine > SHEARED:
        degrees = np.degrees(np.arcsin(min(1.0, cosine)))
        return (
            *odd,
            f"sheared: axes {degrees:.1f} degrees off a right angle (gantry tilt?); taken as if "
            "they were perpendicular",
        )
    off = np.degrees(np.arccos(np.clip(np.abs(directions).max(axis=0).min(), 0, 1)))
    if off > OBLIQUE_DEGREES:
        return (*odd, f"oblique: axes up to {off:.0f} degrees off the body's; not turned")
    return odd


def same_spacing(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two statements about three spacings agree, up to `SAME_SPACING` of each."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return bool((np.abs(np.asarray(first) / second - 1) <= SAME_SPACING).all())


def check_scaling(path: Path, slope: float, intercept: float) -> None:
    """Nothing, if value = slope x voxel + intercept can be meant.

    Raises:
        VolumeError: if values would be all one, or too large to be counted with.
    """
    if not (SCALES[0] <= abs(slope) <= SCALES[1] and abs(intercept) <= SCALES[1]):
        raise VolumeError(
            f"{path}: slope {slope:g} and intercept {intercept:g} cannot be those of an image; "
            "the header is damaged"
        )


def check_voxels(path: Path, image: StoredImage) -> StoredImage:
    """The same image, air where it held no number (in place), and a warning about few slices.

    Raises:
        VolumeError: if there is no finite voxel, or one slice only.
    """
    shape = image.voxels.shape
    if min(shape) == 1:
        raise VolumeError(f"{path}: one slice only {shape}, expected a volume")
    warnings = image.warnings
    if image.voxels.dtype.kind == "f":
        warnings += _replace_nonfinite(path, image)
    if min(shape) < FEW_SLICES:
        warnings += (f"only {min(shape)} slices along one axis",)
    return replace(image, warnings=warnings)


def _replace_nonfinite(path: Path, image: StoredImage) -> tuple[str, ...]:
    bad = 0
    for part in image.voxels.T:  # slice by slice: no mask as large as the volume
        wrong = ~(np.abs(part) <= MOST)  # also NaN
        bad += int(wrong.sum())
        part[wrong] = (-1000 - image.intercept) / image.slope
    if bad == image.voxels.size:
        raise VolumeError(f"{path}: no finite voxel (all NaN or Inf); fetch or make it again")
    if bad:
        total = f"{bad:,} of {image.voxels.size:,}"
        return (f"{total} voxels are NaN or Inf, taken as air (-1000)",)
    return ()


def in_words(values: np.ndarray) -> str:
    """Three lengths, such as "0.7 x 0.7 x 1.25"."""
    return " x ".join(f"{value:.4g}" for value in values)
