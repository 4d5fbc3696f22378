"""The healthy anatomy: what lies where, what is inside what, and what branches into what."""

from dataclasses import replace

import numpy as np
import pytest

from mg3d.phantom import surfaces
from mg3d.phantom.patient import LOBES, PatientPlan, draw_patient
from mg3d.phantom.scanner import draw_scan
from mg3d.phantom.surfaces import SIGN
from mg3d.phantom.thorax import Thorax, Variation, draw_thorax

GRID = ((90, 60, 94), (4.0, 4.0, 4.0))
HEALTHY = PatientPlan(seed=0, patient=4, sex="M", age=50, findings=())


@pytest.fixture(scope="module")
def builds() -> list[Thorax]:
    return [draw_thorax(draw_patient(12, n), Variation()) for n in range(40)]


@pytest.fixture(scope="module")
def scans():
    quiet = Variation(noise=0, harmless=0)
    plans = [replace(draw_patient(12, n), findings=(), arms="up") for n in range(4)]
    return [draw_scan(plan, *GRID, variation=quiet) for plan in plans]


def test_no_bone_lies_outside_the_body(scans):
    for scan in scans:
        for hu in (scan.hu, scan.hu[:, ::-1]):  # from behind, and from the front
            first = (hu > -250).argmax(axis=1)
            body = (hu > -250).any(axis=1)
            surface = np.take_along_axis(hu, first[:, None], axis=1)[:, 0]
            assert (surface[body] < 250).all()


def test_the_back_is_a_smooth_line(scans):
    for scan in scans:
        tissue = scan.hu[:, :, 44:50] > -200
        skin = tissue.any(axis=2).argmax(axis=1)[5:-5]  # first voxel of the body in each slice
        assert np.abs(np.diff(skin)).max() <= 1


def test_cortex_is_bright_and_marrow_is_not():
    scan = draw_scan(
        HEALTHY, (60, 220, 220), (2.0, 1.0, 1.0), variation=Variation(noise=0, harmless=0)
    )
    bone = scan.hu[scan.hu > 300]
    assert np.percentile(bone, 99) > 850
    assert scan.hu.max() < 1200


def test_the_right_dome_is_higher(builds):
    higher = [build.domes["right"] > build.domes["left"] for build in builds]
    assert np.mean(higher) > 0.9


def test_the_lobes_of_a_lung_fill_it_without_overlap(builds):
    rng = np.random.default_rng(0)
    for build in builds[:10]:
        x, y, z = (rng.uniform(-1, 1, (3, 4000)).T * [130, 90, 140]).T
        for side in SIGN:
            names = [name for of, name in LOBES if of == side]
            inside = [surfaces.lobe(build, side, name, x, y, z) > 0 for name in names]
            assert (np.sum(inside, axis=0) <= 1).all()
            assert (np.sum(inside, axis=0) == 1).mean() > 0.999


def test_each_lobe_lies_where_anatomy_puts_it(builds):
    places = {  # outwards, anterior, superior; mm
        ("right", "upper lobe"): (60, -10, 95),
        ("right", "middle lobe"): (60, 50, -15),
        ("right", "lower lobe"): (60, -70, -40),
        ("left", "upper lobe"): (60, 40, 20),
        ("left", "lower lobe"): (60, -70, -40),
    }
    for build in builds:
        for (side, name), (out, y, z) in places.items():
            x = np.array([SIGN[side] * out])
            assert surfaces.lobe(build, side, name, x, np.array([y]), np.array([z]))[0] > 0


def test_every_lobe_has_a_plausible_share_of_its_lung(builds):
    rng = np.random.default_rng(0)
    x, y, z = (rng.uniform(-1, 1, (3, 20000)).T * [65, 90, 140]).T
    for build in builds[:10]:
        if any(build.pleural_mm.values()):
            continue
        for side, name in LOBES:
            own = x + SIGN[side] * 66
            lung = surfaces.lung(build, side, own, y, z, z) > 0
            share = (lung & (surfaces.lobe(build, side, name, own, y, z) > 0)).sum() / lung.sum()
            low, high = (0.07, 0.3) if name == "middle lobe" else (0.2, 0.7)
            assert low < share < high, (side, name, share)


def test_branches_taper_and_start_where_their_parent_ends(builds):
    for tree in (builds[0].arteries, builds[0].veins, builds[0].bronchi):
        widths = [tree.radius[tree.level == level].mean() for level in range(tree.level.max() + 1)]
        assert np.diff(widths).max() < 0
        for level in range(1, tree.level.max() + 1):
            parents = tree.end[tree.level == level - 1]
            starts = tree.start[tree.level == level]
            np.testing.assert_allclose(starts, np.repeat(parents, 2, axis=0), atol=1e-9)


def test_end_branches_lie_in_their_own_lobe_and_come_near_the_pleura(builds):
    for build in builds[:5]:
        tree = build.arteries
        last = tree.level == tree.level.max()
        depths = []
        for number, (side, name) in enumerate(LOBES):
            x, y, z = tree.end[last & (tree.lobe == number)].T
            inside = surfaces.lobe(build, side, name, x, y, z)
            assert (inside > -3).mean() > 0.97
            depths.append(surfaces.lung(build, side, x, y, z, z))
        assert np.mean(np.concatenate(depths) < 12) > 0.2


def test_a_bronchus_runs_beside_its_artery(builds):
    build = builds[0]
    near = build.arteries.take(build.arteries.level < 3)
    bronchi = build.bronchi.take(build.bronchi.level < 3)
    gap = np.sqrt(((near.end - bronchi.end) ** 2).sum(axis=1)) - near.radius - bronchi.radius
    assert (gap > 0).all()
    assert (gap < 2).all()


def test_the_heart_lies_on_the_diaphragm(builds):
    for build in builds:
        x, y = (np.array([[c]]) for c in build.heart_centre[:2])
        z = np.linspace(-150, 60, 400)[None]
        heart = surfaces.sac(build, x, y, z) > 0
        floor = float(surfaces.diaphragm(build, x, y)[0, 0])
        assert abs(float(z[heart].min()) - floor) < 25


def test_blood_is_bright_with_contrast_material_only():
    plans = HEALTHY, replace(HEALTHY, contrast=True)
    still = Variation(rotation_degrees=0, shift_mm=0, scale=0, warp_mm=0, noise=0)
    plain, bright = (draw_scan(plan, *GRID, variation=still).hu for plan in plans)
    aorta = np.s_[46:50, 18:21, 40:43]
    assert 20 < plain[aorta].mean() < 70
    assert bright[aorta].mean() > 120


def test_bone_is_brighter_at_a_low_tube_voltage():
    marrow = [
        draw_thorax(replace(HEALTHY, tube_kv=kv), Variation()).densities.marrow
        for kv in (140, 120, 100)
    ]
    assert marrow[0] < marrow[1] < marrow[2]


def test_the_lungs_reach_back_beside_the_spine(builds):
    for build in builds:
        y = float(surfaces.spine_y(build, np.float32(-10))) - 27  # behind the vertebral body
        for side, sign in SIGN.items():
            place = (np.full((1, 1, 1), v, np.float32) for v in (sign * 48, y, -10, -10))
            assert float(surfaces.lung(build, side, *place)[0, 0, 0]) > 2


def test_the_halves_of_a_chest_differ(builds):
    def half_width(build, sign):
        x = np.linspace(90, 170, 161, dtype=np.float32)[None, None]
        zero = np.zeros_like(x)
        return float(x[surfaces.cage(build, sign * x, zero, zero[:, :1, :1]) > 0].max())

    gaps = [abs(half_width(build, 1) - half_width(build, -1)) for build in builds]
    assert 1 < np.mean(gaps) < 12
