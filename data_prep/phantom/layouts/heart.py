"""The cardiac phantom as ACDC: the official folders, or nnU-Net's."""

from pathlib import Path

import numpy as np

from data_prep.phantom.layouts.stored import affine_for, write_stored
from mg3d.phantom.cardiac import PHASES, Heart, HeartFrame, draw_frame, draw_heart
from mg3d.volumes.orientation import from_canonical
from mg3d.volumes.volume import replace_file

COARSENESS = 2.0  # in-plane spacing over a clinical one
AXES = "LPS"
FIRST_TEST = 101  # ACDC's test patients are 101 to 150
IN_TEN = 2  # of ten patients, how many are test patients


def write_acdc(folder: Path, patients: int, seed: int, *, cine: bool = True) -> None:
    """Write `training/patient001/...` and `testing/patient101/...` with Info.cfg.

    Args:
        folder: gets both.
        patients: in all; two of ten are test patients.
        seed: of the patients.
        cine: write the 4-D files too, most of the size.
    """
    for number, heart in _numbered(patients, seed):
        part = "testing" if number >= FIRST_TEST else "training"
        name = f"patient{number:03d}"
        place = folder / part / name
        frames = [draw_frame(heart, phase) for phase in PHASES]
        for frame_number, frame in zip(heart.frames, frames, strict=True):
            path = place / f"{name}_frame{frame_number:02d}"
            write_stored(path.with_suffix(".nii.gz"), frame.voxels, frame.affine, AXES)
            masks = path.with_name(f"{path.name}_gt.nii.gz")
            write_stored(masks, frame.classes, frame.affine, AXES)
        if cine:
            _write_cine(place / f"{name}_4d.nii.gz", heart, frames)
        card = {
            "ED": heart.frames[0],
            "ES": heart.frames[1],
            "Group": heart.group,
            "Height": 170.0,
            "NbFrame": heart.num_frames,
            "Weight": 70.0,
        }
        lines = "".join(f"{key}: {value}\n" for key, value in card.items())
        replace_file(place / "Info.cfg", lines.encode())


def write_acdc_nnunet(folder: Path, patients: int, seed: int) -> None:
    """Write `imagesTr/patient001_frame01_0000.nii.gz`, `labelsTr/patient001_frame01.nii.gz`, ...

    Args:
        folder: gets them; test patients go to imagesTs, without labels.
        patients: in all; two of ten are test patients.
        seed: of the patients.
    """
    for number, heart in _numbered(patients, seed):
        part = "Ts" if number >= FIRST_TEST else "Tr"
        for frame_number, phase in zip(heart.frames, PHASES, strict=True):
            frame = draw_frame(heart, phase)
            name = f"patient{number:03d}_frame{frame_number:02d}"
            image = folder / f"images{part}" / f"{name}_0000.nii.gz"
            write_stored(image, frame.voxels, frame.affine, AXES)
            if part == "Tr":
                masks = folder / "labelsTr" / f"{name}.nii.gz"
                write_stored(masks, frame.classes, frame.affine, AXES)


def _numbered(patients: int, seed: int) -> list[tuple[int, Heart]]:
    """ACDC's number of every patient, and the heart: training first, then test."""
    testing = patients * IN_TEN // 10
    numbers = [*range(1, patients - testing + 1), *range(FIRST_TEST, FIRST_TEST + testing)]
    return [(n, draw_heart(seed, p, coarseness=COARSENESS)) for p, n in enumerate(numbers)]


def _write_cine(path: Path, heart: Heart, frames: list[HeartFrame]) -> None:
    """All frames, 4-D: between the two phases, images fade into one another."""
    from nibabel.nifti1 import Nifti1Image

    first, last = (frame.voxels.astype(np.float32) for frame in frames)
    height, width, depth = first.shape
    affine = affine_for(AXES, (height, width, depth), frames[0].affine)
    number = np.arange(1, heart.num_frames + 1)
    start, end = heart.frames
    rise = np.where(
        number <= end, (number - start) / (end - start), (heart.num_frames + 1 - number)
        / (heart.num_frames + 1 - end),
    )  # fmt: skip
    stack = np.stack([np.rint(first + share * (last - first)) for share in rise], axis=-1)
    cine = np.stack(
        [from_canonical(stack[..., n].astype(np.int16), affine) for n in range(len(rise))], axis=-1
    )
    image = Nifti1Image(cine, affine)
    image.header.set_xyzt_units("mm", "sec")
    replace_file(path, _packed(image.to_bytes()))


def _packed(content: bytes) -> bytes:
    import zlib

    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(content) + packer.flush()
