"""What healthy people have that resembles a finding: metal on the skin, calcium, uneven lungs.

Without it every bright voxel would be a pacemaker or a plaque, and every grey one haze or fluid.
Metal on the skin is not told in a report, as usual; granulomas are, where the plan has them. Depth
of breath, uneven ventilation and fat within muscles are told by no report either.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mg3d.phantom.canvas import Canvas, Point, ellipsoid, tube
from mg3d.phantom.chest_wall import breast, outline
from mg3d.phantom.patient import PatientPlan, stream
from mg3d.phantom.surfaces import cage, cage_front
from mg3d.phantom.thorax import Thorax

# Share of patients with each, drawn for itself.
SHARES = {"electrodes": 0.2, "necklace": 0.12, "fasteners": 0.2, "buckle": 0.12} | {
    "monitor": 0.12,
    "cartilage": 0.5,
    "airway": 0.35,
}
METAL_HU = 2800.0


@dataclass(frozen=True)
class Speck:
    """A small bright ball: place, radii in mm, HU."""

    centre: Point
    radii: Point
    hu: float


def draw_harmless(
    build: Thorax, seed: int, patient: int, more: float = 1.0
) -> tuple[list[Speck], list[tuple[list[Point], float]]]:
    """Specks, and threads (places along them, radius in mm) of one patient.

    Args:
        build: the patient.
        seed: of the whole phantom data set.
        patient: number of the patient.
        more: times the usual `SHARES`.
    """
    rng = stream(seed, patient, "harmless")
    present = {name for name, share in SHARES.items() if rng.random() < more * share}
    specks = _calcium(build, present, rng)
    threads: list[tuple[list[Point], float]] = []
    if "electrodes" in present:
        for _ in range(int(rng.integers(2, 6))):
            x, z = float(rng.uniform(-100, 100)), float(rng.uniform(-110, 90))
            course = _on_skin(build, [(x * (1 - 0.3 * k), z - 36 * k) for k in range(4)])
            specks.append(Speck(course[0], (6.0, 3.5, 6.0), METAL_HU))
            threads.append((course, 1.0))
    if "necklace" in present:
        low, wide = float(rng.uniform(60, 105)), float(rng.uniform(40, 60))
        course = _on_skin(build, [(wide * (k / 3), low + 40 * (k / 3) ** 2) for k in range(-3, 4)])
        threads.append((course, float(rng.uniform(0.8, 2.2))))
        if rng.random() < 0.5:
            size = float(rng.uniform(5, 14))
            specks.append(Speck(course[3], (size, 3.0, 1.2 * size), METAL_HU))
    if "buckle" in present:
        spot = (float(rng.uniform(-95, 95)), float(rng.uniform(-150, 95)))
        half = float(rng.uniform(8, 24)), float(rng.uniform(2.5, 6)), float(rng.uniform(6, 20))
        specks.append(Speck(_on_skin(build, [spot])[0], half, METAL_HU))
    if "monitor" in present:  # a recorder of the heart's beat, or what was left in a pocket
        spot = (float(rng.uniform(-90, 90)), float(rng.uniform(-140, 80)))
        half = float(rng.uniform(12, 24)), float(rng.uniform(3, 6.5)), float(rng.uniform(12, 24))
        specks.append(Speck(_on_skin(build, [spot])[0], half, METAL_HU))
    if "fasteners" in present and build.female:  # hooks of a brassiere behind, wires in front
        z = float(rng.uniform(-40, 0))
        hooks = _on_skin(build, [(-9.0, z), (9.0, z)], behind=True)
        specks += [Speck(place, (4.0, 2.5, 9.0), METAL_HU) for place in hooks]
        for sign in (-1, 1):
            bow = [(sign * (40.0 + 17 * k), z - 22 + 6.0 * (k - 2) ** 2) for k in range(5)]
            threads.append((_on_skin(build, bow), 1.6))
    elif "fasteners" in present:  # a zip, or buttons
        rows = np.arange(-150, 60, float(rng.uniform(14, 60))).tolist()
        buttons = _on_skin(build, [(6.0, z) for z in rows])
        specks += [Speck(place, (3.5, 2.5, 5.0), METAL_HU) for place in buttons]
    return specks, threads


@dataclass(frozen=True)
class Tissue:
    """How the healthy tissue of one patient departs from the average."""

    breath_hu: float  # added to the lung: below 0 a deep breath, above 0 a shallow one
    uneven_hu: float  # height of the waves of uneven ventilation
    waves: np.ndarray  # (waves, 4): wave vector in 1/mm, phase
    muscle_hu: float  # by how much fat between their fibres darkens the chest wall's muscles


def draw_tissue(seed: int, patient: int, more: float = 1.0) -> Tissue:
    """The tissue of one patient; drawn without regard to findings.

    Args:
        seed: of the whole phantom data set.
        patient: number of the patient.
        more: times the usual departures.
    """
    rng = stream(seed, patient, "harmless", 1)
    vectors = rng.standard_normal((4, 3))
    vectors /= np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    vectors *= 2 * np.pi / rng.uniform(50, 130, (4, 1))
    return Tissue(
        breath_hu=more * float(rng.uniform(-35, 25)),
        uneven_hu=more * max(0.0, float(rng.uniform(-20, 26))),
        waves=np.concatenate([vectors, 2 * np.pi * rng.random((4, 1))], axis=1).astype(np.float32),
        muscle_hu=more * max(0.0, float(rng.uniform(-20, 30))),
    )


def _vary_lungs(canvas: Canvas, tissue: Tissue) -> None:
    """Depth of breath and smooth unevenness, in what holds air and not in vessels."""
    for field in canvas.lungs.values():
        x, y, z = canvas.place[:, *field.box]
        change = np.full(field.cover.shape, tissue.breath_hu, np.float32)
        if tissue.uneven_hu:
            for a, b, c, phase in tissue.waves:
                change += np.float32(0.7 * tissue.uneven_hu) * np.sin(a * x + b * y + c * z + phase)
        there = canvas.hu[field.box]
        air = np.clip((-450 - there) * np.float32(1 / 150), 0, 1)
        there += change * field.cover * air
        np.maximum(there, -985, out=there, where=field.cover > 0.5)


def _vary_muscle(canvas: Canvas, build: Thorax, tissue: Tissue) -> None:
    """Fat between the fibres of the muscles outside the rib cage."""
    if not tissue.muscle_hu:
        return
    there = canvas.hu
    muscle = (np.abs(there - build.densities.muscle) < 25) & (
        cage(build, canvas.x, canvas.y, canvas.level) < -2
    )
    there -= np.float32(tissue.muscle_hu) * muscle


def _on_skin(
    build: Thorax, places: list[tuple[float, float]], *, behind: bool = False
) -> list[Point]:
    """Places on the skin at (x, z), mm: in front, or behind."""
    x, z = np.array(places, np.float32).T[:, :, None]
    ys = np.linspace(-135, 135, 136, dtype=np.float32)[None]
    inside = outline(build, x, np.repeat(ys, len(places), axis=0), z) > 0
    first = inside.argmax(axis=1) if behind else 135 - inside[:, ::-1].argmax(axis=1)
    found = ys[0][first] + (-2 if behind else 2)
    if build.female and not behind:
        for sign in (-1, 1):
            centre, radii = breast(build, sign)
            share = ((x[:, 0] - centre[0]) / radii[0]) ** 2 + (
                (z[:, 0] - centre[2]) / radii[2]
            ) ** 2
            over = centre[1] + radii[1] * np.sqrt(np.maximum(1 - share, 0)) + 1
            found = np.where(share < 1, np.maximum(found, over), found)
    return [(a, float(y), c) for (a, c), y in zip(places, found, strict=True)]


def _calcium(build: Thorax, present: set[str], rng: np.random.Generator) -> list[Speck]:
    """In the cartilage of ribs and airways, more with age; granulomas where the plan has them."""
    specks = []
    if "cartilage" in present:
        for _ in range(int(rng.integers(3, 6 + build.age // 6))):
            x, z = float(rng.uniform(18, 62)) * float(rng.choice((-1, 1))), rng.uniform(-70, 70)
            y = float(cage_front(build, np.float32(z))) + 6 - 0.0022 * x * x
            size = float(rng.uniform(1.5, 4.5))
            specks.append(Speck((x, y, float(z)), (1.6 * size, size, size), rng.uniform(350, 900)))
    if "airway" in present:
        for _ in range(int(rng.integers(3, 12))):
            angle, z = float(rng.uniform(0, np.pi)), float(rng.uniform(45, 130))
            place = 10.5 * np.cos(angle), -16 + 10.5 * np.sin(angle), z
            specks.append(Speck(place, (2.0, 1.6, 2.0), float(rng.uniform(250, 700))))
    if "old granuloma" in build.incidental:
        for _ in range(int(rng.integers(2, 5))):
            size, hu = float(rng.uniform(2, 4.5)), float(rng.uniform(500, 1100))
            near = rng.uniform((-8, -30, 18), (12, -22, 30))
            specks.append(Speck(tuple(near.tolist()), (size, size, size), hu))
            deep = rng.uniform((35, -30, -135), (90, 40, -95))
            specks.append(Speck(tuple(deep.tolist()), (size, size, size), hu))
    return specks


def harmless(plan: PatientPlan, build: Thorax, more: float = 1.0) -> Callable[[Canvas], None]:
    """Painter of all of it; small things dim on a coarse grid, but do not vanish."""
    specks, threads = draw_harmless(build, plan.seed, plan.patient, more)
    tissue = draw_tissue(plan.seed, plan.patient, more)

    def paint(canvas: Canvas) -> None:
        _vary_lungs(canvas, tissue)
        _vary_muscle(canvas, build, tissue)
        for speck in specks:
            radii = [canvas.least_radius(r) for r in speck.radii]
            part = ellipsoid(canvas, speck.centre, (radii[0], radii[1], radii[2]))
            if part is not None:
                canvas.paint(*part, speck.hu)
        for places, radius in threads:
            drawn = canvas.least_radius(radius)
            for start, end in pairwise(places):
                part = tube(canvas, start, end, drawn)
                if part is not None:
                    canvas.paint(*part, 100 + (METAL_HU - 100) * (radius / drawn) ** 0.8)

    return paint
