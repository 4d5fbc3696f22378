"""The trees of the lung, grown once per patient: arteries, veins, and bronchi beside the arteries.

A lobe is filled with end points. They are split in two halves along their longer side again and
again; a branch grows towards the middle of the points it still has to reach, and is as thick as
their number wants it (Murray's law: the cube of a parent's radius is the sum of its children's).
All lobes grow at once, level by level.

Source: Murray CD, "The physiological principle of minimum work", PNAS 12:207 (1926).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mg3d.phantom.patient import LOBES
from mg3d.phantom.surfaces import SIGN, lobe, lung

if TYPE_CHECKING:
    from mg3d.phantom.canvas import Pose
    from mg3d.phantom.thorax import Thorax

LEVELS = 8  # of branching within a lobe: 256 end points
ENDS = 2**LEVELS
TIP_MM = 0.62  # radius of the thinnest branches
# How far towards the middle of its points a branch grows: little at first, so that the tree opens
# like a fan from the hilum, all the way at last.
REACH = (0.2, 0.26, 0.28, 0.3, 0.34, 0.38, 0.42, 0.5, 1.0)
BRONCHUS_LEVELS = 5  # bronchi are followed that far: their walls are too thin beyond

# Where the vessels and bronchi of a lobe enter it, and the veins leave it: x outwards, mm.
HILUM = {
    ("right", "upper lobe"): (44.0, -8.0, 33.0),
    ("right", "middle lobe"): (47.0, -4.0, -5.0),
    ("right", "lower lobe"): (46.0, -20.0, -8.0),
    ("left", "upper lobe"): (45.0, -6.0, 28.0),
    ("left", "lower lobe"): (47.0, -24.0, 0.0),
}
VEIN = {
    ("right", "upper lobe"): (42.0, 6.0, 12.0),
    ("right", "middle lobe"): (42.0, 4.0, -6.0),
    ("right", "lower lobe"): (36.0, -20.0, -22.0),
    ("left", "upper lobe"): (45.0, 6.0, 12.0),
    ("left", "lower lobe"): (40.0, -26.0, -16.0),
}


@dataclass(frozen=True)
class Tree:
    """Branches as tapering rods.

    Attributes:
        start: (n, 3) body mm; likewise `end`.
        radius: (n,) mm.
        lobe: (n,) index into `LOBES`.
        level: (n,) 0 for a lobe's stem, 1 for its two branches, and so on.
        scanner: (n, 6) start and end again, scanner mm: the body's pose and bending undone.
    """

    start: np.ndarray
    end: np.ndarray
    radius: np.ndarray
    lobe: np.ndarray
    level: np.ndarray
    scanner: np.ndarray

    def take(self, which: np.ndarray) -> "Tree":
        """Some of the branches."""
        return Tree(*(array[which] for array in vars(self).values()))

    def with_radius(self, radius: np.ndarray) -> "Tree":
        """The same branches, otherwise thick."""
        return replace(self, radius=radius)


def together(one: Tree, other: Tree) -> Tree:
    """The branches of both."""
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return Tree(*(np.concatenate(pair) for pair in pairs))


def grow_trees(build: "Thorax", calibre: float, rng: np.random.Generator) -> tuple[Tree, ...]:
    """Arteries, veins and bronchi of both lungs."""
    artery_ends, vein_ends = _end_points(build, rng)
    arteries = _grow(artery_ends, _roots(HILUM), calibre, rng)
    veins = _grow(vein_ends, _roots(VEIN), 0.95 * calibre, rng)
    trees = arteries, veins, _accompany(arteries)
    # Each branch starts where its parent ends, so only the ends and the roots are moved.
    stems = len(LOBES)
    places = build.pose.scanner(
        np.concatenate([part for tree in trees for part in (tree.start[:stems], tree.end)])
    )
    found, first = [], 0
    for tree in trees:
        n = len(tree.radius)
        roots, end = places[first : first + stems], places[first + stems : first + stems + n]
        start = np.concatenate([roots, np.repeat(end[: (n - stems) // 2], 2, axis=0)])
        found.append(replace(tree, scanner=np.concatenate([start, end], axis=1)))
        first += stems + n
    return tuple(found)


def _roots(places: dict[tuple[str, str], tuple[float, float, float]]) -> np.ndarray:
    return np.array([[SIGN[s] * places[s, n][0], *places[s, n][1:]] for s, n in LOBES])


def _end_points(build: "Thorax", rng: np.random.Generator) -> np.ndarray:
    """End points in every lobe, for arteries and veins: (2, lobes, ENDS, 3), evenly spread."""
    golden = np.array([0.8191725, 0.6710436, 0.5497005])  # of the additive sequence in 3 dimensions
    share = (rng.random(3) + np.arange(1, 2801)[:, None] * golden) % 1
    low, high = np.array([8, -96, -150]), np.array([135, 78, 132])
    places = low + share * (high - low)
    ends = np.empty((2, len(LOBES), ENDS, 3))
    depth = {}
    for number, (side, name) in enumerate(LOBES):
        x, y, z = places[:, 0] * SIGN[side], places[:, 1], places[:, 2]
        if side not in depth:
            depth[side] = lung(build, side, x, y, z, z)
        room = np.minimum(depth[side] - 2, lobe(build, side, name, x, y, z) - 2)
        inside = np.flatnonzero(room > 0)
        if len(inside) < 8:  # a lobe that fluid or a large heart leaves no room
            inside = np.argsort(-room, kind="stable")[:8]
        chosen = np.resize(inside, 2 * ENDS) if len(inside) < 2 * ENDS else inside[: 2 * ENDS]
        # Of more places than are needed, take every k-th, so that no part of the lobe is empty.
        if len(inside) > 2 * ENDS:
            chosen = inside[(np.arange(2 * ENDS) * len(inside)) // (2 * ENDS)]
        found = np.stack([x, y, z], axis=1)[chosen]
        ends[0, number], ends[1, number] = found[::2], found[1::2]
    return ends + rng.normal(0, 2.0, ends.shape)


def _grow(ends: np.ndarray, roots: np.ndarray, calibre: float, rng: np.random.Generator) -> Tree:
    """A binary tree from each root to all its end points."""
    lobes = len(roots)
    groups = ends[:, None]  # (lobes, groups, points, 3)
    here = roots[:, None]  # (lobes, groups, 3)
    parts = []
    for level in range(LEVELS + 1):
        count = groups.shape[2]
        middle = groups.mean(axis=2)
        uneven = 0.0  # no two branches are equally long
        if 0 < level < LEVELS:
            uneven = 0.15 if level < BRONCHUS_LEVELS else 0.45
        reach = REACH[level] * rng.uniform(1 - uneven, 1 + uneven, (*middle.shape[:2], 1))
        tip = here + reach * (middle - here)
        if 0 < level < LEVELS:
            length = np.sqrt(((tip - here) ** 2).sum(axis=-1, keepdims=True))
            tip = tip + (0.05 if level < BRONCHUS_LEVELS else 0.1) * length * rng.standard_normal(
                tip.shape
            )
        radius = calibre * TIP_MM * count ** (1 / 2.5)
        n = lobes * groups.shape[1]
        spread = rng.uniform(0.85, 1.15, n) if level > 1 else np.ones(n)
        parts.append(
            (
                here.reshape(n, 3),
                tip.reshape(n, 3),
                radius * spread,
                np.repeat(np.arange(lobes), groups.shape[1]),
                np.full(n, level),
                np.zeros((n, 6)),
            )
        )
        if level == LEVELS:
            break
        wide = (groups.max(axis=2) - groups.min(axis=2)).argmax(axis=-1)  # (lobes, groups)
        along = np.take_along_axis(groups, wide[..., None, None], axis=3)[..., 0]
        order = np.argsort(along, axis=2, kind="stable")
        groups = np.take_along_axis(groups, order[..., None], axis=2)
        groups = groups.reshape(lobes, -1, count // 2, 3)
        here = np.repeat(tip, 2, axis=1)
    return Tree(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _accompany(arteries: Tree) -> Tree:
    """Bronchi: the arteries' first branches again, moved aside by both radii."""
    return beside(arteries, (3.6, 2.6, 1.9, 1.35, 1.0))


def beside(arteries: Tree, radius: Sequence[float], gap_mm: float = 0.8) -> Tree:
    """Bronchi that accompany the arteries, one radius (mm) for each level they are followed to.

    `scanner` is still the arteries'.
    """
    near = arteries.take(arteries.level < len(radius))
    wide = np.array(radius)[near.level]
    along = near.end - near.start
    # Beside the artery, on its medial side: at right angles to it and to the body's long axis.
    side = np.stack([along[:, 1], -along[:, 0], 0.35 * np.abs(along[:, 0])], axis=1)
    side /= np.sqrt((side**2).sum(axis=1, keepdims=True)) + 1e-6
    inward = -np.sign(near.start[:, :1]) * side[:, :1]
    side = np.where(inward < 0, -side, side)
    away = side * (near.radius + wide + gap_mm)[:, None]
    end = near.end + away
    # A branch starts where its parent ends.
    start = near.start + away
    for level in range(1, len(radius)):
        start[near.level == level] = np.repeat(end[near.level == level - 1], 2, axis=0)
    return Tree(start, end, wide, near.lobe, near.level, near.scanner)


def in_scanner(tree: Tree, pose: "Pose") -> Tree:
    """The branches with their places in the scanner worked out from those in the body."""
    places = pose.scanner(np.concatenate([tree.start, tree.end]))
    n = len(tree.radius)
    return replace(tree, scanner=np.concatenate([places[:n], places[n:]], axis=1))


def curved(tree: Tree, pieces: int = 3) -> Tree:
    """The branches of a whole tree as smooth curves, each of some straight pieces.

    A branch leaves in the direction of its parent and ends in its own (cubic Hermite curve), so
    that a tube along several branches has no corners.

    Args:
        tree: all branches from level 0 on, level by level; of any lobes.
        pieces: into which a branch is cut.
    """
    share = np.arange(pieces + 1)[:, None, None] / pieces
    ends = []
    for start, end in ((tree.start, tree.end), (tree.scanner[:, :3], tree.scanner[:, 3:])):
        own = end - start
        length = np.sqrt((own**2).sum(axis=1, keepdims=True)) + 1e-6
        from_parent = own / length
        for level in range(int(tree.level.max()), 0, -1):
            parents = from_parent[tree.level == level - 1]
            from_parent[tree.level == level] = np.repeat(parents, 2, axis=0)
        leaving = 0.85 * length * from_parent
        t2, t3 = share**2, share**3
        ends.append(
            start + (3 * t2 - 2 * t3) * own + (t3 - 2 * t2 + share) * leaving + (t3 - t2) * own
        )
    body, scanner = ends
    radius = tree.radius * (1 - 0.07 * np.arange(pieces)[:, None] / pieces)
    return Tree(
        body[:-1].reshape(-1, 3),
        body[1:].reshape(-1, 3),
        radius.reshape(-1),
        np.tile(tree.lobe, pieces),
        np.tile(tree.level, pieces),
        np.concatenate([scanner[:-1], scanner[1:]], axis=2).reshape(-1, 6),
    )
