"""Where a crop lies in a volume, and reading it: only its voxels leave the disk."""

from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from mg3d.data.prepared import array_shape, marked_voxels, read_crop

__all__ = ["Triple", "around", "foreground_start", "read_padded", "uniform_start"]

Triple = tuple[int, int, int]


def uniform_start(shape: Triple, crop: Triple, numbers: np.random.Generator) -> Triple:
    """First voxel of a crop that lies anywhere inside, each place as likely.

    Along an axis that is shorter than the crop, the volume lies in the middle of the crop and the
    start is negative.
    """
    h, w, d = (
        int(numbers.integers(size - length + 1)) if size >= length else (size - length) // 2
        for size, length in zip(shape, crop, strict=True)
    )
    return h, w, d


def around(centre: Triple, shape: Triple, crop: Triple) -> Triple:
    """First voxel of the crop around a voxel, moved no further than it takes to stay inside."""
    h, w, d = (
        min(max(middle - length // 2, 0), size - length) if size >= length else (size - length) // 2
        for middle, size, length in zip(centre, shape, crop, strict=True)
    )
    return h, w, d


def foreground_start(path: Path, crop: Triple, numbers: np.random.Generator) -> Triple | None:
    """First voxel of a crop around a random marked voxel; None if nothing is marked.

    Args:
        path: of the masks.
        crop: its size, voxels.
        numbers: draws the voxel.
    """
    marked = marked_voxels(path)
    if not len(marked):
        return None
    h, w, d = (int(place) for place in marked[numbers.integers(len(marked))])
    return around((h, w, d), array_shape(path, "masks"), crop)


def read_padded(path: Path, start: Triple, crop: Triple, name: str) -> Shaped[np.ndarray, "h w d"]:
    """Read a crop that may reach beyond the array; there it is 0.

    Args:
        path: of a prepared file.
        start: first voxel of the crop, negative where it begins outside.
        crop: its size, voxels.
        name: of the array, "volume" or "masks".
    """
    shape = array_shape(path, name)
    first = [max(0, begin) for begin in start]
    stop = [min(size, b + n) for size, b, n in zip(shape, start, crop, strict=True)]
    sizes = [end - begin for begin, end in zip(first, stop, strict=True)]
    if min(sizes) < 1:
        raise ValueError(
            f"{path}: a crop of {crop} voxels from {start} does not touch the array of {shape}; "
            "take a place inside"
        )
    part = read_crop(path, (first[0], first[1], first[2]), (sizes[0], sizes[1], sizes[2]), name)
    if part.shape == crop:
        return part
    whole = np.zeros(crop, part.dtype)
    inside = tuple(slice(f - b, f - b + n) for f, b, n in zip(first, start, sizes, strict=True))
    whole[inside] = part
    return whole
