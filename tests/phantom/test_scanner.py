"""The scan: the same bytes every time, the stated axes, and densities of a chest."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

import mg3d.phantom.scanner as scanner
from mg3d.phantom.patient import PatientPlan, draw_patient
from mg3d.phantom.scanner import acquisition, draw_scan
from mg3d.phantom.thorax import Variation

TINY = ((48, 32, 48), (7.5, 7.5, 7.5))
FINE = ((80, 64, 96), (4.0, 4.0, 4.0))
HEALTHY = PatientPlan(seed=0, patient=4, sex="M", age=50, findings=())
STILL = Variation(rotation_degrees=0, shift_mm=0, scale=0, warp_mm=0, noise=0)


def digest(patient: int, reconstruction: int = 0) -> str:
    scan = draw_scan(draw_patient(5, patient), *TINY, reconstruction=reconstruction)
    return hashlib.sha256(scan.hu.tobytes() + scan.masks.tobytes()).hexdigest()


def test_a_scan_has_the_same_bytes_in_any_order():
    first = [digest(patient) for patient in (0, 1, 2)]
    assert [digest(patient) for patient in (2, 1, 0)] == first[::-1]
    assert len(set(first)) == 3


def test_a_scan_has_the_same_bytes_in_another_process(repository):
    code = (
        "import hashlib\n"
        "from mg3d.phantom.patient import draw_patient\n"
        "from mg3d.phantom.scanner import draw_scan\n"
        "scan = draw_scan(draw_patient(5, 2), (48, 32, 48), (7.5, 7.5, 7.5))\n"
        "print(hashlib.sha256(scan.hu.tobytes() + scan.masks.tobytes()).hexdigest())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=repository, check=True
    )
    assert ran.stdout.strip() == digest(2)


def test_a_scan_does_not_depend_on_how_many_slices_are_painted_at_once(monkeypatch):
    whole = draw_scan(draw_patient(5, 6), *TINY)
    monkeypatch.setattr(scanner, "SLAB_VOXELS", 5 * 32 * 48)
    parts = draw_scan(draw_patient(5, 6), *TINY)
    assert (whole.hu == parts.hu).all()
    assert (whole.masks == parts.masks).all()


def test_reconstructions_differ_in_noise_and_share_masks():
    plan = draw_patient(5, 1)
    first, second = (draw_scan(plan, *TINY, reconstruction=r) for r in (0, 1))
    assert (first.hu != second.hu).any()
    assert (first.masks == second.masks).all()
    assert np.abs(first.hu.astype(float) - second.hu).mean() < 30


def test_the_affine_runs_upwards_forwards_and_to_the_right():
    scan = draw_scan(HEALTHY, (48, 32, 40), (7.0, 7.5, 8.0))
    centre = scan.affine @ [(48 - 1) / 2, (32 - 1) / 2, (40 - 1) / 2, 1]
    np.testing.assert_allclose(centre, [0, 0, 0, 1], atol=1e-9)
    steps = scan.affine[:3, :3]
    np.testing.assert_array_equal(steps, [[0, 0, 8.0], [0, 7.5, 0], [7.0, 0, 0]])


def at(scan, right: float, front: float, up: float) -> float:
    """Mean HU of the 3 x 3 x 3 voxels around a place in RAS+ mm."""
    h, w, d = np.linalg.solve(scan.affine, [right, front, up, 1])[:3].round().astype(int)
    return float(scan.hu[h - 1 : h + 2, w - 1 : w + 2, d - 1 : d + 2].mean())


@pytest.fixture(scope="module")
def healthy():
    return draw_scan(HEALTHY, *FINE, variation=STILL)


def test_landmarks_have_the_density_of_what_they_are(healthy):
    assert -900 < at(healthy, 75, -10, 60) < -750  # right lung
    assert -900 < at(healthy, -75, -10, 60) < -750  # left lung
    assert 0 < at(healthy, -20, 12, -35) < 90  # heart
    assert 30 < at(healthy, 70, 10, -120) < 80  # liver
    assert at(healthy, 0, -14, 90) < -700  # windpipe
    assert 90 < at(healthy, 0, -66, 6) < 500  # a vertebra
    assert at(healthy, 0, 118, 100) < -900  # air in front
    assert 0 < at(healthy, -18, -42, 10) < 80  # descending aorta, left of the spine


def test_the_heart_points_left_and_the_liver_lies_right(healthy):
    tissue = (healthy.hu > 0) & (healthy.hu < 100)
    heart = tissue[24:36, 30:50]  # at the height of the heart, in front of the spine
    assert heart[:, :, :46].sum() > heart[:, :, 50:].sum()
    belly = tissue[8:14, 24:44]
    assert belly[:, :, 58:80].mean() > belly[:, :, 16:38].mean() + 0.2


def test_lungs_make_up_a_plausible_volume(healthy):
    litres = (healthy.hu[:, 10:58, 16:80] < -700).sum() * 64 / 1e6
    assert 2.5 < litres < 8


def test_a_fine_and_a_coarse_grid_show_the_same_body():
    plan = draw_patient(5, 3)
    quiet = Variation(noise=0)
    fine = draw_scan(plan, (96, 64, 96), (3.75,) * 3, variation=quiet).hu
    coarse = draw_scan(plan, *TINY, variation=quiet).hu.astype(float)
    averaged = fine.reshape(48, 2, 32, 2, 48, 2).astype(float).mean(axis=(1, 3, 5))
    assert np.corrcoef(averaged.ravel(), coarse.ravel())[0, 1] > 0.97


def test_sharp_kernels_are_noisier_than_soft_ones():
    lung = np.s_[26:34, 14:18, 34:38]
    spread = {}
    for kernel in (scanner.SOFT[0], scanner.SHARP[0]):
        plan = next(
            p for p in (draw_patient(5, n) for n in range(500)) if acquisition(p).kernel == kernel
        )
        noisy = draw_scan(plan, *TINY).hu.astype(float)
        quiet = draw_scan(plan, *TINY, variation=Variation(noise=0)).hu
        spread[kernel.name] = (noisy - quiet)[lung].std()
    assert spread["B60f"] > 1.5 * spread["B30f"]


@pytest.mark.parametrize(("kernel", "low", "high"), [("B30f", 0.5, 0.95), ("B60f", -0.6, -0.02)])
def test_noise_has_the_grain_of_its_kernel(kernel, low, high):
    plan = next(
        p for p in (draw_patient(5, n) for n in range(500)) if acquisition(p).kernel.name == kernel
    )
    shape, spacing_mm = (8, 60, 200), (2.0, 0.75, 0.75)
    air = draw_scan(plan, shape, spacing_mm).hu[:, :8].astype(float)  # a strip: no edges in air
    quiet = draw_scan(plan, shape, spacing_mm, variation=Variation(noise=0)).hu[:, :8]
    noise = (air - quiet)[:, 1:-1, 5:-5]
    neighbours = np.corrcoef(noise[..., :-1].ravel(), noise[..., 1:].ravel())[0, 1]
    assert low < neighbours < high


def test_some_slices_are_those_of_the_whole_scan():
    plan, quiet = draw_patient(5, 6), Variation(noise=0)
    whole = draw_scan(plan, *TINY, variation=quiet)
    some = scanner.draw_slices(plan, *TINY, range(20, 29), variation=quiet)
    assert (some.hu == whole.hu[20:29]).all()
    assert (some.masks == whole.masks[20:29]).all()
    np.testing.assert_allclose(some.affine @ [0, 0, 0, 1], whole.affine @ [20, 0, 0, 1])


def test_acquisitions_vary_as_clinical_ones_do():
    facts = [acquisition(draw_patient(0, patient)) for patient in range(300)]
    assert {fact.reconstructions for fact in facts} == {1, 2, 3}
    assert len({fact.orientation for fact in facts}) >= 4
    thick = {fact.spacing_mm[0] for fact in facts}
    assert (min(thick), max(thick)) == (0.75, 5.0)
    assert all(0.6 < fact.spacing_mm[1] < 0.8 for fact in facts)
    assert all(280 < fact.shape[0] * fact.spacing_mm[0] < 400 for fact in facts)
    coarse = acquisition(draw_patient(0, 0), coarseness=6.0)
    assert coarse.spacing_mm[0] == 6 * facts[0].spacing_mm[0]
    assert coarse == acquisition(draw_patient(0, 0), coarseness=6.0)


def test_reconstructions_of_one_scan_share_orientation_and_place():
    plan = next(
        p
        for p in map(lambda n: draw_patient(0, n), range(50))
        if acquisition(p).reconstructions > 1
    )
    first, second = acquisition(plan, 0), acquisition(plan, 1)
    assert (first.orientation, first.centre_mm) == (second.orientation, second.centre_mm)
    assert first.kernel != second.kernel


def test_a_grid_that_shows_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 8 voxels"):
        draw_scan(HEALTHY, (4, 32, 48), (7.5, 7.5, 7.5))
    with pytest.raises(ValueError, match="positive spacing"):
        draw_scan(HEALTHY, (48, 32, 48), (7.5, 0.0, 7.5))
