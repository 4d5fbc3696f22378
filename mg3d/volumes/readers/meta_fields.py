"""The text header of a MetaImage: `key = value` lines, of which only the known ones are read.

Programs copy tags of other formats into the header (`0008|0005 = ISO_IR 100`, `Patient-ID = ...`).
Such keys are passed over, and no value of a header is ever quoted: it may hold a name or a date.
Messages hold the standard's own keys, and numbers that were read as numbers.

Source: MetaIO's documentation.
"""

from pathlib import Path

import numpy as np

from mg3d.volumes.readers.payload import VolumeError

KNOWN = (
    *("ObjectType", "NDims", "DimSize", "ElementType", "ElementDataFile", "BinaryData"),
    *("BinaryDataByteOrderMSB", "ElementByteOrderMSB", "CompressedData", "HeaderSize"),
    *("ElementSpacing", "ElementSize", "TransformMatrix", "Rotation", "Orientation", "Offset"),
    *("Position", "Origin", "CenterOfRotation", "AnatomicalOrientation", "Modality"),
    *("ElementNumberOfChannels", "ElementToIntensityFunctionSlope"),
    "ElementToIntensityFunctionOffset",
)
TAG_OF_MODALITY = "0008|0060"  # as SimpleITK copies it from DICOM
SPACES = " \t\r\0"

Fields = dict[str, str]


def read_fields(path: Path, start: bytes, warnings: list[str]) -> tuple[Fields, int]:
    """Known keys and their values up to ElementDataFile, which is the last, and where it ends.

    Args:
        path: named in errors.
        start: the first bytes of the file, all of the header among them.
        warnings: what was passed over, other than unknown keys, is added.

    Raises:
        VolumeError: if it is no header, or states a known key twice.
    """
    fields: Fields = {}
    place, number, odd = 0, 0, 0
    while place < len(start):
        end = start.find(b"\n", place)
        end = len(start) if end < 0 else end
        line, place, number = (
            start[place:end].decode("utf-8", "surrogateescape"),
            end + 1,
            number + 1,
        )
        name, equals, value = (part.strip(SPACES) for part in line.partition("="))
        if not equals:
            if number == 1 or any(key in line for key in KNOWN):
                raise VolumeError(
                    f"{path}: no MetaImage header: line {number} is not 'key = value'; "
                    "fetch the file again"
                )
            odd += bool(name)  # the second line of a copied text
        elif name in KNOWN or name == TAG_OF_MODALITY:
            if name in fields:
                raise VolumeError(f"{path}: the header states {name} twice; it is damaged")
            fields[name] = value
        if name == "ElementDataFile":
            if odd:
                warnings.append(f"{odd} header lines that are not 'key = value' were passed over")
            return fields, min(place, len(start))
    raise VolumeError(
        f"{path}: the header names no ElementDataFile, so its end is missing; fetch the file again"
    )


def expect(path: Path, fields: Fields, key: str, wanted: str, *, default: str = "") -> None:
    """Nothing, if a field says what is wanted, as a word or as a number.

    Raises:
        VolumeError: if it says something else.
    """
    came = fields.get(key, default).lower()
    if came != wanted.lower() and not (wanted.isdecimal() and _number(came) == float(wanted)):
        value = _number(came)
        told = "missing" if key not in fields else "something else"
        told = f"{value:g}" if wanted.isdecimal() and np.isfinite(value) else told
        raise VolumeError(
            f"{path}: {key} is {told}, expected {wanted}; save one plain 3-D volume of one number "
            "per voxel"
        )


def is_true(path: Path, fields: Fields, key: str) -> bool:
    """What a field of True or False says; False where it is missing.

    Raises:
        VolumeError: if it says neither.
    """
    value = fields.get(key, "False").lower()
    if value not in ("true", "false", "1", "0", "t", "f", "yes", "no"):
        raise VolumeError(
            f"{path}: {key} is something else, expected True or False; correct the header"
        )
    return value in ("true", "1", "t", "yes")


def numbers(path: Path, fields: Fields, key: str, count: int) -> np.ndarray:
    """The numbers of a field.

    Raises:
        VolumeError: if there are not `count` finite ones.
    """
    words = fields.get(key, "").split()
    found = np.array([_number(word) for word in words])
    if len(found) != count or not np.isfinite(found).all():
        told = "something else" if key in fields else "missing"
        raise VolumeError(f"{path}: {key} is {told}, expected {count} numbers; correct the header")
    return found


def one_of(path: Path, fields: Fields, keys: tuple[str, ...]) -> str:
    """Which of several names for one thing the header uses, "" for none.

    Raises:
        VolumeError: if two are used and differ.
    """
    found = [key for key in keys if key in fields]
    if len({fields[key] for key in found}) > 1:
        raise VolumeError(
            f"{path}: the header states {' and '.join(found)}, which differ; correct it"
        )
    return found[0] if found else ""


def _number(word: str) -> float:
    """NaN for what is no number."""
    try:
        return float(word) if word.isascii() and "_" not in word else np.nan
    except ValueError:
        return np.nan
