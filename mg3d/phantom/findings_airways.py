"""The signs of airways and pleura, with the scars and airless parts that start from them."""

import numpy as np

from mg3d.phantom.anatomy import lung_cover
from mg3d.phantom.canvas import Canvas, Point, ellipsoid, tube
from mg3d.phantom.patient import LOBES, Finding
from mg3d.phantom.patterns import (
    GRADE,
    NUMBER,
    Painter,
    Waves,
    lobe_cover,
    point,
    sides_of,
    unit,
)
from mg3d.phantom.rods import rods
from mg3d.phantom.surfaces import SIGN
from mg3d.phantom.surfaces import pleural_fluid as fluid_depth
from mg3d.phantom.thorax import Thorax
from mg3d.phantom.trees import HILUM, beside, curved, in_scanner


# Inner radius, mm, of the bronchi by level, as followed to thin ones; and of dilated ones, which
# are wider than the arteries beside them all the way (a signet ring where both are cut across).
BRONCHI = (3.6, 2.6, 1.9, 1.4, 1.15, 0.95, 0.8)
DILATED = (3.6, 3.3, 3.1, 2.9, 2.6, 2.3, 2.0)


def _share(canvas: Canvas, fine: float) -> float:
    """From which cover a thin tube is marked: less on voxels wider than it, which it only dims."""
    return fine if canvas.edge_mm < 4 else 0.5 * fine


def peribronchial_thickening(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Thick walls around the bronchi of both lungs, the lumen as it was: rings and tram tracks."""
    wall = (1.1, 1.5, 2.0)[GRADE[finding.severity]] + 0.25 * float(rng.random())
    tree = curved(in_scanner(beside(build.arteries, BRONCHI), build.pose))
    # Small bronchi have thin walls, even if thick for their size.
    bronchi = tree.take(tree.level > 0)
    thick = bronchi.with_radius(bronchi.radius + wall * (bronchi.radius / 2.6) ** 0.5)

    def paint(canvas: Canvas) -> None:
        inside = lung_cover(canvas)
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
    wide = (0.8 + 0.13 * grade) * rng.uniform(0.85, 1.15, len(groups))
    ill = rng.permutation(len(groups)) < (0.45, 0.65, 0.9)[grade] * len(groups)
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
        for box, wall in rods(canvas, tree, wall_mm):
            cover = wall * inside[box]
            canvas.paint(box, cover, 25)
            canvas.mark(box, cover, NUMBER["Bronchiectasis"], _share(canvas, 0.4))
        for box, lumen in rods(canvas, tree):
            canvas.paint(box, lumen * inside[box], -960)

    return paint


def _base_points(
    build: Thorax, rng: np.random.Generator, side: str, lobe: str | None, depth_mm: float
) -> list[Point]:
    """Places near the lower border of a lobe."""
    places = build.lobe_points(rng, side, lobe, 60, depth_mm)
    return sorted(places, key=lambda place: place[2] - 0.2 * place[1])[:14]


def _outwards(side: str, lobe: str | None, place: np.ndarray) -> np.ndarray:
    """Direction from the lobe's hilum to a place."""
    x, y, z = HILUM[side, str(lobe)] if lobe else (45.0, -12.0, 10.0)
    return unit(place - np.array([SIGN[side] * x, y, z]))


def atelectasis(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Airless plates, or a wedge with its base at the pleura, at the lower border of a lobe.

    The volume that a wedge has lost shows in the build: fissure and diaphragm come nearer.
    """
    grade = GRADE[finding.severity]
    plates: list[tuple[str, np.ndarray, np.ndarray, tuple[float, float, float]]] = []
    wedges: list[tuple[str, np.ndarray, np.ndarray, float, float]] = []
    for side in sides_of(finding):
        places = _base_points(build, rng, side, finding.lobe, 9.0)
        if finding.kind == "linear":
            for _ in range(2 + grade):
                place = np.array(places[int(rng.random() * len(places))])
                out = _outwards(side, finding.lobe, place)
                # A plate stands on the pleura, steep rather than level.
                across = unit(np.array([-out[1], out[0], 0.0]))
                tilt = 0.75 if rng.random() < 0.5 else -0.75
                up = unit(tilt * across + np.array([0, 0, 0.6]) + 0.15 * rng.standard_normal(3))
                along = unit(out - (out * up).sum() * up)
                axes = np.stack([along, np.cross(up, along), up])
                size = (float(rng.uniform(30, 42)), float(rng.uniform(14, 26)), 1.7 + 0.4 * grade)
                plates.append((side, place, axes, size))
        else:
            place = np.array(places[int(rng.random() * len(places))])
            out = _outwards(side, finding.lobe, place)
            length = (38.0, 46.0, 60.0)[grade]
            tip = place - out * 0.6 * length
            wedges.append((side, tip, out, length, (0.50, 0.55, 0.62)[grade]))
    waves = Waves(rng, 30, 4)

    def paint(canvas: Canvas) -> None:
        for side, field in canvas.lungs.items():
            mine = [p for p in plates if p[0] == side], [w for w in wedges if w[0] == side]
            if not any(mine):
                continue
            x, y, z = canvas.place[:, *field.box]
            total = np.zeros(field.cover.shape, np.float32)
            for _, place, axes, (a, b, thick) in mine[0]:
                off = x - place[0].item(), y - place[1].item(), z - place[2].item()
                u, v, w = (sum(c * o for c, o in zip(r, off, strict=True)) for r in axes.tolist())
                round_ = (1 - np.sqrt((u * (1 / a)) ** 2 + (v * (1 / b)) ** 2)) * b
                bent = w + 0.0025 * u * u
                thick = max(thick, 0.3 * canvas.edge_mm)
                np.maximum(total, canvas.cover(np.minimum(thick - np.abs(bent), round_)), out=total)
            for _, tip, out, length, slope in mine[1]:
                off = x - tip[0].item(), y - tip[1].item(), z - tip[2].item()
                along = sum(c * o for c, o in zip(out.tolist(), off, strict=True))
                away = np.sqrt(np.maximum(sum(o * o for o in off) - along * along, 0))
                wedge = np.minimum(slope * along - away, along)
                wedge = np.minimum(wedge, length * 1.15 - along) + 2 * waves(canvas, field.box)
                np.maximum(total, canvas.cover(wedge), out=total)
            cover = total * lobe_cover(canvas, build, field, side, finding.lobe)
            canvas.paint(field.box, cover, 32)
            canvas.mark(field.box, cover, NUMBER["Atelectasis"])

    return paint


def fibrotic_sequela(finding: Finding, build: Thorax, rng: np.random.Generator) -> Painter:
    """Old scars at the lung's top (or base): a cap of thick pleura, bands, specks of calcium."""
    grade = GRADE[finding.severity]
    bands: list[tuple[Point, Point, Point]] = []
    caps: list[tuple[str, Point, float]] = []
    specks: list[Point] = []
    for side in sides_of(finding):
        up = 1 if finding.lobe == "upper lobe" else -1
        places = build.lobe_points(rng, side, finding.lobe, 160, 2.0)
        places = sorted(places, key=lambda p: -up * p[2])[:26]
        middle = np.mean(np.array(places[:10]), axis=0)
        caps.append((side, point(middle), float(rng.uniform(32, 38) + 4 * grade)))
        for _ in range(3 + grade):
            start = np.array(places[int(rng.random() * len(places))])
            inward = -_outwards(side, finding.lobe, start)
            length = float(rng.uniform(22, 42))
            bend = start + 0.5 * length * inward + rng.normal(0, 4, 3)
            end = start + length * inward + rng.normal(0, 3, 3)
            bands.append((point(start - 6 * inward), point(bend), point(end)))
        for _ in range(2 + 2 * grade):
            start = np.array(places[int(rng.random() * len(places))])
            specks.append(point(start + rng.normal(0, 4, 3)))
    waves = Waves(rng, 34, 4)

    def paint(canvas: Canvas) -> None:
        inside = lung_cover(canvas)
        number = NUMBER[finding.name]
        for side, centre, radius in caps:
            cap, lung = ellipsoid(canvas, centre, (radius, radius, radius)), canvas.lungs.get(side)
            if cap is None or lung is None:
                continue
            rim = np.zeros(canvas.hu.shape, np.float32)
            thick = 4 + 1.6 * grade + 1.8 * waves(canvas, lung.box)
            rim[lung.box] = (lung.cover > 0.02) * canvas.cover(thick - lung.depth)
            cover = cap[1] * rim[cap[0]]
            canvas.paint(cap[0], cover, 30)
            canvas.mark(cap[0], cover, number, 0.3)
        wide = max(1.5 + 0.4 * grade, 0.4 * canvas.edge_mm)
        for start, bend, end in bands:
            for part in (
                tube(canvas, start, bend, wide, 0.8 * wide),
                tube(canvas, bend, end, 0.8 * wide, 0.5 * wide),
            ):
                if part is not None:
                    cover = part[1] * inside[part[0]]
                    canvas.paint(part[0], cover, 15)
                    canvas.mark(part[0], cover, number, 0.3)
        radius = canvas.least_radius(1.8)
        for speck in specks:
            part = ellipsoid(canvas, speck, (radius, radius, radius))
            if part is not None:
                cover = part[1] * inside[part[0]]
                canvas.paint(part[0], cover, 500)
                canvas.mark(part[0], cover, number)

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
