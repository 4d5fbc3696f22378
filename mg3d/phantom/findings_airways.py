"""The signs of the airways, and fluid in the pleural space."""

import numpy as np

from mg3d.phantom.anatomy import lung_cover
from mg3d.phantom.canvas import Canvas
from mg3d.phantom.patient import LOBES, Finding
from mg3d.phantom.patterns import (
    GRADE,
    NUMBER,
    Painter,
    sides_of,
)
from mg3d.phantom.rods import rods
from mg3d.phantom.surfaces import pleural_fluid as fluid_depth
from mg3d.phantom.thorax import Thorax
from mg3d.phantom.trees import beside, curved, in_scanner

# Inner radius, mm, of the bronchi by level, as followed to thin ones; and of dilated ones, which
# are wider than the arteries beside them all the way (a signet ring where both are cut across).
BRONCHI = (3.6, 2.6, 1.9, 1.4, 1.15, 0.95, 0.8)
DILATED = (4.2, 4.1, 4.0, 3.5, 2.9, 2.4, 2.0)


def _share(canvas: Canvas, fine: float) -> float:
    """From which cover a thin tube is marked: less on voxels wider than it, which it only dims."""
    return fine if canvas.edge_mm < 4 else 0.5 * fine


def peribronchial_thickening(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Thick walls around the bronchi of both lungs, the lumen as it was: rings and tram tracks."""
    wall = (1.1, 1.5, 2.0)[GRADE[finding.severity]] + 0.25 * float(rng.random())
    tree = curved(in_scanner(beside(build.arteries, BRONCHI), build.pose))
    # Small bronchi have thin walls, even if thick for their size.
    bronchi = tree.take(tree.level > 0)

    def paint(canvas: Canvas) -> None:
        inside = lung_cover(canvas)
        more = canvas.widened(wall * (bronchi.radius / 2.6) ** 0.5)
        thick = bronchi.with_radius(bronchi.radius + more)
        for box, cuff in rods(canvas, thick):
            cover = cuff * inside[box]
            canvas.paint(box, cover, 10)
            canvas.mark(box, cover, NUMBER[finding.name], _share(canvas, 0.35))
        for box, lumen in rods(canvas, bronchi):
            canvas.paint(box, lumen * inside[box], -900)

    return paint


def bronchiectasis(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """The lobe's bronchi, wider than the arteries beside them, hardly tapering, thick of wall."""
    grade = GRADE[finding.severity]
    wanted = {(side, finding.lobe) for side in sides_of(finding)}
    lobes = [number for number, place in enumerate(LOBES) if place in wanted]
    arteries = build.arteries.take(np.isin(build.arteries.lobe, lobes))
    tree = in_scanner(beside(arteries, DILATED, gap_mm=1.4), build.pose)
    # Groups of bronchi are spared, more in mild disease; a group is wide as a whole.
    groups = np.arange(len(lobes) * 8)
    wide = (0.9 + 0.1 * grade) * rng.uniform(0.9, 1.15, len(groups))
    ill = rng.permutation(len(groups)) < (0.6, 0.8, 0.95)[grade] * len(groups)
    size, shown = np.ones(len(tree.radius)), tree.level == 2
    for level in range(3, len(DILATED)):
        here, branches = tree.level == level, 2 ** (level - 3)
        size[here] = np.repeat(wide, branches)
        shown[here] = np.repeat(ill, branches)
    size *= rng.uniform(0.92, 1.08, len(size))  # not quite a cylinder
    tree = curved(tree.with_radius(tree.radius * size)).take(np.tile(shown, 3))
    wall_mm = 0.9 + 0.15 * grade

    def paint(canvas: Canvas) -> None:
        inside = lung_cover(canvas)
        wide = tree.with_radius(canvas.widened(tree.radius))
        for box, wall in rods(canvas, wide, canvas.widened(wall_mm)):
            cover = wall * inside[box]
            canvas.paint(box, cover, 25)
            canvas.mark(box, cover, NUMBER["Bronchiectasis"], _share(canvas, 0.4))
        for box, lumen in rods(canvas, wide):
            canvas.paint(box, lumen * inside[box], -960)

    return paint


def pleural_effusion(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Free fluid behind the lung; the lung before it is pushed together and denser."""
    hu = float(rng.uniform(0, 28))

    def paint(canvas: Canvas) -> None:
        for side in sides_of(finding):
            field = canvas.lungs.get(side)
            if field is None:
                continue
            x, y, z = canvas.place[:, *field.box]
            fluid = fluid_depth(build, side, x, y, z, canvas.level[field.box[0]])
            reach = 6 + 0.3 * build.pleural_mm[side]
            pressed = np.clip(1 + fluid * np.float32(1 / reach), 0, 1)
            canvas.hu[field.box] += np.float32(330) * pressed * pressed * field.cover
            np.minimum(canvas.hu[field.box], 60, out=canvas.hu[field.box], where=field.cover > 0.5)
            cover = canvas.cover(fluid)
            field.depth = np.minimum(field.depth, -fluid)
            # Voxels that are partly chest wall become all fluid: no rim of lung is left between.
            canvas.paint(field.box, cover * (field.cover > 0.02), hu)
            canvas.mark(field.box, cover * field.cover, NUMBER["Pleural effusion"], 0.4)
            field.cover = field.cover * (1 - cover)

    return paint
