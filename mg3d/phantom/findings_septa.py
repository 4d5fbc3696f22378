"""Interlobular septal thickening: the walls of the lobules below the pleura.

Lobules are the Voronoi cells of seeds that lie in a layer below the pleura, with a second layer
further in: two seeds equally deep have a wall between them that stands on the pleura at right
angles, and the inner layer closes the cells. So a slice shows thin straight lines that meet in
polygons, and arcades at the pleura.

Source: Webb WR, "Thin-section CT of the secondary pulmonary lobule", Radiology 239:322 (2006):
lobules measure 10 to 25 mm and are best formed at the pleura.
"""

import numpy as np

from mg3d.phantom.canvas import Canvas
from mg3d.phantom.patient import Finding
from mg3d.phantom.patterns import GRADE, NUMBER, Painter, Waves, lobe_cover
from mg3d.phantom.surfaces import SIGN, lung
from mg3d.phantom.thorax import Thorax

CELL_MM = 18.0
LEAST_MM = 9.0  # from one seed to the next
LAYERS = ((3.0, 13.0), (18.0, 30.0))  # depths below the pleura between which seeds lie


def lobule_seeds(build: Thorax, side: str, rng: np.random.Generator) -> np.ndarray:
    """The middles of the lobules near the pleura of one lung, (n, 3) body mm.

    Places on a fine lattice are put in boxes of `CELL_MM`; the middle of each box's places is a
    seed, unless the box holds few.
    """
    step = 6.0
    axes = [np.arange(low, high, step) for low, high in ((4, 140), (-104, 82), (-150, 132))]
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    x, y, z = (g + o for g, o in zip(grid, rng.uniform(0, step, 3), strict=True))
    x = x * SIGN[side]
    depth = lung(build, side, x, y, z, z)
    turn = rng.uniform(0, CELL_MM, 3)
    found = []
    for number, (low, high) in enumerate(LAYERS):
        index = np.nonzero((depth > low) & (depth < high))
        place = np.stack([x.ravel()[index[0]], y.ravel()[index[1]], z.ravel()[index[2]]], axis=1)
        if not len(place):
            continue
        box = np.floor((place + turn + 7.0 * number) / CELL_MM).astype(int)
        box -= box.min(axis=0)
        _, wide, tall = (box.max(axis=0) + 1).tolist()
        flat = (box[:, 0] * wide + box[:, 1]) * tall + box[:, 2]
        count = np.bincount(flat)
        middle = np.stack([np.bincount(flat, place[:, k]) for k in range(3)], axis=1)
        kept = count >= max(3, 0.35 * np.median(count[count > 0]))
        found.append(middle[kept] / count[kept, None])
    seeds = np.concatenate(found) if found else np.empty((0, 3))
    seeds = seeds + rng.normal(0, 2.2, seeds.shape)
    away = np.sqrt(((seeds[:, None] - seeds[None]) ** 2).sum(axis=2))
    return seeds[~np.triu(away < LEAST_MM, 1).any(axis=0)]  # of two that are close, the first


def septal_thickening(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Thin lines of the outer lung that close to polygons; more of the lung has them if severe."""
    grade = GRADE[finding.severity]
    seeds = {side: lobule_seeds(build, side, rng) for side in SIGN}
    half_mm = (0.5, 0.65, 0.8)[grade] + 0.1 * float(rng.random())
    regions = Waves(rng, 95, 4)
    spared = np.float32((0.0, -0.4, -0.9)[grade])
    missing = (0.3, 0.15, 0.05)[grade]  # share of the walls that are not thick
    outer_mm = float(rng.uniform(19, 25) + 3 * grade)

    def paint(canvas: Canvas) -> None:
        half = canvas.widened(half_mm)
        drawn = max(half, 0.3 * canvas.edge_mm)
        for side, field in canvas.lungs.items():
            near = (field.depth > -canvas.edge_mm) & (field.depth < outer_mm + 3)
            if len(seeds[side]) < 3 or not near.any():
                continue
            net = np.zeros(field.cover.shape, np.float32)
            place = canvas.place[:, *field.box][:, near].T
            gap, wall = _nearest_wall(seeds[side], place)
            net[near] = canvas.cover(np.float32(drawn) - gap) * (wall > missing)
            net *= np.float32(half / drawn)
            net *= np.clip((outer_mm - field.depth) * np.float32(1 / 6), 0, 1)
            net *= np.clip((regions(canvas, field.box) - spared) * np.float32(3), 0, 1)
            net *= lobe_cover(canvas, build, field, side, finding.lobe)
            canvas.paint(field.box, net, np.maximum(canvas.hu[field.box], 0))
            canvas.mark(field.box, net, NUMBER[finding.name], 0.12)

    return paint


def _nearest_wall(seeds: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The wall of the Voronoi cell that is near each of (n, 3) places.

    Returns:
        The distance to it, mm (n,), and a number from 0 to 1 that goes with the wall (n,): small
        for a wall that lies in an axial plane, where it would be a patch on one slice.
    """
    from scipy.spatial import cKDTree

    away, number = cKDTree(seeds).query(place, k=2)
    across = seeds[number[:, 0]] - seeds[number[:, 1]]
    between = np.sqrt((across**2).sum(axis=1))
    gap = (away[:, 1] ** 2 - away[:, 0] ** 2) / (2 * between)
    low, high = number.min(axis=1), number.max(axis=1)
    own = ((low * 7919 + high * 104729) % 997) / 997
    level = np.clip((np.abs(across[:, 2]) / between - 0.75) * 4, 0, 1)
    return gap.astype(np.float32), own * (1 - level)
