"""Write MetaImage files, as LUNA16 (.mhd with .raw) and STOIC2021 (.mha) publish them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int16

from data_prep.phantom.layouts.stored import affine_for
from mg3d.volumes.orientation import from_canonical
from mg3d.volumes.volume import replace_file

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_metaimage(
    path: Path,
    hu: Int16[np.ndarray, "H W D"],
    affine: Float64[np.ndarray, "4 4"],
    *,
    axes: str = "LPS",
    fields: Mapping[str, str] | None = None,
) -> None:
    """Write a canonical array.

    Args:
        path: ending in .mhd (voxels go to a .raw beside it) or .mha.
        hu: the array.
        affine: canonical index to RAS+ mm.
        axes: where the stored axes run to.
        fields: more for the header.
    """
    height, width, depth = hu.shape
    stored_affine = affine_for(axes, (height, width, depth), affine)
    stored = from_canonical(hu, stored_affine)
    lps = RAS_TO_LPS @ stored_affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    local = path.suffix == ".mha"
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": _line((lps[:3, :3] / spacing).T.ravel()),  # a row is an axis
        "Offset": _line(lps[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": _line(spacing),
        "DimSize": " ".join(str(size) for size in stored.shape),
        **(fields or {}),
        "ElementType": "MET_SHORT",
        "ElementDataFile": "LOCAL" if local else path.with_suffix(".raw").name,
    }
    if axes != "LPS":
        del header["AnatomicalOrientation"]
    text = "".join(f"{key} = {value}\n" for key, value in header.items()).encode()
    voxels = np.ascontiguousarray(stored.T, dtype="<i2").tobytes()  # x runs fastest
    if not local:
        replace_file(path.with_suffix(".raw"), voxels)
    replace_file(path, text + voxels if local else text)


def _line(numbers: np.ndarray) -> str:
    return " ".join(f"{number:.10g}" for number in np.round(numbers, 9) + 0.0)
