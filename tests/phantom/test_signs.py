"""The shapes of signs in the airways, septa and airless lung, in the millimetres of textbooks."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from mg3d.phantom import canvas
from mg3d.phantom import findings_airways as airways
from mg3d.phantom.findings_lung import nodules
from mg3d.phantom.findings_scars import linear_bands
from mg3d.phantom.findings_septa import LEAST_MM, lobule_seeds
from mg3d.phantom.patient import Finding, PatientPlan
from mg3d.phantom.scanner import draw_scan
from mg3d.phantom.surfaces import SIGN, lung
from mg3d.phantom.thorax import Thorax, Variation, draw_thorax
from mg3d.phantom.trees import Tree, curved


@pytest.fixture(scope="module")
def build() -> Thorax:
    return draw_thorax(PatientPlan(seed=3, patient=1, sex="M", age=60, findings=()), Variation())


def corners(tree: Tree, pieces: int) -> np.ndarray:
    """Angles in degrees between a branch's end and the start of the two that leave it."""
    n = len(tree.radius) // pieces
    direction = tree.end - tree.start
    direction /= np.sqrt((direction**2).sum(axis=1, keepdims=True))
    first, last = direction[:n], direction[-n:]
    level, found = tree.level[:n], []
    for k in range(1, int(level.max()) + 1):
        parents = np.repeat(last[level == k - 1], 2, axis=0)
        found.append((parents * first[level == k]).sum(axis=1))
    return np.degrees(np.arccos(np.clip(np.concatenate(found), -1, 1)))


def test_curved_branches_join_without_corners(build):
    straight = build.bronchi
    bent = curved(straight)
    n = len(straight.radius)
    np.testing.assert_allclose(bent.start[:n], straight.start, atol=1e-9)
    np.testing.assert_allclose(bent.end[-n:], straight.end, atol=1e-9)
    np.testing.assert_allclose(bent.start[n:], bent.end[:-n], atol=1e-9)
    np.testing.assert_allclose(bent.scanner[n:, :3], bent.scanner[:-n, 3:], atol=1e-9)
    sharp = corners(straight, 1).mean()
    assert corners(bent, 3).mean() < 0.75 * sharp
    assert corners(curved(straight, 12), 12).mean() < 0.25 * sharp


def test_a_dilated_bronchus_is_wider_than_its_artery(build):
    arteries = build.arteries
    for level in range(2, len(airways.DILATED)):
        mean = arteries.radius[arteries.level == level].mean()
        assert airways.DILATED[level] * 0.9 * 0.9 > 0.95 * mean, level  # the least of the mild
        assert airways.BRONCHI[level] < airways.DILATED[level]


def test_lobules_below_the_pleura_measure_10_to_25_mm(build):
    for side in SIGN:
        seeds = lobule_seeds(build, side, np.random.default_rng(0))
        x, y, z = seeds.T
        assert (lung(build, side, x, y, z, z) > -6).mean() > 0.98
        apart = cKDTree(seeds).query(seeds, k=2)[0][:, 1]
        assert apart.min() >= LEAST_MM
        assert 10 <= np.median(apart) <= 25


@pytest.mark.parametrize("severity", ["mild", "moderate"])
def test_linear_atelectasis_is_2_to_5_mm_thick_and_reaches_the_pleura(build, severity):
    finding = Finding("Atelectasis", severity, side="left", lobe="lower lobe", kind="linear")
    bands = linear_bands(finding, build, np.random.default_rng(0), "left")
    assert len(bands) >= 2
    for band in bands:
        assert 2 <= 2 * band.half_thick <= 5
        x, y, z = band.place[:, None]
        assert lung(build, "left", x, y, z, z)[0] < 3


def test_healthy_nodes_are_smaller_than_8_mm(build):
    assert build.nodes
    assert all(2 * min(radii) < 8 for _, radii in build.nodes)


def test_a_nodule_is_drawn_where_a_lobe_has_no_room_left(build):
    class Full(Thorax):  # a lobe that fluid fills: every place lies outside it
        def lobe_points(self, rng, side, lobe, count, deep):
            return [(60.0, 0.0, float(z)) for z in range(count)]

        def room(self, side, lobe, x, y, z):
            return -1.0 - z

    finding = Finding("Lung nodule", "mild", side="right", lobe="lower lobe", size_mm=8.0, count=2)
    balls = nodules(finding, Full(**vars(build)), np.random.default_rng(0))
    assert balls[0].centre == (60.0, 0.0, 0.0)  # the least bad place
    assert len(balls) == 2


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("Lung nodule", {"kind": "solid", "side": "right", "lobe": "lower lobe", "size_mm": 10.0}),
        ("Interlobular septal thickening", {"side": "both"}),
        ("Peribronchial thickening", {"side": "both"}),
        ("Bronchiectasis", {"side": "right", "lobe": "lower lobe"}),
    ],
)
def test_a_thin_sign_is_as_said_on_fine_voxels_and_wider_on_coarse_ones(name, attributes):
    """The tissue a sign adds, HU times volume, on both grids, with and without the widening."""
    finding = Finding(name, "moderate", **attributes)

    def added(spacing: float, shape: tuple[int, int, int]) -> float:
        ill, well = (
            draw_scan(
                PatientPlan(seed=3, patient=1, sex="M", age=60, findings=findings),
                shape,
                (spacing,) * 3,
                variation=Variation(noise=0.0),
            )
            for findings in ((finding,), ())
        )
        change = ill.hu.astype(float) - well.hu
        return float(np.maximum(change, 0).sum()) * spacing**3

    coarse, fine = (7.5, (48, 32, 48)), (3.0, (120, 80, 120))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canvas, "WIDENED_ABOVE_MM", 1e6)
        true = {grid: added(*grid) for grid in (coarse, fine)}
    assert added(*fine) == true[fine]
    assert added(*coarse) > 1.3 * true[coarse]
