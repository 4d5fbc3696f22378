"""A healthy thorax in HU, painted from the outside in.

Order matters: what is painted later covers what was there. Wall, belly and bones first; then the
lungs, which fill what the other organs leave; then heart and vessels, which reach into them.
"""

import numpy as np

from mg3d.phantom.abdomen import paint_belly
from mg3d.phantom.canvas import EVERYWHERE, Canvas, LungField
from mg3d.phantom.chest_wall import FAT, paint_neck, paint_wall
from mg3d.phantom.mediastinum import depth_between, paint_mediastinum
from mg3d.phantom.rods import rods
from mg3d.phantom.skeleton import paint_bones
from mg3d.phantom.surfaces import (
    SIGN,
    above_horizontal,
    above_oblique,
    apex,
    backbone,
    diaphragm,
    mediastinum,
    spine_y,
)
from mg3d.phantom.thorax import Thorax
from mg3d.phantom.trees import Tree, curved, together

FISSURE_MM = 0.45  # half the thickness of a fissure
BRONCHUS_WALL_MM = 0.6
FISSURES_BELOW_MM = 3.0  # edge of a voxel from which fissures are not drawn
CURVES_BELOW_MM = 3.0  # likewise branches are bent
BENT_LEVELS = 7  # of branches that are long enough to look bent
GRAIN_BELOW_MM = 4.0  # likewise the lung's fine texture


def paint_thorax(canvas: Canvas, build: Thorax) -> None:
    """Paint the healthy thorax and leave `canvas.lungs` for the findings."""
    cage = paint_wall(canvas, build)
    paint_belly(canvas, build, cage)
    floor = canvas.z - diaphragm(build, canvas.x, canvas.y)
    between = mediastinum(build, canvas.x, canvas.y, canvas.level)
    depth_between(canvas, build, between)
    fat = np.minimum(np.minimum(cage + 2, floor), between + 2)
    canvas.paint(EVERYWHERE, canvas.cover(fat), FAT)
    paint_neck(canvas, build, cage)
    _paint_beside_spine(canvas, build, cage)
    paint_bones(canvas, build, cage)
    wall = np.minimum(np.minimum(cage, apex(build, canvas.x, canvas.y, canvas.z)), 0.8 * floor)
    outside = np.minimum(wall, -between)
    for side in ("right", "left"):
        _paint_lung(canvas, build, side, outside)
    paint_mediastinum(canvas, build)
    _paint_trees(canvas, build)


def _paint_beside_spine(canvas: Canvas, build: Thorax, cage: np.ndarray) -> None:
    """Muscle and ligaments between the vertebrae and the ribs' heads."""
    box = canvas.box((0, -70, 0), (46, 40, 290))
    if box is None:
        return
    x, y, level = canvas.x[box], canvas.y[box], canvas.level[box[0]]
    behind = spine_y(build, level) - y
    inside = np.minimum(backbone(build, x, y, level) - 1.5, behind - 2)
    canvas.paint(box, canvas.cover(np.minimum(inside, cage[box] + 3)), build.densities.muscle)


def _paint_lung(canvas: Canvas, build: Thorax, side: str, outside: np.ndarray) -> None:
    """One lung: air with a little tissue, denser towards the back; keeps its field."""
    sign = SIGN[side]
    box = canvas.box((sign * 68 * build.width, -8, -8), (74 * build.width, 98, 150))
    if box is None:
        return
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    depth = np.minimum(outside[box], sign * x)
    cover = canvas.cover(depth)
    hu = np.float32(build.densities.lung) - np.float32(build.gravity) * y
    for a, b, c, phase, height in build.texture.astype(np.float32):
        hu += height * np.sin(a * x + b * y + c * z + phase)
    if build.dependent_hu:
        near = np.clip(1 - depth * np.float32(1 / build.dependent_mm), 0, 1)
        near *= np.clip((-20 - y) * np.float32(1 / 40), 0, 1)
        hu += np.float32(build.dependent_hu) * near * near
    if canvas.edge_mm < GRAIN_BELOW_MM:
        hu += _grain(build, x, y, z)
    if canvas.edge_mm < FISSURES_BELOW_MM:
        gaps = np.abs(above_oblique(build, side, x, y, z))
        if side == "right":
            level = np.abs(above_horizontal(build, x, y, z))
            gaps = np.minimum(gaps, np.where(above_oblique(build, side, x, y, z) > 0, level, 99))
        drawn = max(FISSURE_MM, 0.5 * canvas.edge_mm)
        hu += canvas.cover(drawn - gaps) * np.float32(280 * FISSURE_MM / drawn)
    canvas.paint(box, cover, hu)
    canvas.lungs[side] = LungField(box, depth, cover)


def _grain(build: Thorax, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Fine texture of the lung in HU, mostly towards dense."""
    waves = []
    for a, b, c, phase, _ in build.grain.astype(np.float32):
        waves.append(np.sin(a * x + b * y + c * z + phase))
    product = (waves[0] + waves[1] + waves[2]) * (waves[3] + waves[4] + waves[5])
    return np.float32(build.grain[0, 4]) * product


def _paint_trees(canvas: Canvas, build: Thorax) -> None:
    """Vessels of the lungs, and the bronchi beside them: a wall, then the air."""
    inside = lung_cover(canvas)
    tissue = build.densities
    veins, arteries, bronchi = build.veins, build.arteries, build.bronchi
    if canvas.edge_mm < CURVES_BELOW_MM:
        veins, arteries, bronchi = _bent(veins), _bent(arteries), curved(bronchi)
    trees = [(veins, tissue.left_blood), (arteries, tissue.right_blood)]
    if tissue.left_blood == tissue.right_blood:
        trees = [(together(veins, arteries), tissue.left_blood)]
    for tree, hu in trees:
        for box, cover in rods(canvas, tree):
            canvas.paint(box, cover * inside[box], hu)
    for more, hu in ((BRONCHUS_WALL_MM, -300.0), (0.0, -960.0)):
        for box, cover in rods(canvas, bronchi, more, thin_ones=False):
            canvas.paint(box, cover * inside[box], hu)


def _bent(tree: Tree) -> Tree:
    """A tree whose larger branches are curves."""
    large = tree.level < BENT_LEVELS
    return together(curved(tree.take(large)), tree.take(~large))


def lung_cover(canvas: Canvas) -> np.ndarray:
    """Share of each voxel that is lung, both lungs; 0 elsewhere."""
    inside = np.zeros(canvas.hu.shape, np.float32)
    for field in canvas.lungs.values():
        np.maximum(inside[field.box], field.cover, out=inside[field.box])
    return inside
