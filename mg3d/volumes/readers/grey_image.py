"""One slice saved as an image: its grey values, in whatever way a grey image can be saved.

A palette, an opaque alpha channel, RGB or CMYK may hold nothing but grey; then the grey values are
taken, with a warning. Colours, transparency, turned and animated images are refused.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from mg3d.volumes.readers.payload import VolumeError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
MOST_PIXELS = 4096  # of an image's edge
PLAIN = {"L": np.uint8, "I;16": np.uint16, "I;16B": np.uint16, "I;16L": np.uint16}
OTHER = {  # kind: what is said if it is grey
    "P": "grey images saved with a palette",
    "LA": "grey images saved with an opaque alpha channel",
    "RGB": "grey images saved in colour",
    "RGBA": "grey images saved in colour with an opaque alpha channel",
    "CMYK": "grey images saved as CMYK",
}
ORIENTATION = 0x0112  # of Exif: 1 is as stored


def read_image(path: Path, warnings: list[str]) -> Shaped[np.ndarray, "H W"]:
    """The grey values of a JPEG or PNG image, 8 or 16 bits.

    Args:
        path: of the image.
        warnings: how it was understood, if it is no plain grey image, is added.

    Raises:
        VolumeError: if it is damaged, too large, or holds anything but grey values.
    """
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
            if getattr(image, "n_frames", 1) != 1:
                raise VolumeError(f"{path}: an animated image, expected one slice a file")
            return _grey(path, image, warnings)
    except UnidentifiedImageError as error:
        raise VolumeError(f"{path}: neither a JPEG nor a PNG image; fetch it again") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, VolumeError):
            raise
        raise VolumeError(
            f"{path}: damaged image ({type(error).__name__}); fetch it again"
        ) from error


def _grey(path: Path, image: "Image", warnings: list[str]) -> Shaped[np.ndarray, "H W"]:
    image.load()
    if image.getexif().get(ORIENTATION, 1) not in (0, 1):
        raise VolumeError(
            f"{path}: an image that its Exif header turns or flips; save it as it is to be seen"
        )
    if image.mode in PLAIN:
        return np.asarray(image).astype(PLAIN[image.mode], copy=False)
    if image.mode not in OTHER:
        raise VolumeError(
            f"{path}: an image of kind '{image.mode}', expected 8-bit grey; save it as such"
        )
    said = OTHER[image.mode]
    if image.mode in ("P", "LA", "RGBA") or "transparency" in image.info:
        colours = np.asarray(image.convert("RGBA"))
        if (colours[..., 3] != 255).any():
            raise VolumeError(f"{path}: a partly transparent image, expected 8-bit grey")
    else:
        colours = np.asarray(image.convert("RGB"))
    grey = colours[..., 0]
    if (colours[..., 1] != grey).any() or (colours[..., 2] != grey).any():
        raise VolumeError(f"{path}: a colour image, expected 8-bit grey; save it as such")
    warnings.append(said)
    return grey
