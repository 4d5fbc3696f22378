"""The pixels of one DICOM slice: which numbers they are, and which of them are padding.

A word of 16 bits may hold a number of fewer bits. What fills a slice outside the scanned circle is
often written without regard to that, or to the sign: -2000 becomes 63536, which is no HU. So the
words are looked at before the unused bits are cut off:

* what the header calls padding is padding;
* a word that is a negative number although the pixels have no sign, or one below what the stored
  bits can hold, is padding where only one or two such numbers occur, and damage where more do.

Source: DICOM PS3.3 C.7.5.1.1.2 (padding), PS3.5 section 8.1.1 (unused bits).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped

from mg3d.volumes.readers.dicom_file import damaged, decoding, open_dicom, reading
from mg3d.volumes.readers.dicom_slice import SliceHeader
from mg3d.volumes.readers.payload import VolumeError
from mg3d.volumes.readers.stored import BRIGHTEST_OF_ALL

AIR = -1000.0  # HU
BRIGHTEST = 3071.0  # HU of 12 bits
DARKEST = -1500.0  # HU; noise of air ends before
MOST_PADDING_VALUES = 2


@dataclass(frozen=True)
class SlicePixels:
    """One slice.

    Attributes:
        values: the stored numbers.
        told: where the header says that there is no pixel, as far as that is brighter than air.
        wrapped: where a negative number stands without its sign; padding by its value alone.
        excess: bytes after the last pixel.
    """

    values: Shaped[np.ndarray, "rows columns"]
    told: Bool[np.ndarray, "rows columns"] | None = None
    wrapped: Bool[np.ndarray, "rows columns"] | None = None
    excess: int = 0


def read_pixels(one: SliceHeader) -> SlicePixels:
    """The stored numbers of one slice, and what of it is padding.

    Raises:
        VolumeError: if they are cut off, damaged, or packed in a way that nothing here unpacks.
    """
    words, excess = _read_words(one)
    form = one.pixels
    values = words
    if form.bits_stored < form.bits:
        unused = form.bits - form.bits_stored
        values = (words << unused) >> unused
    told = _told(one, words, values) if one.padding else None
    return SlicePixels(values, told, _wrapped(one, words, values, told), excess)


def _read_words(one: SliceHeader) -> tuple[np.ndarray, int]:
    """All bits of every pixel, and how many bytes follow the last."""
    from pydicom.pixels import get_decoder

    form = one.pixels
    expected = form.rows * form.columns * form.bits // 8
    try:
        with reading():
            data, _ = open_dicom(one.path)
            element = data["PixelData"]
            length = len(element.value)
        if one.guessed and element.is_undefined_length:
            raise VolumeError(
                f"{one.path}: compressed pixels, but no TransferSyntaxUID that says how; "
                "fetch it again"
            )
        if not one.compressed and length < expected:
            raise VolumeError(
                f"{one.path}: the pixels cannot be read: {length:,} of {expected:,} bytes; "
                "fetch the file again"
            )
        with decoding():
            decoder = get_decoder(data.file_meta.TransferSyntaxUID)
            words, _ = decoder.as_array(
                data, raw=True, correct_unused_bits=False, allow_excess_frames=False
            )
    except VolumeError:
        raise
    except damaged() as error:
        raise VolumeError(
            f"{one.path}: the pixels cannot be read ({type(error).__name__}); fetch the file again"
            + (" (compressed slices need the package python-gdcm)" if one.compressed else "")
        ) from error
    if words.shape != (form.rows, form.columns) or words.dtype.kind not in "iu":
        raise VolumeError(
            f"{one.path}: {words.shape} pixels, expected {form.rows} x {form.columns}; "
            "fetch it again"
        )
    return words, 0 if one.compressed else length - expected - expected % 2


def _told(
    one: SliceHeader, words: np.ndarray, values: np.ndarray
) -> Bool[np.ndarray, "rows columns"] | None:
    """Where the header says that there is no pixel; None where all of that is as dark as air."""
    assert one.padding is not None
    form = one.pixels
    # Tags and words may disagree about the sign: 63536 is -2000.
    first, last = (np.array(v & (1 << form.bits) - 1, f"u{form.bits // 8}") for v in one.padding)
    first, last = (end.astype(words.dtype.newbyteorder("=")) for end in (first, last))
    low, high = min(first, last), max(first, last)
    smallest = -(1 << form.bits_stored - 1) if form.signed else 0
    fits = smallest <= int(low) and int(high) < smallest + (1 << form.bits_stored)
    looked_at = values if fits else words
    if one.compressed and not fits and low == high:
        unused = form.bits - form.bits_stored  # compression may have dropped these bits
        return _at_border((words == low) | (values == (low << unused) >> unused))
    mask = looked_at == low if low == high else (looked_at >= low) & (looked_at <= high)
    slope, intercept = one.rescale or (1.0, 0.0)
    brightest = max(float(low) * slope, float(high) * slope) + intercept
    if (fits and brightest <= AIR) or not mask.any():
        return None
    if fits and brightest <= BRIGHTEST:
        mask = _at_border(mask)  # a number that tissue may have as well
    return mask if mask.any() else None


def _at_border(mask: Bool[np.ndarray, "rows columns"]) -> Bool[np.ndarray, "rows columns"]:
    """Those pieces of a mask that reach a corner of the slice."""
    from scipy.ndimage import label

    pieces, _ = label(mask)
    corners = pieces[[0, 0, -1, -1], [0, -1, 0, -1]]
    return np.isin(pieces, corners[corners > 0])


def _wrapped(
    one: SliceHeader, words: np.ndarray, values: np.ndarray, told: np.ndarray | None
) -> Bool[np.ndarray, "rows columns"] | None:
    """Where a number cannot be meant, as it would be negative with a sign or with more bits.

    Raises:
        VolumeError: if there are more such numbers than padding has.
    """
    form = one.pixels
    as_signed = words.view(words.dtype.str.replace("u", "i"))
    if form.bits_stored < form.bits:
        if as_signed.min() >= 0:
            _check_sign(one, values)
            return None
        mask = (as_signed >> form.bits_stored == -1) & (as_signed != values)
    elif form.signed or one.modality not in ("", "CT"):
        return None
    else:
        slope, intercept = one.rescale or (1.0, 0.0)
        if float(words.max()) * slope + intercept <= BRIGHTEST_OF_ALL:
            return None
        mask = words * slope + intercept > BRIGHTEST_OF_ALL
    if told is not None:
        mask &= ~told
    kinds = np.unique(words[mask])
    if len(kinds) > MOST_PADDING_VALUES:
        raise VolumeError(
            f"{one.path}: {int(mask.sum()):,} pixels are negative numbers stored without their "
            f"sign or bits ({len(kinds)} different ones, so no padding); the header's "
            "PixelRepresentation or BitsStored is wrong; convert the series anew"
        )
    return mask if len(kinds) else None


def _check_sign(one: SliceHeader, values: np.ndarray) -> None:
    """Nothing, if the highest stored bit may be a sign although no word is negative.

    Raises:
        VolumeError: if it makes bright tissue darker than air: then it is no sign.
    """
    if not one.pixels.signed or one.modality not in ("", "CT") or values.min() >= 0:
        return
    slope, intercept = one.rescale or (1.0, 0.0)
    below = np.unique(values[values * slope + intercept < DARKEST])
    if len(below) > MOST_PADDING_VALUES:
        raise VolumeError(
            f"{one.path}: {len(below)} different values far below air once bit "
            f"{one.pixels.bits_stored - 1} is read as a sign, though no pixel is stored as a "
            "negative number; the header's BitsStored or PixelRepresentation is wrong; convert the "
            "series anew"
        )
