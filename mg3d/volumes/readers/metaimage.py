"""MetaImage (.mha, .mhd): a text header of `key = value` lines, and the voxels after or beside it.

LUNA16 and other challenges publish in it. Every field is checked before it is believed; the header
itself is read in `meta_fields`.

Source: MetaIO's documentation. World coordinates are LPS; row i of TransformMatrix is the direction
of axis i.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from mg3d.volumes.readers.meta_fields import (
    TAG_OF_MODALITY,
    Fields,
    expect,
    is_true,
    numbers,
    one_of,
    read_fields,
)
from mg3d.volumes.readers.payload import GZIP, Payload, VolumeError, open_payload
from mg3d.volumes.readers.stored import (
    LPS_TO_RAS,
    MODALITIES,
    StoredImage,
    check_geometry,
    check_voxels,
    in_words,
    same_spacing,
)

DTYPES = {"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2",
          "MET_INT": "i4", "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4",
          "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
          "MET_FLOAT": "f4", "MET_DOUBLE": "f8"}  # fmt: skip
MOST_HEADER = 1 << 20  # bytes; copied tags may be long
START = b"ObjectType"
TURNED = 1e-3  # of a cosine, between two statements about one direction
LETTERS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "I": (2, 1), "S": (2, -1)}


@dataclass(frozen=True)
class MetaHeader:
    """The facts of a header that reading the voxels needs.

    Attributes:
        shape: of the stored array, three axes.
        dtype: of the stored numbers, byte order included.
        data: file that holds the voxels.
        offset: byte at which they start; None: they are the end of the file.
        packed: they are a zlib stream.
        affine: stored index to RAS+ mm.
        warnings: what is odd but was accepted, and how it was understood.
        modality: "CT", "MR" and so on; "" where the header does not say.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    data: Path
    offset: int | None
    packed: bool
    affine: Float64[np.ndarray, "4 4"]
    warnings: tuple[str, ...]
    modality: str = ""


def is_metaimage(path: Path) -> bool:
    """Whether a file is one, by its first word or, where that is damaged, by its name."""
    if path.suffix.lower() in (".mha", ".mhd"):
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(START)) == START


def read_metaimage(path: Path) -> StoredImage:
    """Read a `.mha` file, or a `.mhd` file with its `.raw` or `.zraw` beside it.

    Raises:
        FileNotFoundError: if there is no such file.
        VolumeError: if it is damaged, its data file is missing, or it is no single 3-D volume.
    """
    with open_payload(path) as payload:
        header = read_meta_header(path, payload.read(MOST_HEADER))
    with _open_voxels(path, header) as payload:
        promised = int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
        if promised > payload.most:
            raise VolumeError(
                f"{path}: the header promises {header.shape} voxels, {promised:,} bytes, more than "
                f"{header.data.name} can hold (at most {payload.most:,}): short payload or a wrong "
                "header; fetch both again"
            )
        stored = payload.fill_array(header.shape[::-1], header.dtype)  # the first axis runs fastest
        left = payload.finish()
    warnings = header.warnings
    if left:
        warnings += (f"{left:,} bytes after the voxels were not read",)
    return check_voxels(
        path, StoredImage(stored.T, header.affine, warnings=warnings, modality=header.modality)
    )


def read_meta_header(path: Path, start: bytes) -> MetaHeader:
    """Read and check a header.

    Args:
        path: of its file.
        start: the first bytes of the file, all of the header among them.

    Raises:
        VolumeError: if it is none, or describes no 3-D volume with one number per voxel.
    """
    warnings: list[str] = []
    fields, end = read_fields(path, start, warnings)
    expect(path, fields, "ObjectType", "Image")
    expect(path, fields, "NDims", "3")
    expect(path, fields, "ElementNumberOfChannels", "1", default="1")
    expect(path, fields, "BinaryData", "True", default="True")
    for name, unscaled in (("Slope", "1"), ("Offset", "0")):
        expect(path, fields, f"ElementToIntensityFunction{name}", unscaled, default=unscaled)
    sizes = numbers(path, fields, "DimSize", 3)
    if not all(size == int(size) and size >= 1 for size in sizes):
        raise VolumeError(f"{path}: DimSize is something else, expected three whole numbers")
    kind = fields.get("ElementType", "")
    if kind not in DTYPES:
        raise VolumeError(
            f"{path}: ElementType is {'something else' if kind else 'missing'}, expected one "
            f"number per voxel: one of {', '.join(DTYPES)}"
        )
    dtype = np.dtype(DTYPES[kind])
    dtype = dtype.newbyteorder(">" if _big_endian(path, fields, dtype, warnings) else "<")
    shape = (int(sizes[0]), int(sizes[1]), int(sizes[2]))
    affine = _affine(path, fields, warnings)
    warnings += check_geometry(path, affine, shape)
    data, offset = _data_file(path, fields, end)
    packed = is_true(path, fields, "CompressedData")
    if packed and offset is None:
        raise VolumeError(f"{path}: HeaderSize -1 with CompressedData; save it as .mha again")
    return MetaHeader(
        shape, dtype, data, offset, packed, affine, tuple(warnings), _modality(fields)
    )


def _big_endian(path: Path, fields: Fields, dtype: np.dtype, warnings: list[str]) -> bool:
    key = one_of(path, fields, ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"))
    if not key and dtype.itemsize > 1:
        warnings.append("no byte order in the header; taken as little-endian")
    return bool(key) and is_true(path, fields, key)


def _affine(path: Path, fields: Fields, warnings: list[str]) -> np.ndarray:
    """Stored index to RAS+ mm."""
    spacing = _spacing(path, fields, warnings)
    letters = fields.get("AnatomicalOrientation", "")
    named = _directions(letters)
    key = one_of(path, fields, ("TransformMatrix", "Rotation", "Orientation"))
    if key:
        directions = numbers(path, fields, key, 9).reshape(3, 3)
        lengths = np.linalg.norm(directions, axis=1)
        if np.abs(lengths - 1).max() > TURNED:
            raise VolumeError(
                f"{path}: {key} holds directions of length {lengths.round(4).tolist()}, "
                "expected 1; correct the header"
            )
        if named is not None and ((named * directions).sum(axis=1) < 0.5).any():
            warnings.append(
                f"AnatomicalOrientation {letters} disagrees with {key}, which was taken"
            )
    elif named is not None:
        directions = named
        warnings.append(f"no TransformMatrix in the header; axes taken from {letters}")
    else:
        directions = np.eye(3)
        warnings.append("no directions in the header; axes taken as left, posterior, superior")
    if any(word.strip("0.-") for word in fields.get("CenterOfRotation", "").split()):
        warnings.append("CenterOfRotation was ignored; Offset places the first voxel, as in ITK")
    affine = np.eye(4)
    affine[:3, :3] = directions.T * spacing
    origin = one_of(path, fields, ("Offset", "Position", "Origin"))
    if origin:
        affine[:3, 3] = numbers(path, fields, origin, 3)
    else:
        warnings.append("no origin in the header; taken as 0")
    return LPS_TO_RAS @ affine


def _spacing(path: Path, fields: Fields, warnings: list[str]) -> np.ndarray:
    """ElementSpacing, unless it is a placeholder of ones and ElementSize says something else."""
    key, other = "ElementSpacing", "ElementSize"
    if key not in fields and other in fields:
        key = other
        warnings.append("no ElementSpacing in the header; ElementSize was taken")
    spacing = numbers(path, fields, key, 3)
    if key != other and other in fields:
        size = numbers(path, fields, other, 3)
        if not same_spacing(spacing, size) and size.min() > 0:
            if (spacing == 1).all():
                key, spacing = other, size
            warnings.append(
                "ElementSpacing and ElementSize differ by more than 1 %; "
                f"{key} was taken: {in_words(spacing)} mm"
            )
    for axis, value in zip("xyz", spacing, strict=True):
        if value <= 0:
            raise VolumeError(f"{path}: spacing {value:g} on axis {axis}; correct the header")
    return spacing


def _modality(fields: Fields) -> str:
    """What the header says made the image: by MetaIO's own key, or by a copied DICOM tag."""
    told = fields.get(TAG_OF_MODALITY) or fields.get("Modality", "").removeprefix("MET_MOD_")
    if told.upper() in ("", "UNKNOWN"):
        return ""
    return told.upper() if told.upper() in MODALITIES else "another"


def _directions(letters: str) -> np.ndarray | None:
    """What AnatomicalOrientation says in LPS: "RAI" starts right, in front and below."""
    if len(letters) != 3 or {LETTERS.get(letter, (9, 9))[0] for letter in letters} != {0, 1, 2}:
        return None
    directions = np.zeros((3, 3))
    for axis, letter in enumerate(letters):
        world, sign = LETTERS[letter]
        directions[axis, world] = sign
    return directions


def _data_file(path: Path, fields: Fields, end: int) -> tuple[Path, int | None]:
    """Where the voxels are, and the byte at which they start."""
    name = fields["ElementDataFile"]
    if name.upper() in ("LOCAL", "LOCAL.RAW"):
        return path, end
    if name.split()[:1] in (["LIST"], ["list"]) or "%" in name:
        raise VolumeError(
            f"{path}: its voxels are spread over a list of files, which is not read; "
            "save it as one .mha"
        )
    place = Path(name.replace("\\", "/"))
    if not name or "\0" in name or place.is_absolute() or ".." in place.parts:
        raise VolumeError(
            f"{path}: ElementDataFile is something else, expected a file beside the header; "
            "put them into one folder and correct the name"
        )
    data = path.parent / place
    if not data.is_file():
        # A name of its own may say whose scan it is; the header's own name is known anyway.
        told = f"{name} " if place.stem == path.stem and len(place.parts) == 1 else ""
        raise VolumeError(
            f"{path}: its data file {told}is missing from {path.parent} (ElementDataFile names "
            "it); fetch it as well"
        )
    skipped = fields.get("HeaderSize", "0")
    if skipped == "-1":
        return data, None
    if not (skipped.isascii() and skipped.isdecimal()):
        raise VolumeError(f"{path}: HeaderSize is something else, expected -1, 0 or more")
    return data, int(skipped)


@contextmanager
def _open_voxels(path: Path, header: MetaHeader) -> Iterator[Payload]:
    size, offset = header.data.stat().st_size, header.offset
    if offset is None:
        offset = size - int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
    if not 0 <= offset <= size:
        raise VolumeError(
            f"{path}: the voxels cannot start at byte {offset:,} of the {size:,} bytes of "
            f"{header.data.name}; fetch both again"
        )
    with header.data.open("rb") as file:
        file.seek(offset)
        packed = "gzip" if file.read(len(GZIP)) == GZIP else "zlib"  # MetaIO unpacks both
        file.seek(offset)
        yield Payload(header.data, file, size - offset, packed if header.packed else "")
