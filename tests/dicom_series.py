"""A small DICOM series, written slice by slice with pydicom."""

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SHAPE = (7, 9, 24)  # columns, rows, slices
SPACING, STEP, ORIGIN = (0.8, 0.7), 2.5, (-60.0, -70.0, -200.0)  # rows, columns; LPS
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def hu_of_series(shape=SHAPE, seed=0):
    """HU, axes as stored: columns, rows, slices."""
    return np.random.default_rng(seed).integers(-1000, 1500, shape).astype(np.int16)


def affine_of_series(orientation=AXIAL, spacing=SPACING, step=None, origin=ORIGIN):
    """Index (column, row, slice) to RAS+ mm, written down by hand from the standard."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * spacing[1], column * spacing[0]
    affine[:3, 2] = np.cross(row, column) * STEP if step is None else step
    affine[:3, 3] = origin
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def dicom_slice(pixels, position, *, number=1, series="1.2.3.4", syntax=None, **fields):
    """One slice as a pydicom data set; a field of None is left out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series, str(number)])
    meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    values = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Modality": "CT",
        "SeriesInstanceUID": series,
        "SeriesDescription": "chest",
        "InstanceNumber": number,
        "SliceThickness": 5.0,
        "ImagePositionPatient": [round(float(x), 6) for x in position],
        "ImageOrientationPatient": list(AXIAL),
        "PixelSpacing": list(SPACING),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": 8 * pixels.dtype.itemsize,
        "BitsStored": 8 * pixels.dtype.itemsize,
        "HighBit": 8 * pixels.dtype.itemsize - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "RescaleIntercept": -1024,
        "RescaleSlope": 1,
        **fields,
    }
    for name, value in values.items():
        if value is not None:
            setattr(data, name, value)
    data.add_new("PixelData", "OW", pixels.tobytes())
    return data


def series(hu=None, *, orientation=AXIAL, step=None, origin=ORIGIN, dtype=np.int16, **fields):
    """All slices of one series, in order."""
    hu = hu_of_series() if hu is None else hu
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    step = np.cross(row, column) * STEP if step is None else np.array(step)
    stored = (hu + fields.get("offset", 1024)).astype(dtype)
    fields.pop("offset", None)
    return [
        dicom_slice(
            np.ascontiguousarray(stored[:, :, k].T),
            np.array(origin) + k * step,
            number=k + 1,
            ImageOrientationPatient=list(orientation),
            **fields,
        )
        for k in range(hu.shape[2])
    ]


def write_series(folder: Path, slices, *, seed=0, name="IM{:04d}.dcm") -> Path:
    """Write slices under names in no order."""
    folder.mkdir(parents=True, exist_ok=True)
    names = np.random.default_rng(seed).permutation(len(slices))
    for number, data in zip(names, slices, strict=True):
        data.save_as(folder / name.format(number), enforce_file_format=True)
    return folder
