"""A small MetaImage, its header written line by line."""

import numpy as np

from mg3d.volumes.volume import to_original

SHAPE = (20, 21, 22)
HEADER = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "-80 -70 -300",
    "CenterOfRotation": "0 0 0",
    "AnatomicalOrientation": "RAI",
    "ElementSpacing": "0.8 0.7 2.5",
    "DimSize": "20 21 22",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}


def hu_like(shape=SHAPE):
    return np.random.default_rng(0).integers(-1000, 1500, shape).astype(np.int16)


def meta_header(**changes):
    """Header lines; a field of None is left out."""
    last = {"ElementDataFile": (HEADER | changes)["ElementDataFile"]}
    fields = {k: v for k, v in (HEADER | changes).items() if k != "ElementDataFile"} | last
    return "".join(f"{k} = {v}\n" for k, v in fields.items() if v is not None).encode()


def voxel_bytes(hu=None, dtype="<i2"):
    return (hu_like() if hu is None else hu).astype(dtype).tobytes(order="F")


def write(path, content=None, **changes):
    path.write_bytes(meta_header(**changes) + (voxel_bytes() if content is None else content))
    return path


def back(volume):
    return to_original(volume.values(), volume.affine, volume.stored)
