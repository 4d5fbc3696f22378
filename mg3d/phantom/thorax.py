"""One patient's build: sizes, places and densities of the thorax, in mm of an average body.

Everything here is drawn once per patient; `surfaces` turns it into shapes and `anatomy` paints
them. Body coordinates: x towards the patient's right, y anterior, z superior, origin in the middle
of the chest. `Variation` holds how much patients differ, which makes the data set easy or hard.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mg3d.phantom import surfaces
from mg3d.phantom.canvas import Point, Pose
from mg3d.phantom.patient import Finding, PatientPlan, stream
from mg3d.phantom.surfaces import SIGN
from mg3d.phantom.trees import Tree, grow_trees

HEART_GROWTH = {"mild": 1.17, "moderate": 1.27, "severe": 1.38}
DOME_RISE = {"mild": 3.0, "moderate": 6.0, "severe": 12.0}  # mm that a lobe's lost volume pulls
NO_TREE = Tree(*(np.zeros(s) for s in ((0, 3), (0, 3), 0, 0, 0, (0, 6))))


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How much healthy patients differ: one standard deviation, unless it says otherwise."""

    rotation_degrees: float = 0.7
    shift_mm: float = 1.5
    scale: float = 0.02
    warp_mm: float = 1.5  # height of the waves that bend the body
    chest: float = 0.02  # width and depth of the chest, each
    heart: float = 0.03
    diaphragm_mm: float = 4.0  # how deep the breath was
    fissure_mm: float = 3.0
    uneven: float = 0.02  # by how much one half of the chest is wider
    lung_hu: float = 14.0
    texture_hu: float = 7.0  # slow waves in the lung
    vessel_spread: float = 0.08  # calibre of the lung's vessels
    harmless: float = 1.0  # times the usual share of people with metal on the skin or old calcium
    noise: float = 0.5  # times the scanner's usual noise


@dataclass(frozen=True)
class Densities:
    """HU of the tissues that contrast agent, tube voltage, age or breath change."""

    lung: float
    marrow: float
    cortex: float
    right_blood: float  # caval veins, right heart, pulmonary arteries
    left_blood: float  # pulmonary veins, left heart, aorta
    muscle_of_heart: float
    liver: float
    spleen: float
    kidney: float
    muscle: float  # of the chest wall; fat grows into it with age


@dataclass(frozen=True)
class Thorax:
    """The drawn build of one patient; lengths in mm of the average body, densities in HU."""

    pose: Pose
    female: bool
    age: int
    incidental: tuple[str, ...]
    arms: Literal["up", "down"]
    width: float  # 1 is average; likewise depth, heart, breast
    depth: float
    heart: float
    breast: float
    roundness: float  # of the rib cage from above; 2: an ellipse, less: more of a box
    roundness_behind: float
    uneven: float  # how much wider the right half is, share
    twist: float  # how far forward the left half is, mm in a mm
    junction_mm: float  # how far to the right the lungs meet in front
    heart_centre: Point
    heart_axes: np.ndarray  # (3, 3), rows: along to the apex, towards the front, upwards
    motion_mm: float  # how far the beating heart's border is blurred
    effusion_mm: float  # fluid around the heart
    pleural_mm: dict[str, float]  # fluid behind each lung, by side
    domes: dict[str, float]  # z of the top of the diaphragm, by side
    oblique_mm: dict[str, float]  # how much higher than usual the fissures are
    horizontal_mm: float
    kyphosis: float  # 1 is average
    scoliosis_mm: float
    scoliosis_phase: float
    vertebra_shift: float
    aorta_mm: float  # radius of the descending aorta
    fat_mm: float
    bulk: float  # how much the muscles of the chest wall bulge, 1 is average
    folds: np.ndarray  # (3,) phases of the waves of the fat below the skin
    nodes: tuple[tuple[Point, Point], ...]  # healthy lymph nodes: middle and radii
    densities: Densities
    stomach: float  # how full, 1 is average
    stomach_gas: float  # share of the stomach's height
    texture: np.ndarray  # (waves, 5): wave vector in 1/mm, phase, height in HU
    grain: np.ndarray  # likewise, short ones: lobules, and vessels too thin to be drawn
    gravity: float  # HU by which the lung grows denser in a mm towards the back
    dependent_hu: float  # how much denser still it is where it lies on the back
    dependent_mm: float  # and how far that reaches
    arteries: Tree
    veins: Tree
    bronchi: Tree

    def lobe_points(
        self, rng: np.random.Generator, side: str, lobe: str | None, count: int, depth_mm: float
    ) -> list[Point]:
        """Random places in a lobe, at least `depth_mm` deep where the lobe has room for that.

        The lobe is without what fluid fills; where it is narrower than twice `depth_mm`, its
        middle is taken.
        """
        low, high = np.array([4, -94, -135]), np.array([132, 76, 128])
        x, y, z = (low + rng.random((700, 3)) * (high - low)).T
        x = x * SIGN[side]
        room = self.room(side, lobe, x, y, z)
        best = np.argsort(-np.minimum(room, depth_mm), kind="stable")[:count]
        return [(float(x[i]), float(y[i]), float(z[i])) for i in best]

    def room(
        self, side: str, lobe: str | None, x: np.ndarray, y: np.ndarray, z: np.ndarray
    ) -> np.ndarray:
        """How deep a place lies in the aerated part of a lobe, mm; negative outside."""
        room = surfaces.lung(self, side, x, y, z, z)
        if self.pleural_mm[side]:
            room = np.minimum(room, -surfaces.pleural_fluid(self, side, x, y, z, z))
        return np.minimum(room, surfaces.lobe(self, side, lobe, x, y, z))


def draw_thorax(plan: PatientPlan, variation: Variation) -> Thorax:
    """The build of one patient; equal plans give equal builds."""
    rng = stream(plan.seed, plan.patient, "anatomy")
    v = variation

    def spread(share: float) -> float:
        return float(1 + share * np.clip(rng.standard_normal(), -2.5, 2.5))

    def shift(mm: float) -> float:
        return float(mm * np.clip(rng.standard_normal(), -2, 2))

    own = stream(plan.seed, plan.patient, "shape")
    pose = _draw_pose(rng, v)
    female = plan.sex == "F"
    findings = {finding.name: finding for finding in plan.findings}
    breath = shift(v.diaphragm_mm)
    domes = {"right": -54 - breath, "left": -66 - breath + shift(3)}
    oblique = {side: shift(v.fissure_mm) for side in SIGN}
    horizontal = shift(v.fissure_mm)
    pull = _lost_volume(findings.get("Atelectasis"))
    for side, (rise, lobe) in pull.items():
        domes[side] += rise
        oblique[side] += {"upper lobe": 1.2, "middle lobe": 0.8}.get(str(lobe), -1.8) * rise
        if side == "right":
            horizontal += {"upper lobe": 1.5, "middle lobe": -0.8}.get(str(lobe), -0.6) * rise
    heart = spread(v.heart) * (1.0 if female else 1.06)
    lean, dip = math.radians(44 + shift(4)), math.radians(27 + shift(3))
    if "Cardiomegaly" in findings:
        heart *= HEART_GROWTH[findings["Cardiomegaly"].severity]
    centre_x, centre_y = -16 + shift(2) - 26 * (heart - 1), 16 + shift(2) + 8 * (heart - 1)
    effusion, pleural = findings.get("Pericardial effusion"), findings.get("Pleural effusion")
    effusion_mm = effusion.size_mm or 0.0 if effusion else 0.0
    # The heart lies on the diaphragm, on its fluid if there is any.
    centre_y += 0.25 * effusion_mm
    centre_z = 0.5 * (domes["left"] + domes["right"]) + 33 * heart + 0.35 * effusion_mm
    slim = 0.95 if female else 1.0
    waves = rng.standard_normal((4, 3)) * np.array([[0.02], [0.03], [0.06], [0.09]])
    phases, heights = rng.random((4, 1)) * 2 * math.pi, v.texture_hu * rng.random((4, 1)) * 0.9
    build = Thorax(
        pose=pose,
        female=female,
        age=plan.age,
        incidental=plan.incidental,
        arms=plan.arms,
        width=spread(v.chest) * slim,
        depth=spread(v.chest) * slim,
        heart=heart,
        breast=float(rng.uniform(0.6, 1.35)),
        roundness=1.45 + shift(0.25),
        roundness_behind=float(own.uniform(0.5, 1.1)),
        uneven=v.uneven * float(np.clip(own.standard_normal(), -2, 2)),
        twist=1.5 * v.uneven * float(np.clip(own.standard_normal(), -2, 2)),
        junction_mm=float(own.uniform(-9, 5)),
        heart_centre=(centre_x, centre_y, centre_z),
        heart_axes=_heart_axes(lean, dip),
        motion_mm=plan.heart_motion_mm,
        effusion_mm=effusion_mm,
        pleural_mm={
            side: pleural.size_mm or 0.0 if pleural and pleural.side in (side, "both") else 0.0
            for side in SIGN
        },
        domes=domes,
        oblique_mm=oblique,
        horizontal_mm=horizontal,
        kyphosis=max(0.5, 0.75 + 0.006 * plan.age + shift(0.12)),
        scoliosis_mm=shift(1.6),
        scoliosis_phase=float(rng.random() * 2 * math.pi),
        vertebra_shift=shift(4),
        aorta_mm=float(np.clip(10.5 + 0.035 * plan.age + shift(0.7), 10, 15)),
        fat_mm=float(np.clip(rng.gamma(5, 3.2), 6, 30)),
        densities=_densities(plan, v, rng, breath),
        stomach=float(rng.uniform(0.78, 1.12)),
        stomach_gas=float(rng.uniform(0.2, 0.7)),
        texture=np.concatenate([waves, phases, heights], axis=1),
        grain=_draw_grain(own),
        # Air trapping and shallow breath make the gradient, haze at the back comes from lying.
        gravity=float(own.uniform(0.08, 0.75)),
        dependent_hu=max(0.0, float(own.uniform(-150, 230))),
        dependent_mm=float(own.uniform(9, 26)),
        bulk=float(own.uniform(0.4, 1.2)) * (0.75 if female else 1.0),
        folds=own.random(3) * 2 * math.pi,
        nodes=_draw_nodes(own),
        arteries=NO_TREE,
        veins=NO_TREE,
        bronchi=NO_TREE,
    )
    calibre = spread(v.vessel_spread)
    arteries, veins, bronchi = grow_trees(build, calibre, rng)
    return replace(build, arteries=arteries, veins=veins, bronchi=bronchi)


def _lost_volume(atelectasis: Finding | None) -> dict[str, tuple[float, str | None]]:
    """By side: how much a collapse pulls the diaphragm up, mm, and which lobe shrank."""
    if atelectasis is None or atelectasis.kind == "linear":
        return {}
    rise = DOME_RISE[atelectasis.severity]
    return {side: (rise, atelectasis.lobe) for side in SIGN if atelectasis.side in (side, "both")}


# Where healthy people have lymph nodes: beside windpipe and arch, before the great vessels, below
# the carina and the arch, beside the oesophagus. Body mm.
NODE_PLACES = (
    (14, -6, 76), (15, -9, 62), (13, 0, 94), (-12, -13, 50), (-21, 2, 46), (-14, -12, 92),
    (-10, 27, 68), (4, 31, 74), (14, 34, 58), (-14, 30, 50), (4, -25, 32), (-3, -24, 36),
    (9, -33, 8),
)  # fmt: skip


def _draw_nodes(rng: np.random.Generator) -> tuple[tuple[Point, Point], ...]:
    """Lymph nodes with a short axis of 3 to 7.5 mm in most of their places."""
    present = rng.random(len(NODE_PLACES)) < 0.7
    places = np.array(NODE_PLACES) + rng.normal(0, 2, (len(NODE_PLACES), 3))
    short = rng.uniform(1.5, 3.7, len(NODE_PLACES))
    long = short[:, None] * rng.uniform(1.05, 1.9, (len(NODE_PLACES), 2))
    radii = np.stack([long[:, 0], short, long[:, 1]], axis=1)
    chosen = np.flatnonzero(present)
    return tuple((tuple(places[k].tolist()), tuple(radii[k].tolist())) for k in chosen)


def _draw_grain(rng: np.random.Generator) -> np.ndarray:
    """Waves of 7 to 16 mm; two groups of them are multiplied, which looks less regular."""
    vectors = rng.standard_normal((6, 3))
    vectors /= np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    vectors *= 2 * math.pi / rng.uniform(7, 16, (6, 1))
    return np.concatenate([vectors, rng.random((6, 1)) * 2 * math.pi, np.full((6, 1), 8.0)], axis=1)


def _densities(
    plan: PatientPlan, v: Variation, rng: np.random.Generator, breath_mm: float
) -> Densities:
    """Non-contrast blood is 40 HU; iodine and bone are brighter at a low tube voltage.

    A shallow breath leaves the lung denser.
    """
    lung = -848 + v.lung_hu * float(np.clip(rng.standard_normal(), -2, 2)) - 2.5 * breath_mm
    bone = float(np.clip(260 - 1.9 * plan.age + 30 * rng.standard_normal(), 60, 320))
    blood = 38 + 5 * float(np.clip(rng.standard_normal(), -2, 2))
    first, second = float(rng.uniform(110, 210)), float(rng.uniform(120, 200))
    low_kv = (120 / plan.tube_kv) ** 1.3
    cortex = 950.0 - 2.0 * max(plan.age - 50, 0) + 60 * float(np.clip(rng.standard_normal(), -2, 1))
    spare = float(rng.normal(0, 4)) - 24 * ("fatty liver" in plan.incidental)
    muscle = 64 - 0.3 * plan.age + 7 * float(np.clip(rng.standard_normal(), -2, 1.5))
    if not plan.contrast:
        bones = bone * low_kv, cortex * low_kv
        return Densities(lung, *bones, blood, blood, blood + 5, 57 + spare, 48, 32, muscle)
    return Densities(
        lung=lung,
        marrow=bone * low_kv,
        cortex=cortex * low_kv,
        right_blood=blood + first * low_kv,
        left_blood=blood + second * low_kv,
        muscle_of_heart=95,
        liver=88 + spare,
        spleen=105,
        kidney=150,
        muscle=muscle + 6,
    )


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
    along = np.array(
        [-math.cos(dip) * math.cos(lean), math.cos(dip) * math.sin(lean), -math.sin(dip)]
    )
    front = np.array([math.sin(lean), math.cos(lean), 0.0])
    up = np.array(
        [
            front[1] * along[2] - front[2] * along[1],
            front[2] * along[0] - front[0] * along[2],
            front[0] * along[1] - front[1] * along[0],
        ]
    )
    return np.stack([along, front, up])
