"""A segmentation back on the grid of its original image, as NIfTI, and the reference there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from mg3d.data.prepared import original_grid, read_array, read_facts
from mg3d.data.split import PreparedSplit
from mg3d.volumes.orientation import from_canonical
from mg3d.volumes.segmentation import check_pair
from mg3d.volumes.volume import (
    StoredGrid,
    VolumeError,
    read_volume,
    replace_file,
    to_original,
    write_nifti,
)


@dataclass(frozen=True)
class Reference:
    """The truth of one case on the grid of its file.

    Attributes:
        labels: in the order of the file's axes.
        spacing_mm: of these axes.
        origin: "original file" or "prepared masks, mapped back".
    """

    labels: UInt8[np.ndarray, "a b c"]
    spacing_mm: tuple[float, ...]
    origin: str


def labels_on_original(
    logits: Float[Tensor, "k H W D"], facts: Mapping[str, Any]
) -> UInt8[np.ndarray, "a b c"]:
    """The most probable class of every voxel of the original file.

    Probabilities are interpolated, class by class, and compared there. What the prepared volume
    does not reach is background.

    Args:
        logits: on the prepared grid, background first.
        facts: of the prepared volume.
    """
    affine, stored = original_grid(facts)
    shares = logits.softmax(0).numpy()
    best = to_original(shares[0], affine, stored, fill=1.0)
    labels = np.zeros(best.shape, np.uint8)
    best = np.array(best)
    for number in range(1, len(shares)):
        share = to_original(shares[number], affine, stored, fill=0.0)
        labels[share > best] = number
        np.maximum(best, share, out=best)
    return labels


def map_labels(
    labels: Integer[Tensor, "H W D"], facts: Mapping[str, Any]
) -> UInt8[np.ndarray, "a b c"]:
    """A label map of the prepared grid on the grid of the original file, by nearest voxel."""
    affine, stored = original_grid(facts)
    return to_original(labels.numpy().astype(np.uint8), affine, stored, linear=False)


def read_reference(split: PreparedSplit, row: int, raw: str = "") -> Reference:
    """The truth of one row.

    Args:
        split: of a prepared folder with class maps.
        row: of `split.rows`.
        raw: folder that the data were prepared from; "": the prepared masks are mapped back, and
            what resampling took from them is not seen.

    Raises:
        FileNotFoundError: if a file is not in `raw`.
        ValueError: if mask and image there do not lie on one grid, or are other files than the
            data were prepared from.
    """
    path = split.folder / split.rows["masks"][row]
    facts = read_facts(path)
    _, stored = original_grid(facts)
    spacing = tuple(float(n) for n in np.linalg.norm(stored.affine[:3, :3], axis=0))
    if not raw:
        affine, _ = original_grid(facts)
        mapped = to_original(read_array(path, "masks"), affine, stored, linear=False)
        return Reference(mapped.astype(np.uint8), spacing, "prepared masks, mapped back")
    image = read_volume(raw_file(raw, facts["source_file"]))
    (name,) = set(facts["request"]["files"]) - {facts["source_file"]}
    if image.stored.shape != stored.shape or not np.allclose(
        image.stored.affine, stored.affine, atol=1e-3
    ):
        raise VolumeError(
            f"{image.source}: has another grid than when volume {split.rows['volume_id'][row]} was "
            f"prepared; give the folder that {split.folder} was prepared from"
        )
    classes = range(len(split.masks_mean.names) + 1)
    labels = check_pair(image, read_volume(raw_file(raw, name)), classes)
    return Reference(from_canonical(labels, stored.affine), spacing, "original file")


def raw_file(raw: str, name: str) -> Path:
    """A file of the folder that the data were prepared from.

    Raises:
        FileNotFoundError: if it is not there.
    """
    path = Path(raw).expanduser() / name
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: --raw is the folder that was given to data_prep as --source"
        )
    return path


def write_labels(
    path: Path, labels: UInt8[np.ndarray, "a b c"], stored: StoredGrid, original: Path | None = None
) -> None:
    """Write a label map that overlays its image.

    Args:
        path: ends in .nii.gz.
        labels: in the order of the image's file.
        stored: grid of that file, as it was understood.
        original: that file. If it is NIfTI, its geometry is copied field by field, so that any
            viewer lays both onto each other, also where sform, qform and pixdim contradict.
    """
    if original is None or not original.name.lower().endswith((".nii", ".nii.gz")):
        write_nifti(path, labels, stored.affine)
        return
    import zlib

    import nibabel
    from nibabel.nifti1 import Nifti1Header, Nifti1Image

    theirs: Any = nibabel.load(original).header
    header = Nifti1Header()
    header.set_data_shape(labels.shape)
    header.set_data_dtype(np.uint8)
    header["pixdim"][:4] = theirs["pixdim"][:4]
    for name in (
        "xyzt_units", "sform_code", "qform_code", "quatern_b", "quatern_c", "quatern_d",
        "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
    ):  # fmt: skip
        header[name] = theirs[name]
    image = Nifti1Image(labels, None, header)
    for name in ("pixdim", "sform_code", "qform_code"):  # nibabel sets them from the affine
        image.header[name] = header[name]
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    replace_file(path, packer.compress(image.to_bytes()) + packer.flush())
