from pathlib import Path

import numpy as np
import pytest

from mg3d.volumes.rescale import decide_rescale, rescale
from mg3d.volumes.volume import StoredGrid, Volume, VolumeError, read_volume


def chest(scale=lambda hu: hu, dtype=np.int16, **fields):
    """Half air, a third soft tissue, the rest lung and bone; stored as `scale` says."""
    rng = np.random.default_rng(0)
    places, spread = np.array([-1000, 40, -800, 700]), np.array([10, 30, 60, 200])
    kind = rng.choice(4, (20, 20, 20), p=[0.5, 0.33, 0.1, 0.07])
    hu = np.rint(places[kind] + spread[kind] * rng.standard_normal(kind.shape))
    hu = np.clip(hu, -1024, 3071)
    grid = StoredGrid((20, 20, 20), np.eye(4))
    return Volume(scale(hu).astype(dtype), np.eye(4), grid, Path("p017.nii.gz"), **fields)


def plus(offset):
    return lambda hu: hu + offset


HU = chest().values()


@pytest.mark.parametrize("release", ["first", "corrected", "unknown"])
@pytest.mark.parametrize("metadata", [None, (1.0, -1024.0), (1.0, -8192.0)])
def test_hu_stay_hu_whatever_the_metadata_say(release, metadata):
    decision = decide_rescale(chest(), release=release, metadata=metadata)
    assert (decision.slope, decision.intercept, decision.rule) == (1, 0, "as stored")
    assert bool(decision.warnings) == (release == "first")


@pytest.mark.parametrize("offset", [1024, 8192])
def test_stored_values_of_the_first_release_become_equal_hu(offset):
    stored = chest(plus(offset), np.uint16)
    decision = decide_rescale(stored, release="first", metadata=(1.0, -offset))
    np.testing.assert_array_equal(rescale(stored, decision).values(), HU)
    assert decision.rule == "metadata"
    assert decision.warnings == ()


def test_a_slope_of_the_metadata_counts():
    stored = chest(lambda hu: (hu + 1024) * 4, np.uint16)
    decision = decide_rescale(stored, release="first", metadata=(0.25, -1024.0))
    np.testing.assert_array_equal(rescale(stored, decision).values(), HU)


def test_scaling_of_the_header_is_used_and_not_doubled():
    stored = chest(plus(1024), np.uint16, slope=1.0, intercept=-1024.0)
    for release in ("corrected", "unknown"):
        decision = decide_rescale(stored, release=release, metadata=(1.0, -1024.0))
        assert (decision.rule, decision.intercept) == ("header", -1024)
        assert decision.warnings == ()


def test_the_header_of_the_first_release_is_not_believed():
    stored = chest(plus(8192), np.uint16, slope=1.0, intercept=-1024.0)
    decision = decide_rescale(stored, release="first", metadata=(1.0, -8192.0))
    np.testing.assert_array_equal(rescale(stored, decision).values(), HU)


def test_stored_values_in_a_corrected_folder_are_taken_with_a_warning():
    decision = decide_rescale(chest(plus(1024)), release="corrected", metadata=(1.0, -1024.0))
    assert decision.rule == "metadata"
    assert "only with the metadata's rescale" in decision.warnings[0]


@pytest.mark.parametrize(
    ("metadata", "warning"),
    [
        (None, "without a metadata row"),
        ((0.0, -1024.0), "unusable"),
        ((1.0, -1024.0), "HU without the metadata's rescale; not applied"),
    ],
)
def test_hu_in_a_first_release_folder_are_taken_with_a_warning(metadata, warning):
    decision = decide_rescale(chest(), release="first", metadata=metadata)
    assert decision.rule == "as stored"
    assert warning in decision.warnings[0]


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (chest(plus(1024), np.uint16), "minimum >= 0, not HU.*give the metadata table"),
        (chest(plus(-1024)), "was the rescale applied twice"),
        (chest(plus(-8192)), "was the rescale applied twice"),
        (chest(lambda hu: np.clip((hu + 1350) / 1500, 0, 1) * 255, np.uint8), "8-bit range"),
        (chest(lambda hu: np.clip(hu / 1000, -1, 1), np.float32), "normalised already"),
        (chest(lambda hu: np.clip((hu + 1000) / 2000, 0, 1), np.float32), "normalised already"),
        (chest(lambda hu: hu * 0 - 1024), "constant volume"),
        (chest(lambda hu: np.clip(hu, -50, 800)), "is this a CT"),
    ],
)
def test_what_is_no_hu_is_refused_with_the_likeliest_reason(stored, reason):
    with pytest.raises(VolumeError, match=reason) as error:
        decide_rescale(stored)
    assert "p017.nii.gz" in str(error.value)


def test_metadata_that_do_not_fit_are_named():
    with pytest.raises(VolumeError, match="those of the metadata do not fit"):
        decide_rescale(chest(plus(8192), np.uint16), release="first", metadata=(1.0, -1024.0))


def test_padding_outside_the_scanned_circle_does_not_disturb():
    stored = chest()
    stored.voxels[:8] = -3024
    assert decide_rescale(stored).rule == "as stored"


def test_an_unknown_release_is_refused():
    with pytest.raises(ValueError, match="first, corrected, unknown; got 'v2'"):
        decide_rescale(chest(), release="v2")


@pytest.mark.parametrize(
    "path",
    [
        "chest_lungdx_A0001_kernelB.nii.gz",
        "chest_ricord1a_001012_every2nd_xy.nii.gz",
        "chest_ibsi_lungtumour/phantom.nii.gz",
        "heart_totalseg_contrast/ct_cropped.nii.gz",
        "heart_totalseg_contrast_fov2/ct_cropped.nii.gz",
        "abdomen_totalseg_3mm.nii.gz",
        "thigh_sts003/CT_image.nii.gz",
    ],
)
def test_real_ct_volumes_are_recognised(path, shared_data):
    volume = read_volume(shared_data / "volumes" / path)
    expected = ("header", -1024) if "lungdx" in path else ("as stored", 0)
    decision = decide_rescale(volume, metadata=(1.0, -1024.0))
    assert (decision.rule, decision.intercept) == expected
    assert decision.warnings == ()


@pytest.mark.parametrize("path", ["mr_abdomen_totalseg_3mm", "thigh_sts003/MR_T1_image"])
def test_real_mr_volumes_are_refused(path, shared_data):
    with pytest.raises(VolumeError, match="expected HU"):
        decide_rescale(read_volume(shared_data / "volumes" / f"{path}.nii.gz"))


def test_both_releases_of_one_real_scan_give_equal_hu(shared_data):
    root = shared_data / "layouts" / "ctrate" / "dataset"
    name = "train_90001/train_90001_a/train_90001_a_2.nii.gz"
    hu = []
    for folder, release in (("train", "first"), ("train_fixed", "corrected")):
        volume = read_volume(root / folder / name)
        decision = decide_rescale(volume, release=release, metadata=(1.0, -1024.0))
        assert decision.warnings == ()
        hu.append(rescale(volume, decision).values())
    np.testing.assert_array_equal(hu[0], hu[1])
