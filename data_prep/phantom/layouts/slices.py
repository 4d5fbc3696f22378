"""A scan as most readers see it first: grey pictures, one a slice, in a window of HU."""

from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8

LUNG_WINDOW = (-1350.0, 150.0)  # HU that become 0 and 255


def to_grey(
    hu: Shaped[np.ndarray, "H W D"], window: tuple[float, float] = LUNG_WINDOW
) -> UInt8[np.ndarray, "H W D"]:
    """0 to 255 over the window."""
    low, high = window
    return np.clip(np.rint((hu - low) / (high - low) * 255), 0, 255).astype(np.uint8)


def write_slices(folder: Path, grey: UInt8[np.ndarray, "H W D"], name: str) -> None:
    """Write a canonical array as axial pictures, the first one the most superior.

    Args:
        folder: gets the pictures.
        grey: axes upwards, forwards, to the patient's right.
        name: of a picture by its number from 1, such as "{:04d}.png"; the ending is the format.
    """
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(grey[::-1, ::-1, ::-1], start=1):  # to the back, to the left
        Image.fromarray(np.ascontiguousarray(rows)).save(folder / name.format(number), quality=95)
