"""MetaImage (.mha, .mhd): a text header of `key = value` lines, and the voxels after or beside it.

LUNA16 and other challenges publish in it. Every field is checked before it is believed.

Source: MetaIO's documentation. World coordinates are LPS; row i of TransformMatrix is the direction
of axis i.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from mg3d.volumes.readers.payload import Payload, VolumeError, open_payload
from mg3d.volumes.readers.stored import LPS_TO_RAS, StoredImage, check_geometry, check_voxels

DTYPES = {"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2",
          "MET_INT": "i4", "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4",
          "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
          "MET_FLOAT": "f4", "MET_DOUBLE": "f8"}  # fmt: skip
MOST_HEADER = 1 << 16  # bytes
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
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    data: Path
    offset: int | None
    packed: bool
    affine: Float64[np.ndarray, "4 4"]
    warnings: tuple[str, ...]


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
    return check_voxels(path, StoredImage(stored.T, header.affine, warnings=warnings))


def read_meta_header(path: Path, start: bytes) -> MetaHeader:
    """Read and check a header.

    Args:
        path: of its file.
        start: the first bytes of the file, all of the header among them.

    Raises:
        VolumeError: if it is none, or describes no 3-D volume with one number per voxel.
    """
    fields, end = _fields(path, start)
    warnings: list[str] = []
    _expect(path, fields, "ObjectType", "Image")
    _expect(path, fields, "NDims", "3")
    _expect(path, fields, "ElementNumberOfChannels", "1", default="1")
    _expect(path, fields, "BinaryData", "True", default="True")
    for name, unscaled in (("Slope", "1"), ("Offset", "0")):
        _expect(path, fields, f"ElementToIntensityFunction{name}", unscaled, default=unscaled)
    shape = _numbers(path, fields, "DimSize", 3)
    if not all(size == int(size) and size >= 1 for size in shape):
        raise VolumeError(f"{path}: DimSize is {fields['DimSize']}, expected three whole numbers")
    kind = fields.get("ElementType", "nothing")
    if kind not in DTYPES:
        raise VolumeError(
            f"{path}: ElementType is {kind}, expected one number per voxel: "
            f"one of {', '.join(DTYPES)}"
        )
    dtype = np.dtype(DTYPES[kind])
    dtype = dtype.newbyteorder(">" if _big_endian(path, fields, dtype, warnings) else "<")
    affine = _affine(path, fields, warnings)
    warnings += check_geometry(path, affine)
    data, offset = _data_file(path, fields, end)
    packed = _truth(path, fields, "CompressedData", default="False")
    if packed and offset is None:
        raise VolumeError(f"{path}: HeaderSize -1 with CompressedData; save it as .mha again")
    a, b, c = (int(size) for size in shape)
    return MetaHeader((a, b, c), dtype, data, offset, packed, affine, tuple(warnings))


def _fields(path: Path, start: bytes) -> tuple[dict[str, str], int]:
    """Keys and values up to ElementDataFile, which is always the last, and where it ends."""
    fields: dict[str, str] = {}
    place = 0
    while place < len(start):
        end = start.find(b"\n", place)
        end = len(start) if end < 0 else end
        line, place = start[place:end], end + 1
        key, equals, value = (part.strip() for part in line.partition(b"="))
        name = key.decode("latin-1")
        if not (equals and name.isascii() and name.isidentifier()):
            raise VolumeError(
                f"{path}: no MetaImage header: line {len(fields) + 1} is {line[:40]!r}, expected "
                "'key = value'; fetch the file again"
            )
        if name in fields:
            raise VolumeError(f"{path}: the header states {name} twice; it is damaged")
        fields[name] = value.decode("utf-8", errors="surrogateescape")
        if name == "ElementDataFile":
            return fields, min(place, len(start))
    raise VolumeError(
        f"{path}: the header names no ElementDataFile, so its end is missing; fetch the file again"
    )


def _expect(
    path: Path, fields: dict[str, str], key: str, wanted: str, *, default: str = "nothing"
) -> None:
    came = fields.get(key, default)
    if came.lower() != wanted.lower():
        raise VolumeError(
            f"{path}: {key} is {came}, expected {wanted}; save one plain 3-D volume of one number "
            "per voxel"
        )


def _truth(path: Path, fields: dict[str, str], key: str, *, default: str) -> bool:
    value = fields.get(key, default).lower()
    if value not in ("true", "false"):
        raise VolumeError(f"{path}: {key} is {value}, expected True or False; correct the header")
    return value == "true"


def _numbers(path: Path, fields: dict[str, str], key: str, count: int) -> np.ndarray:
    words = fields.get(key, "").split()
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        numbers = np.zeros(0)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise VolumeError(
            f"{path}: {key} is '{fields.get(key, '')}', expected {count} numbers; "
            "correct the header"
        )
    return numbers


def _one_of(path: Path, fields: dict[str, str], keys: tuple[str, ...]) -> str:
    """Which of several names for one thing the header uses, "" for none."""
    found = [key for key in keys if key in fields]
    if len({fields[key] for key in found}) > 1:
        raise VolumeError(
            f"{path}: the header states {' and '.join(found)}, which differ; correct it"
        )
    return found[0] if found else ""


def _big_endian(path: Path, fields: dict[str, str], dtype: np.dtype, warnings: list[str]) -> bool:
    key = _one_of(path, fields, ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"))
    if not key and dtype.itemsize > 1:
        warnings.append("no byte order in the header; taken as little-endian")
    return bool(key) and _truth(path, fields, key, default="False")


def _affine(path: Path, fields: dict[str, str], warnings: list[str]) -> np.ndarray:
    """Stored index to RAS+ mm."""
    spacing = _spacing(path, fields, warnings)
    letters = fields.get("AnatomicalOrientation", "")
    named = _directions(letters)
    key = _one_of(path, fields, ("TransformMatrix", "Rotation", "Orientation"))
    if key:
        directions = _numbers(path, fields, key, 9).reshape(3, 3)
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
    affine = np.eye(4)
    affine[:3, :3] = directions.T * spacing
    origin = _one_of(path, fields, ("Offset", "Position", "Origin"))
    if origin:
        affine[:3, 3] = _numbers(path, fields, origin, 3)
    else:
        warnings.append("no origin in the header; taken as 0")
    return LPS_TO_RAS @ affine


def _spacing(path: Path, fields: dict[str, str], warnings: list[str]) -> np.ndarray:
    key = "ElementSpacing"
    if key not in fields and "ElementSize" in fields:
        key = "ElementSize"
        warnings.append("no ElementSpacing in the header; ElementSize was taken")
    spacing = _numbers(path, fields, key, 3)
    for axis, value in zip("xyz", spacing, strict=True):
        if value <= 0:
            raise VolumeError(f"{path}: spacing {value:g} on axis {axis}; correct the header")
    return spacing


def _directions(letters: str) -> np.ndarray | None:
    """What AnatomicalOrientation says in LPS: "RAI" starts right, in front and below."""
    if len(letters) != 3 or {LETTERS.get(letter, (9, 9))[0] for letter in letters} != {0, 1, 2}:
        return None
    directions = np.zeros((3, 3))
    for axis, letter in enumerate(letters):
        world, sign = LETTERS[letter]
        directions[axis, world] = sign
    return directions


def _data_file(path: Path, fields: dict[str, str], end: int) -> tuple[Path, int | None]:
    """Where the voxels are, and the byte at which they start."""
    name = fields["ElementDataFile"]
    if name.upper() in ("LOCAL", "LOCAL.RAW"):
        return path, end
    if name.split()[:1] in (["LIST"], ["list"]) or "%" in name:
        raise VolumeError(
            f"{path}: its voxels are spread over a list of files ('{name}'), which is not read; "
            "save it as one .mha"
        )
    place = Path(name.replace("\\", "/"))
    if not name or "\0" in name or place.is_absolute() or ".." in place.parts:
        raise VolumeError(
            f"{path}: ElementDataFile is '{name}', expected a file beside the header; "
            "put them into one folder and correct the name"
        )
    data = path.parent / place
    if not data.is_file():
        raise VolumeError(
            f"{path}: its data file {name} is missing from {data.parent}; fetch it as well"
        )
    skipped = fields.get("HeaderSize", "0")
    if skipped == "-1":
        return data, None
    if not skipped.isdecimal():
        raise VolumeError(f"{path}: HeaderSize is {skipped}, expected -1, 0 or more")
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
        yield Payload(header.data, file, size - offset, "zlib" if header.packed else "")
