"""A scan saved as a folder of grey images, one a slice: no HU, no geometry.

The order of the slices is that of the numbers in their names (`slice_names`), never that of the
folder's listing. Other files among them are skipped with a warning.
What such a folder does not say (spacing, directions, where the first slice lies) is an assumption,
and the volume's warnings say so.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from mg3d.volumes.readers.dicom_file import START, is_dicom
from mg3d.volumes.readers.grey_image import SUFFIXES, read_image
from mg3d.volumes.readers.payload import VolumeError, files_in
from mg3d.volumes.readers.slice_names import in_order
from mg3d.volumes.readers.stored import LPS_TO_RAS, StoredImage, check_geometry, check_voxels

FIRST = ("superior", "inferior")


def is_slices(folder: Path) -> bool:
    """Whether a folder holds images and no DICOM file."""
    images, others = images_in(folder)
    return bool(images) and not any(_is_dicom(path) for path in others)


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return path.name[0] != "." and is_dicom(file.read(START))


def load_slices(
    folder: Path,
    *,
    first: str = "superior",
    spacing_mm: tuple[float, float, float] | None = None,
) -> StoredImage:
    """Read all images of a folder as one volume; see `read_slices` for the arguments."""
    if first not in FIRST:
        raise ValueError(f"first is one of {', '.join(FIRST)}; got '{first}'")
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder of slices; check the path")
    images, others = images_in(folder)
    if not images:
        raise VolumeError(f"{folder}: no JPG or PNG slices in it ({len(others)} other files)")
    paths, warnings = in_order(folder, images)
    if others:
        warnings.insert(0, f"{len(others)} files are no images, first {others[0].name}")
    warnings.append(
        "a folder of images: grey values, not HU; columns taken to run to the left, rows to the "
        f"back, the first slice to be the most {first}"
    )
    if spacing_mm is None:
        warnings.append("no spacing in a folder of images; taken as 1 x 1 x 1 mm")
    start = read_image(paths[0], warnings)
    stored = np.empty((len(paths), *start.shape), start.dtype)
    for number, path in enumerate(paths):
        image = start if number == 0 else read_image(path, warnings)
        if image.shape != start.shape:
            raise VolumeError(
                f"{path}: {image.shape[1]} x {image.shape[0]} pixels, but {paths[0].name} has "
                f"{start.shape[1]} x {start.shape[0]}; one folder holds one scan"
            )
        if image.dtype != start.dtype:
            raise VolumeError(
                f"{path}: {8 * image.itemsize} bits a pixel, but {paths[0].name} has "
                f"{8 * start.itemsize}; one folder holds one scan"
            )
        stored[number] = image
    steps = np.array([*(spacing_mm or (1.0, 1.0, 1.0)), 1.0])
    steps[2] *= -1 if first == "superior" else 1
    affine = LPS_TO_RAS @ np.diag(steps)
    counted = [text if n == 1 else f"{text} ({n} times)" for text, n in Counter(warnings).items()]
    found = (
        *counted,
        *check_geometry(folder, affine, (stored.shape[2], stored.shape[1], len(paths))),
    )
    return check_voxels(folder, StoredImage(stored.transpose(2, 1, 0), affine, warnings=found))


def images_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """The slices of a folder, and what else lies there (Thumbs.db, ._0001.png and so on)."""
    files = files_in(folder)
    images = [path for path in files if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
    return images, [path for path in files if path not in set(images)]
