"""One patient's build: sizes, places and densities of the thorax, in mm of an average body.

Everything here is drawn once per patient and says where things are; `anatomy` paints them. Body
coordinates: x towards the patient's right, y anterior, z superior, origin in the middle of the
chest. `Variation` holds how much patients differ, which makes the data set easy or hard.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mg3d.phantom.canvas import Point, Pose
from mg3d.phantom.patient import LOBES, PatientPlan, stream

SIGN = {"right": 1.0, "left": -1.0}
HEART_GROWTH = {"mild": 1.18, "moderate": 1.28, "severe": 1.4}


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How much healthy patients differ: one standard deviation, unless it says otherwise."""

    rotation_degrees: float = 1.0
    shift_mm: float = 2.5
    scale: float = 0.03
    warp_mm: float = 2.5  # height of the waves that bend the body
    chest: float = 0.03  # width and depth of the chest, each
    heart: float = 0.03
    diaphragm_mm: float = 4.0  # how deep the breath was
    lung_hu: float = 8.0
    texture_hu: float = 6.0  # slow waves in the lung
    vessel_spread: float = 0.1  # calibre of the lung's vessels
    contrast_share: float = 0.0  # of patients, given contrast agent (0 to 1)
    noise: float = 0.7  # times the scanner's usual noise


@dataclass(frozen=True)
class Thorax:
    """The drawn build of one patient; lengths in mm of the average body, densities in HU."""

    pose: Pose
    female: bool
    width: float  # 1 is average; likewise depth, heart
    depth: float
    heart: float
    heart_centre: Point
    heart_axes: np.ndarray  # (3, 3), rows: long axis, towards the front, across
    effusion_mm: float  # fluid around the heart
    pleural_mm: dict[str, float]  # fluid below each lung, by side
    domes: dict[str, float]  # z of the top of the diaphragm, by side
    fat_mm: float
    bone_hu: float
    blood_hu: float
    lung_hu: float
    texture: np.ndarray  # (waves, 5): wave vector in 1/mm, phase, height in HU
    vessels: tuple[tuple[Point, Point, float], ...]  # start, end, radius
    bronchi: tuple[tuple[Point, Point, float], ...]

    def lung_depth(self, side: str, x, y, z, level) -> Float[np.ndarray, "..."]:
        """How deep below the chest wall and diaphragm a point lies; negative outside the lung.

        Args:
            side: "left" or "right".
            x: body mm; likewise y, z.
            level: z again, or z per slice, for the slow change of the outline.
        """
        f = np.float32
        rise = np.clip((level + f(55)) / f(185), f(-1), f(0.995))
        rise = np.maximum(rise, f(0))
        profile = np.sqrt(1 - rise * rise)
        half_x = f(63 * self.width) * profile
        half_y = f(86 * self.depth) * np.sqrt(profile)
        centre_x = f(SIGN[side]) * (f(67 * self.width) - f(20) * rise * rise)
        u = (x - centre_x) / half_x
        v = (y + (f(6) + f(12) * rise)) / half_y
        u = u * u
        v = v * v
        outline = np.sqrt(np.sqrt(u * u + v * v + f(1.35) * u * v))
        wall = (1 - outline) * (f(0.5) * (half_x + half_y))
        return np.minimum(wall, f(0.85) * (z - self.dome(side, x, y)))

    def pleural_fluid(self, side: str, y, z) -> Float[np.ndarray, "..."]:
        """How far fluid reaches into the lung from its surface, mm; most at the back and base."""
        f = np.float32
        back = np.clip((f(30) - y) * f(1 / 75), 0, 1)
        low = np.clip((f(45) - z) * f(1 / 100), 0, 1)
        return f(1.15 * self.pleural_mm[side]) * back * (f(0.25) + f(0.75) * low) * np.sqrt(low)

    def dome(self, side: str, x, y) -> Float[np.ndarray, "..."]:
        """Height z of that side's diaphragm."""
        f = np.float32
        across = (x - f(SIGN[side] * 58)) * f(1 / 72)
        along = (y - f(16)) * f(1 / 90)
        return f(self.domes[side]) - f(58) * (across * across + along * along)

    def lobe_points(
        self, rng: np.random.Generator, side: str, lobe: str | None, count: int, depth_mm: float
    ) -> list[Point]:
        """Random places in a lobe, at least `depth_mm` deep where the lobe has room for that."""
        low, high = np.array([4, -92, -125]), np.array([132, 82, 125])
        x, y, z = (low + rng.random((400, 3)) * (high - low)).T
        x = x * SIGN[side]
        room = self.lung_depth(side, x, y, z, z)
        room = room - np.maximum(self.pleural_fluid(side, y, z), 0)
        room = np.minimum(room, lobe_distance(side, lobe, y, z))
        room = np.minimum(room, self.medial_gap(x, y, z))
        best = np.argsort(-np.minimum(room, depth_mm), kind="stable")[:count]
        return [(float(x[i]), float(y[i]), float(z[i])) for i in best]

    def medial_gap(self, x, y, z) -> Float[np.ndarray, "..."]:
        """Distance to the mediastinum and heart, mm; negative inside them."""
        offset = [p - c for p, c in zip((x, y, z), self.heart_centre, strict=True)]
        radii = self.heart_radii()
        turned = [
            sum(self.heart_axes[a][k] * offset[k] for k in range(3)) / radii[a] for a in range(3)
        ]
        heart = (np.sqrt(turned[0] ** 2 + turned[1] ** 2 + turned[2] ** 2) - 1) * min(radii)
        return np.minimum(heart, np.abs(x) - 30)

    def heart_radii(self) -> Point:
        """Half axes of the heart muscle's outline, mm."""
        return (61 * self.heart, 45 * self.heart, 43 * self.heart)


def lobe_distance(side: str, lobe: str | None, y, z) -> Float[np.ndarray, "..."]:
    """Distance into a lobe from its fissures, mm; the whole lung for None."""
    f = np.float32
    above_oblique = (z - f(50) + f(0.9) * (y + f(85))) * f(1 / 1.345)
    above_horizontal = z - f(8)
    if lobe is None:
        return np.full_like(above_oblique, 1000)
    if lobe == "lower lobe":
        return -above_oblique
    if side == "left":
        return above_oblique
    if lobe == "middle lobe":
        return np.minimum(above_oblique, -above_horizontal)
    return np.minimum(above_oblique, above_horizontal)


def draw_thorax(plan: PatientPlan, variation: Variation) -> Thorax:
    """The build of one patient; equal plans give equal builds."""
    rng = stream(plan.seed, plan.patient, "anatomy")
    v = variation

    def vary(spread: float) -> float:
        return float(1 + spread * np.clip(rng.standard_normal(), -2.5, 2.5))

    pose = _draw_pose(rng, v)
    female = plan.sex == "F"
    breath = v.diaphragm_mm * float(np.clip(rng.standard_normal(), -2, 2))
    domes = {"right": -58 - breath, "left": -70 - breath + 4 * float(rng.standard_normal())}
    heart = vary(v.heart) * (0.96 if female else 1.0)
    lean = math.radians(42 + 6 * float(rng.standard_normal()))
    dip = math.radians(28 + 5 * float(rng.standard_normal()))
    centre = (-19 + 3 * rng.standard_normal(), 12 + 3 * rng.standard_normal(), 0.0)
    findings = {finding.name: finding for finding in plan.findings}
    if "Cardiomegaly" in findings:
        heart *= HEART_GROWTH[findings["Cardiomegaly"].severity]
        centre = (centre[0] - 30 * (heart - 1), centre[1], 0.0)
    effusion, pleural = findings.get("Pericardial effusion"), findings.get("Pleural effusion")
    width, depth, fat = vary(v.chest), vary(v.chest), float(np.clip(rng.gamma(5, 3.6), 7, 36))
    scalars = {
        "width": width * (0.95 if female else 1.0),
        "depth": depth * (0.95 if female else 1.0),
        "fat_mm": fat,
        "bone_hu": float(230 - 1.6 * plan.age + 25 * rng.standard_normal()),
        "blood_hu": float(rng.uniform(140, 260) if rng.random() < v.contrast_share else 40),
        "lung_hu": float(-850 + v.lung_hu * np.clip(rng.standard_normal(), -2, 2)),
    }
    waves = rng.standard_normal((4, 3)) * np.array([[0.02], [0.03], [0.06], [0.09]])
    phases, heights = rng.random((4, 1)) * 2 * math.pi, v.texture_hu * rng.random((4, 1)) * 0.9
    build = Thorax(
        pose=pose,
        female=female,
        heart=heart,
        heart_centre=(
            float(centre[0]),
            float(centre[1]),
            (domes["left"] + domes["right"]) / 2 - 14 + 46 * heart,
        ),
        heart_axes=_heart_axes(lean, dip),
        effusion_mm=effusion.size_mm or 0.0 if effusion else 0.0,
        pleural_mm={
            side: pleural.size_mm or 0.0 if pleural and pleural.side in (side, "both") else 0.0
            for side in SIGN
        },
        domes=domes,
        texture=np.concatenate([waves, phases, heights], axis=1),
        vessels=(),
        bronchi=(),
        **scalars,
    )
    calibre = vary(v.vessel_spread)
    vessels, bronchi = _grow_trees(build, calibre, rng)
    return Thorax(**{**vars(build), "vessels": vessels, "bronchi": bronchi})


def _draw_pose(rng: np.random.Generator, v: Variation) -> Pose:
    """Turned about the three axes, scaled and shifted; drawn with limits, as positioning has."""
    angles = np.radians(v.rotation_degrees) * np.clip(rng.standard_normal(3), -2, 2)
    (ca, cb, cc), (sa, sb, sc) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    about_y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    about_z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    turn = np.einsum("ij,jk,kl->il", about_x, about_y, about_z, optimize=False)
    scale = 1 + v.scale * np.clip(rng.standard_normal(3), -2, 2) * np.array([0.6, 0.6, 1.0])
    scale = scale * (1 + v.scale * np.clip(rng.standard_normal(), -2, 2) * 0.7)
    shift = v.shift_mm * np.clip(rng.standard_normal(3), -2, 2) * np.array([1, 0.6, 1.6])
    return Pose(turn / scale[:, None], shift, v.warp_mm, rng.random((3, 4)) * 2 * math.pi)


def _heart_axes(lean: float, dip: float) -> np.ndarray:
    """Long axis to the left, front and below; the other two at right angles to it."""
    long = np.array(
        [-math.cos(dip) * math.cos(lean), math.cos(dip) * math.sin(lean), -math.sin(dip)]
    )
    across = np.array([math.sin(lean), math.cos(lean), 0.0])
    up = np.array(
        [
            long[1] * across[2] - long[2] * across[1],
            long[2] * across[0] - long[0] * across[2],
            long[0] * across[1] - long[1] * across[0],
        ]
    )
    return np.stack([long, across, up])


Tree = tuple[tuple[Point, Point, float], ...]


def _grow_trees(build: Thorax, calibre: float, rng: np.random.Generator) -> tuple[Tree, Tree]:
    """Vessels and larger bronchi of all lobes, from the hilum outwards, ever thinner."""
    vessels: list[tuple[Point, Point, float]] = []
    bronchi: list[tuple[Point, Point, float]] = []
    for side, lobe in LOBES:
        hilum = np.array([SIGN[side] * (34 if side == "right" else 36), -14.0, 6.0])
        places = np.array(build.lobe_points(rng, side, lobe, 60, 5.0))
        trunk = 0.5 * (hilum + places.mean(axis=0)) + rng.normal(0, 3, 3)
        vessels.append((_point(hilum), _point(trunk), 4.2 * calibre))
        airway = trunk + np.array([0, -7, 3])
        bronchi.append((_point(hilum + np.array([0, 4, 6])), _point(airway), 3.6))
        forks = trunk + 0.6 * (places[:5] - trunk) + rng.normal(0, 4, (5, 3))
        gaps = np.sqrt(((places[None] - forks[:, None]) ** 2).sum(axis=-1))
        tips = []
        for fork, gap in zip(forks, gaps, strict=True):
            vessels.append((_point(trunk), _point(fork), 2.4 * calibre))
            bronchi.append((_point(airway), _point(fork + np.array([0, -4, 2])), 2.1))
            for end in places[(gap > 14) & (gap < 55)][:5]:
                tips.append(fork + 0.9 * (end - fork))
                vessels.append((_point(fork), _point(tips[-1]), 1.6 * calibre))
        ends = np.array(tips)[:, None] + rng.normal(0, 14, (25, 3, 3))[: len(tips)]
        x, y, z = np.moveaxis(ends, -1, 0)
        inside = build.lung_depth(side, x, y, z, z) > 2
        for tip, row, keep in zip(tips, ends, inside, strict=True):
            vessels += [(_point(tip), _point(end), 1.0 * calibre) for end in row[keep]]
    return tuple(vessels), tuple(bronchi)


def _point(place: np.ndarray) -> Point:
    x, y, z = place.tolist()
    return x, y, z
