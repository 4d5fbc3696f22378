"""A scan saved as a folder of grey images, one a slice: 8 bits, no HU, no geometry.

The order of the slices is that of the numbers in their names, never that of the folder's listing.
What such a folder does not say (spacing, directions, where the first slice lies) is an assumption,
and the volume's warnings say so.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from mg3d.volumes.readers.payload import VolumeError
from mg3d.volumes.readers.stored import LPS_TO_RAS, StoredImage, check_geometry, check_voxels

SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
FIRST = ("superior", "inferior")
MOST_PIXELS = 4096  # of an image's edge


def is_slices(folder: Path) -> bool:
    """Whether all that a folder shows are images."""
    files = [path for path in folder.iterdir() if path.is_file() and path.name[0] != "."]
    return bool(files) and all(path.suffix.lower() in SUFFIXES for path in files)


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
    paths, warnings = _in_order(folder)
    warnings.append(
        "a folder of images: grey values, not HU; columns taken to run to the left, rows to the "
        f"back, the first slice to be the most {first}"
    )
    if spacing_mm is None:
        warnings.append("no spacing in a folder of images; taken as 1 x 1 x 1 mm")
    start = _read_image(paths[0], warnings)
    stored = np.empty((len(paths), *start.shape), np.uint8)
    for number, path in enumerate(paths):
        image = start if number == 0 else _read_image(path, warnings)
        if image.shape != start.shape:
            raise VolumeError(
                f"{path}: {image.shape[1]} x {image.shape[0]} pixels, but {paths[0].name} has "
                f"{start.shape[1]} x {start.shape[0]}; one folder holds one scan"
            )
        stored[number] = image
    steps = np.array([*(spacing_mm or (1.0, 1.0, 1.0)), 1.0])
    steps[2] *= -1 if first == "superior" else 1
    affine = LPS_TO_RAS @ np.diag(steps)
    counted = [text if n == 1 else f"{text} ({n} times)" for text, n in Counter(warnings).items()]
    found = (*counted, *check_geometry(folder, affine))
    return check_voxels(folder, StoredImage(stored.transpose(2, 1, 0), affine, warnings=found))


def _in_order(folder: Path) -> tuple[list[Path], list[str]]:
    """The images by slice number, the last number of a name; and what is odd about the numbers."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name[0] != ".")
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not images:
        raise VolumeError(f"{folder}: no JPG or PNG slices in it ({len(files)} other files)")
    warnings = []
    if len(images) < len(files):
        other = next(path for path in files if path not in images)
        warnings.append(f"{len(files) - len(images)} files are no images, first {other.name}")
    number_of: dict[int, Path] = {}
    manners: dict[str, list[list[int]]] = {}  # manner of naming -> all numbers of each name
    for path in images:
        numbers_in = [int(digits) for digits in re.findall(r"\d+", path.stem)]
        if not numbers_in:
            raise VolumeError(
                f"{path}: no slice number in its name, so its place is unknown; number the slices"
            )
        manners.setdefault(re.sub(r"\d+", "\0", path.stem), []).append(numbers_in)
        other = number_of.setdefault(numbers_in[-1], path)
        if other != path:
            raise VolumeError(
                f"{folder}: {other.name} and {path.name} have the same slice number; "
                "one folder holds one scan, each slice once"
            )
    ways = [way for manner, found in manners.items() for way in _ways(manner, found)]
    if len(ways) > 1:
        raise VolumeError(
            f"{folder}: slices are named in {len(ways)} ways ({', '.join(sorted(ways)[:3])}); "
            "one folder holds one scan"
        )
    numbers = sorted(number_of)
    steps = np.diff(numbers)
    if len(steps) and steps.max() > 1:
        after = numbers[int((steps > 1).argmax())]
        warnings.append(
            f"slice numbers are missing in {int((steps > 1).sum())} places, first after {after}; "
            "taken as neighbours"
        )
    return [number_of[number] for number in numbers], warnings


def _ways(manner: str, found: list[list[int]]) -> set[str]:
    """The manner with its numbers but the last, unless they repeat the last ("a_05_0007_0007")."""
    columns = list(zip(*found, strict=True))
    constant = [values if values != columns[-1] else ("#",) * len(found) for values in columns[:-1]]
    filled = zip(*constant, strict=True) if constant else [()] * len(found)
    pieces = manner.split("\0")  # no file name holds it
    return {
        "".join(f"{piece}{number}" for piece, number in zip(pieces, (*row, "#", ""), strict=True))
        for row in filled
    }


def _read_image(path: Path, warnings: list[str]) -> UInt8[np.ndarray, "H W"]:
    from PIL import Image, UnidentifiedImageError

    wanted = SUFFIXES[path.suffix.lower()]
    try:
        with Image.open(path, formats=sorted(set(SUFFIXES.values()))) as image:
            if max(image.size) > MOST_PIXELS:
                raise VolumeError(
                    f"{path}: {image.size[0]} x {image.size[1]} pixels, expected a CT slice "
                    f"(at most {MOST_PIXELS} along an edge)"
                )
            if image.format != wanted:
                warnings.append(f"{image.format} images under the name of {wanted}")
            return _grey(path, image, warnings)
    except UnidentifiedImageError as error:
        raise VolumeError(f"{path}: neither a JPEG nor a PNG image; fetch it again") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, VolumeError):
            raise
        raise VolumeError(f"{path}: damaged image ({error}); fetch it again") from error


def _grey(path: Path, image: Any, warnings: list[str]) -> UInt8[np.ndarray, "H W"]:
    if image.mode == "L":
        return np.asarray(image)
    if image.mode != "RGB":
        raise VolumeError(
            f"{path}: an image of kind '{image.mode}', expected 8-bit grey; save it as such"
        )
    colours = np.asarray(image)
    if (colours != colours[..., :1]).any():
        raise VolumeError(f"{path}: a colour image, expected 8-bit grey; save it as such")
    warnings.append("grey images saved in colour")
    return colours[..., 0]
