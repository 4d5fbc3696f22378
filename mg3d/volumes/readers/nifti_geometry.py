"""Where the voxels of a NIfTI file lie: the sform, else the qform, else the spacing alone.

A header states the spacing twice: as the lengths of the affine's columns and as `pixdim`. Where the
two differ by more than 1 %, one is wrong. Unit steps in the sform are a placeholder (released ACDC
frames have them), and so is a pixdim of 1 or none: the other statement is taken, with a warning.
Two different spacings, both meant, are refused.

Source: NIfTI-1 definition (nifti1.h), methods 1 to 3. The sform goes before the qform, as in
nibabel.
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from mg3d.volumes.readers.payload import VolumeError
from mg3d.volumes.readers.stored import PLAUSIBLE_MM, check_geometry, in_words, same_spacing

UNITS_TO_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown, metre, millimetre, micrometre
FORM_CODES = range(6)  # what a sform or qform may be aligned to; 0: there is none
DISAGREE_MM = 1.0  # sform and qform place a corner of the volume this far apart


def read_affine(
    path: Path, raw: Any, shape: tuple[int, int, int], warnings: list[str]
) -> Float64[np.ndarray, "4 4"]:
    """Stored index to RAS+ mm.

    Args:
        path: named in errors.
        raw: nibabel's header, unchecked.
        shape: voxels along the stored axes.
        warnings: what is odd but was accepted is added.

    Raises:
        VolumeError: if the header states no geometry that can be believed.
    """
    for name in ("qform_code", "sform_code"):
        if int(raw[name]) not in FORM_CODES:
            raise VolumeError(
                f"{path}: {name} is {int(raw[name])}, expected 0 to {max(FORM_CODES)}; "
                "the header is damaged"
            )
    unit = int(raw["xyzt_units"]) & 7
    factor = UNITS_TO_MM.get(unit, 1.0)
    if raw["sform_code"] > 0:
        affine = _sform(path, raw, shape, factor, warnings)
    else:
        _check_spacing(path, raw)
        if raw["qform_code"] > 0:
            affine = _qform(path, raw)
        else:
            affine = np.diag([*np.abs(raw["pixdim"][1:4].astype(float)), 1.0])
            warnings.append("no geometry in the header: axes taken as right, anterior, superior")
        if (raw["pixdim"][1:4] < 0).any():
            warnings.append("a negative spacing in the header was taken without its sign")
    affine[:3] *= factor
    if factor != 1:
        spacing = in_words(np.linalg.norm(affine[:3, :3], axis=0))
        warnings.append(f"lengths in unit {unit} converted to mm: spacing {spacing} mm")
    elif unit not in UNITS_TO_MM:
        warnings.append(f"lengths in unit {unit}, which NIfTI does not define; taken as mm")
    warnings += check_geometry(path, affine, shape)
    return affine


def _check_spacing(path: Path, raw: Any) -> None:
    for axis, value in zip("xyz", raw["pixdim"][1:4], strict=True):
        if not np.isfinite(value):
            raise VolumeError(f"{path}: spacing is {value} on axis {axis}; correct the header")
        if value == 0:
            raise VolumeError(f"{path}: spacing 0 on axis {axis}; correct the header")


def _sform(
    path: Path, raw: Any, shape: tuple[int, int, int], factor: float, warnings: list[str]
) -> np.ndarray:
    """The sform, its lengths compared with pixdim and the whole with the qform."""
    affine = np.vstack([raw["srow_x"], raw["srow_y"], raw["srow_z"], (0, 0, 0, 1)]).astype(float)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    pixdim = np.abs(raw["pixdim"][1:4].astype(float))
    if not np.isfinite(affine).all() or min(lengths) == 0:
        return affine  # refused by `check_geometry`
    if not same_spacing(lengths, pixdim) and not _is_tilted(affine, pixdim):
        placeholder = np.allclose(lengths, 1, rtol=0, atol=1e-3)
        if not _is_spacing(pixdim * factor) or np.allclose(pixdim, 1, rtol=0, atol=1e-3):
            warnings.append(
                f"pixdim states no spacing that fits the sform; that of the sform was taken: "
                f"{in_words(lengths * factor)} mm"
            )
        elif placeholder:
            affine[:3, :3] *= pixdim / lengths
            warnings.append(
                "the sform has unit steps, but pixdim states another spacing, which was taken: "
                f"{in_words(pixdim * factor)} mm"
            )
        else:
            raise VolumeError(
                f"{path}: the sform states a spacing of {in_words(lengths * factor)} mm, pixdim "
                f"{in_words(pixdim * factor)} mm; which is right? Correct the header"
            )
    elif np.array_equal(affine[:3, :3], np.eye(3)) and not affine[:3, 3].any():
        warnings.append("no geometry in the header: its affine is the identity")
    if raw["qform_code"] > 0:
        _compare(affine, raw, shape, warnings)
    return affine


def _is_spacing(lengths_mm: np.ndarray) -> bool:
    low, high = PLAUSIBLE_MM
    return bool((lengths_mm >= low).all() and (lengths_mm <= high).all())


def _is_tilted(affine: np.ndarray, pixdim: np.ndarray) -> bool:
    """Whether pixdim is the distance between slices of a sheared sform (as dcm2niix writes it)."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    with np.errstate(all="ignore"):
        volume = abs(np.linalg.det(affine[:3, :3]))
        between = [
            volume / np.linalg.norm(np.cross(affine[:3, a], affine[:3, b]))
            for a, b in ((1, 2), (2, 0), (0, 1))
        ]
    return any(
        same_spacing(np.where(np.arange(3) == axis, between, lengths), pixdim) for axis in range(3)
    )


def _qform(path: Path, raw: Any) -> np.ndarray:
    b, c, d = (float(raw[name]) for name in ("quatern_b", "quatern_c", "quatern_d"))
    length = b * b + c * c + d * d
    if not length <= 1 + 1e-5:  # also NaN
        raise VolumeError(
            f"{path}: the qform is no rotation ({b}, {c}, {d}); the header is damaged"
        )
    a = np.sqrt(max(0.0, 1 - length))
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    step = np.abs(raw["pixdim"][1:4].astype(float))
    step[2] *= -1 if raw["pixdim"][0] < 0 else 1
    affine = np.eye(4)
    affine[:3, :3] = turn * step
    affine[:3, 3] = [float(raw[f"qoffset_{axis}"]) for axis in "xyz"]
    return affine


def _compare(sform: np.ndarray, raw: Any, shape: tuple[int, int, int], warnings: list[str]) -> None:
    try:
        other = _qform(Path(), raw)
    except VolumeError:
        warnings.append("the qform is damaged; the sform was taken")
        return
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float)
    corners[:, :3] *= np.array(shape) - 1
    apart = np.abs(corners @ (sform - other).T).max()
    if not apart <= max(DISAGREE_MM, 0.5 * np.linalg.norm(sform[:3, :3], axis=0).max()):
        warnings.append(f"sform and qform disagree by up to {apart:.3g} mm; the sform was taken")
