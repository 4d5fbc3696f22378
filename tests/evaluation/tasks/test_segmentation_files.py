"""Label maps on the grid of their image: oblique axes, a header that contradicts itself."""

import nibabel
import numpy as np
import pytest
import torch

from mg3d.data.masks import MaskMeaning
from mg3d.data.prepared import read_facts
from mg3d.data.split import PreparedSplit
from mg3d.evaluation.tasks.segmentation_files import (
    labels_on_original,
    map_labels,
    read_reference,
    write_labels,
)
from mg3d.preparation.prepare import (
    DatasetDescription,
    PrepareSettings,
    RunOptions,
    ScanRecord,
    prepare,
)
from mg3d.volumes.grid import Grid
from mg3d.volumes.intensity import Percentiles
from mg3d.volumes.volume import read_volume

SHAPE = (24, 18, 12)
OBLIQUE = np.array(
    [[-1.9, 0.3, 0.2, 30.0], [0.35, 1.8, -0.4, -20.0], [-0.1, 0.3, 2.9, 7.0], [0, 0, 0, 1]]
)


def raw_pair(folder, affine, pixdim=None):
    """An image with one bright box at an asymmetric place, and the mask of the box."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[3:12, 4:8, 2:9] = 1
    image = (np.random.default_rng(0).normal(100, 5, SHAPE) + 200 * mask).astype(np.int16)
    for name, array in (("image", image), ("label", mask)):
        nifti = nibabel.Nifti1Image(array, affine)
        nifti.set_sform(affine, code=2)
        if pixdim is not None:
            nifti.set_qform(None, code=0)
            nifti.header["pixdim"][1:4] = pixdim
        folder.mkdir(exist_ok=True)
        nibabel.save(nifti, folder / f"{name}.nii.gz")
    return mask


def prepared(folder, raw, spacing):
    record = ScanRecord(
        volume_id="a", patient_id="a", scan_id="a", split="train",
        volume=raw / "image.nii.gz", masks=raw / "label.nii.gz",
    )  # fmt: skip
    about = DatasetDescription(source="made up", root=raw, masks=MaskMeaning("classes", ("box",)))
    settings = PrepareSettings(grid=Grid(None, spacing), intensity=Percentiles())
    assert not prepare([record], folder, about, RunOptions(settings=settings, workers=0)).refused
    return PreparedSplit(folder, "train")


HEADERS = {
    "oblique": (OBLIQUE, None),
    "unit sform": (np.diag([-1.0, -1.0, 1.0, 1.0]), (1.5625, 1.5625, 10.0)),  # as released ACDC
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_prediction_overlays_its_original_exactly(header, tmp_path):
    raw = tmp_path / "raw"
    affine, pixdim = HEADERS[header]
    mask = raw_pair(raw, affine, pixdim)
    split = prepared(tmp_path / "out", raw, (None, None, None))
    facts = read_facts(split.folder / split.rows["volume"][0])
    truth = split.load_mask(0, "box").float()
    labels = labels_on_original(torch.stack([1 - truth, truth]) * 10, facts)
    assert np.array_equal(labels, mask)
    assert np.array_equal(map_labels(truth.int(), facts), mask)
    original = read_volume(raw / "image.nii.gz")
    write_labels(tmp_path / "p.nii.gz", labels, original.stored, raw / "image.nii.gz")
    written, theirs = nibabel.load(tmp_path / "p.nii.gz"), nibabel.load(raw / "image.nii.gz")
    assert np.array_equal(written.get_fdata(), mask)
    assert np.array_equal(written.affine, theirs.affine)
    assert np.array_equal(written.header["pixdim"][1:4], theirs.header["pixdim"][1:4])
    for name in ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b"):
        assert np.array_equal(written.header[name], theirs.header[name])
    again = read_volume(tmp_path / "p.nii.gz")
    assert np.allclose(again.affine, original.affine)
    assert original.voxels[np.asarray(again.voxels) == 1].min() > 200
    reference = read_reference(split, 0, str(raw))
    assert np.array_equal(reference.labels, mask)
    lengths = pixdim or np.linalg.norm(affine[:3, :3], axis=0)
    assert reference.spacing_mm == pytest.approx(tuple(lengths), rel=1e-5)


def test_a_raw_folder_that_lacks_the_file_is_refused(tmp_path):
    raw_pair(tmp_path / "raw", OBLIQUE)
    split = prepared(tmp_path / "out", tmp_path / "raw", (None, None, None))
    with pytest.raises(FileNotFoundError, match=r"image\.nii\.gz is missing: --raw"):
        read_reference(split, 0, str(tmp_path))
