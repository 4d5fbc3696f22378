"""A shifted MR is no CT, whatever its scale; real CT volumes and made-up ones are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mg3d.volumes.ct_values import missing_landmarks, unlike_ct
from mg3d.volumes.rescale import decide_rescale, rescale
from mg3d.volumes.volume import StoredGrid, Volume, VolumeError, read_volume

CT = (
    *("chest_lungdx_A0001_kernelB", "chest_ricord1a_001012_every2nd_xy"),
    *("chest_ibsi_lungtumour/phantom", "heart_totalseg_contrast/ct_cropped"),
    *("heart_totalseg_contrast_fov2/ct_cropped", "abdomen_totalseg_3mm", "thigh_sts003/CT_image"),
)
MR = ("mr_abdomen_totalseg_3mm", "thigh_sts003/MR_T1_image")


def volume_of(values, **fields):
    edge = round(len(values) ** (1 / 3))
    voxels = np.rint(values[: edge**3]).reshape(edge, edge, edge)
    grid = StoredGrid(voxels.shape, np.eye(4))
    return Volume(voxels, np.eye(4), grid, Path("p017.nii.gz"), **fields)


def brain(rng, n=125_000, noise=12.0, top=1834.0):
    """Rician noise outside; fluid, grey and white matter and fat, with a bias field."""
    kinds = rng.choice(5, n, p=[0.45, 0.1, 0.2, 0.17, 0.08])
    signal = np.array([0, 0.25, 0.55, 0.72, 1.0])[kinds] * top * rng.uniform(0.75, 1.05, n)
    mixed = rng.random(n) < 0.12  # voxels at a border hold two tissues
    signal = np.where(mixed, signal * rng.random(n), signal)
    return np.hypot(signal + rng.normal(0, noise, n), rng.normal(0, noise, n))


def chest(rng, n=125_000, noise=20.0, ground_glass=0.0):
    """Air, lung, fat, muscle, bone, and what lies between two of them."""
    kinds = rng.choice(5, n, p=[0.35, 0.25, 0.12, 0.23, 0.05])
    places = np.array([-1000.0, -850, -100, 45, 500])[kinds]
    glass = (kinds == 1) & (rng.random(n) < ground_glass)
    places = np.where(glass, rng.uniform(-700, -200, n), places)
    mixed = rng.random(n) < 0.06
    places = np.where(mixed, -900 + rng.random(n) * 945, places)
    return np.clip(places + rng.normal(0, noise, n), -1024, 3071)


@pytest.mark.parametrize("intercept", [-1024, -1000])
@pytest.mark.parametrize("top", [1100, 1400, 1834, 2500, 4000])
@pytest.mark.parametrize("noise", [2.0, 12.0, 30.0])
def test_r2_an_mr_is_refused_whatever_the_metadata_say(intercept, top, noise):
    stored = brain(np.random.default_rng(0), noise=noise, top=top)
    for release in ("first", "corrected", "unknown"):
        with pytest.raises(VolumeError, match=r"p017\.nii\.gz: expected HU"):
            decide_rescale(volume_of(stored), release=release, metadata=(1.0, float(intercept)))


def test_r2_an_mr_is_refused_whatever_its_header_says():
    stored = volume_of(brain(np.random.default_rng(0)), slope=1.0, intercept=-1024.0)
    with pytest.raises(VolumeError, match=r"unlike those of a CT: .*; is it an MR"):
        decide_rescale(stored)


@pytest.mark.parametrize(
    ("noise", "ground_glass"),
    [(5.0, 0.0), (5.0, 0.6), (20.0, 0.0), (20.0, 0.6), (60.0, 0.0), (60.0, 0.3), (100.0, 0.0)],
)
def test_a_shifted_ct_is_taken_with_noise_and_diseased_lungs(noise, ground_glass):
    hu = chest(np.random.default_rng(0), noise=noise, ground_glass=ground_glass)
    stored = volume_of(hu + 1024)
    decision = decide_rescale(stored, release="first", metadata=(1.0, -1024.0))
    np.testing.assert_allclose(
        rescale(stored, decision).values().ravel(), np.rint(hu[: stored.voxels.size] + 1024) - 1024
    )


@pytest.mark.parametrize("name", CT)
@pytest.mark.parametrize("offset", [1024, 8192])
def test_real_ct_is_taken_after_a_shift(name, offset, shared_data):
    volume = read_volume(shared_data / "volumes" / f"{name}.nii.gz")
    stored = np.clip(volume.values(), -1024, None) + offset
    shifted = replace(volume, voxels=stored, slope=1.0, intercept=0.0)
    decision = decide_rescale(shifted, release="first", metadata=(1.0, -float(offset)))
    assert (decision.rule, decision.intercept) == ("metadata", -offset)


@pytest.mark.parametrize("name", MR)
@pytest.mark.parametrize("intercept", [-1024, -1000, -8192])
def test_r2_real_mr_is_refused_at_every_scale(name, intercept, shared_data):
    values = read_volume(shared_data / "volumes" / f"{name}.nii.gz").values().ravel()[::5]
    seen = 0
    for top in np.geomspace(500, 10_000, 25):
        hu = np.rint(values * (top / np.percentile(values, 99.9))) + intercept
        seen += not missing_landmarks(hu)
        assert missing_landmarks(hu) or unlike_ct(hu)
    assert seen > 5 or intercept == -8192


def test_06_negative_numbers_without_their_sign_are_refused_in_any_file():
    stored = np.rint(chest(np.random.default_rng(0)) + 1024)
    stored[:3000] = 63536
    with pytest.raises(VolumeError, match=r"2\.\d+% of the voxels are above 31,000 HU"):
        decide_rescale(volume_of(stored), metadata=(1.0, -1024.0))


@pytest.mark.parametrize("modality", ["MR", "PT", "another"])
def test_r2_what_the_file_says_is_no_ct_is_refused_before_its_values_are_looked_at(modality):
    stored = volume_of(chest(np.random.default_rng(0)), modality=modality)
    with pytest.raises(VolumeError, match=rf"p017.*no CT \(modality: {modality}\)"):
        decide_rescale(stored)
    assert decide_rescale(replace(stored, modality="CT")).rule == "as stored"
