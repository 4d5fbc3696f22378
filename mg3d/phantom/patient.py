"""Who a phantom patient is: sex, age and findings, before any voxel or word is made.

The picture (`anatomy`, `findings`) and the words (`report`) are both made from one `PatientPlan`,
which is why they agree. Hidden causes shared by several findings (age, a failing heart, infection,
smoking) make some likelier together (calcified aorta and coronaries; big heart and effusions),
while each finding keeps the prevalence that `PREVALENCE` states.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, TypeVar

import numpy as np

from mg3d.data.labels import CT_RATE_FINDINGS

Choice = TypeVar("Choice")
Side = Literal["left", "right", "both"]
Severity = Literal["mild", "moderate", "severe"]

LOBES: tuple[tuple[Side, str], ...] = (
    ("right", "upper lobe"),
    ("right", "middle lobe"),
    ("right", "lower lobe"),
    ("left", "upper lobe"),
    ("left", "lower lobe"),
)


@dataclass(frozen=True)
class Finding:
    """One sign in one patient.

    Attributes:
        name: one of `CT_RATE_FINDINGS`.
        severity: how marked it is; scales the sign and chooses the adjective.
        side: patient's side, or None where the finding has none (heart, aorta, oesophagus).
        lobe: "upper lobe", "middle lobe" or "lower lobe" of that side, or None.
        size_mm: diameter or thickness in mm, or None where it is not measured.
        count: how many of it there are (nodules, lymph nodes), else 1.
        kind: variant of the sign, such as "pacemaker" or "port"; "" where there is only one.
    """

    name: str
    severity: Severity
    side: Side | None = None
    lobe: str | None = None
    size_mm: float | None = None
    count: int = 1
    kind: str = ""


# Things a report may mention beside the 18 findings, with their prevalence; they are drawn too.
INCIDENTAL: dict[str, float] = {
    "fatty liver": 0.22,
    "kidney cyst": 0.15,
    "thyroid lesion": 0.15,
    "old granuloma": 0.15,
    "degenerative spine": 0.0,  # a matter of age; see `draw_patient`
}
CONTRAST_SHARE, ARMS_DOWN_SHARE = 0.25, 0.08


@dataclass(frozen=True)
class PatientPlan:
    """One made-up patient, before drawing. Equal (seed, patient) give equal plans.

    Attributes:
        seed: of the whole phantom data set.
        patient: number of the patient.
        sex: "F" or "M".
        age: years.
        findings: those of the 18 that are present.
        incidental: those of `INCIDENTAL` that are present.
        contrast: iodine was given; the report's technique says so.
        tube_kv: 80 to 140; the lower, the brighter are bone and iodine.
        arms: up, or down beside the chest.
        heart_motion_mm: width of the beating heart's blurred border.
    """

    seed: int
    patient: int
    sex: Literal["F", "M"]
    age: int
    findings: tuple[Finding, ...]
    incidental: tuple[str, ...] = ()
    contrast: bool = False
    tube_kv: int = 120
    arms: Literal["up", "down"] = "up"
    heart_motion_mm: float = 1.5

    def labels(self) -> np.ndarray:
        """Which findings are present, (18,) of 0 and 1 in the order of `CT_RATE_FINDINGS`."""
        present = {finding.name for finding in self.findings}
        return np.array([name in present for name in CT_RATE_FINDINGS], dtype=np.int8)


# Independent streams of random numbers: changing the words must not change the picture.
STREAMS = {"plan": 0, "anatomy": 1, "findings": 2, "noise": 3, "report": 4, "scanner": 5} | {
    "heart": 6,
    "shape": 7,
    "harmless": 8,
}


def stream(seed: int, patient: int, name: str, index: int = 0) -> np.random.Generator:
    """The random numbers of one patient for one purpose, the same in any process and any order.

    Args:
        seed: of the whole phantom data set, 0 or larger.
        patient: number of the patient, 0 or larger.
        name: a key of `STREAMS`.
        index: of the reconstruction, where each needs numbers of its own.
    """
    return np.random.default_rng([seed, patient, STREAMS[name], index])


# Share of patients with each finding, near CT-RATE's own, and how strongly each hidden cause drives
# it (age, failing heart, infection, smoking, poor health at large); a cause explains loading^2.
PREVALENCE: dict[str, tuple[float, tuple[float, float, float, float, float]]] = {
    "Medical material": (0.12, (0.35, 0.35, 0.0, 0.0, 0.30)),
    "Arterial wall calcification": (0.28, (0.80, 0.0, 0.0, 0.15, 0.15)),
    "Cardiomegaly": (0.11, (0.30, 0.65, 0.0, 0.0, 0.20)),
    "Pericardial effusion": (0.08, (0.0, 0.60, 0.10, 0.0, 0.25)),
    "Coronary artery wall calcification": (0.25, (0.78, 0.0, 0.0, 0.15, 0.15)),
    "Hiatal hernia": (0.14, (0.45, 0.0, 0.0, 0.0, 0.20)),
    "Lymphadenopathy": (0.26, (0.0, 0.15, 0.30, 0.15, 0.40)),
    "Emphysema": (0.20, (0.25, 0.0, 0.0, 0.65, 0.15)),
    "Atelectasis": (0.26, (0.15, 0.30, 0.15, 0.0, 0.40)),
    "Lung nodule": (0.45, (0.15, 0.0, 0.0, 0.25, 0.35)),
    "Lung opacity": (0.37, (0.0, 0.10, 0.70, 0.0, 0.25)),
    "Pulmonary fibrotic sequela": (0.27, (0.35, 0.0, 0.0, 0.30, 0.30)),
    "Pleural effusion": (0.12, (0.10, 0.65, 0.20, 0.0, 0.40)),
    "Mosaic attenuation pattern": (0.08, (0.0, 0.20, 0.0, 0.30, 0.20)),
    "Peribronchial thickening": (0.10, (0.0, 0.0, 0.30, 0.45, 0.20)),
    "Consolidation": (0.17, (0.0, 0.0, 0.70, 0.0, 0.25)),
    "Bronchiectasis": (0.10, (0.10, 0.0, 0.20, 0.40, 0.25)),
    "Interlobular septal thickening": (0.08, (0.0, 0.50, 0.25, 0.0, 0.30)),
}
_LOADINGS = np.array([PREVALENCE[name][1] for name in CT_RATE_FINDINGS])
_REST = np.sqrt(1 - (_LOADINGS**2).sum(axis=1))  # what no shared cause explains
_THRESHOLDS = np.array([NormalDist().inv_cdf(1 - PREVALENCE[n][0]) for n in CT_RATE_FINDINGS])


def draw_patient(seed: int, patient: int) -> PatientPlan:
    """One patient's sex, age and findings; the same for equal arguments.

    Each finding is present where a standard normal number, made of the shared causes and its own
    chance, exceeds the threshold that its prevalence sets.

    Args:
        seed: of the whole phantom data set, 0 or larger.
        patient: number of the patient, 0 or larger.
    """
    rng = stream(seed, patient, "plan")
    causes = rng.standard_normal(_LOADINGS.shape[1:])
    # A sum, not a matrix product: its order of additions is fixed.
    score = (_LOADINGS * causes).sum(axis=1) + _REST * rng.standard_normal(_REST.shape)
    age_share = 0.5 * (1 + math.erf((0.85 * causes[0] + 0.53 * rng.standard_normal()) / 2**0.5))
    age = round(20 + 68 * age_share)
    own = stream(seed, patient, "plan", 1)
    shares = INCIDENTAL | {"degenerative spine": min(max((age - 40) / 50, 0.02), 0.8)}
    incidental = tuple(name for name, share in shares.items() if own.random() < share)
    return PatientPlan(
        seed=seed,
        patient=patient,
        sex="F" if rng.random() < 0.45 else "M",
        age=age,
        incidental=incidental,
        contrast=bool(own.random() < CONTRAST_SHARE),
        tube_kv=_pick(own, 100, 120, 120, 120, 140),
        arms="down" if own.random() < ARMS_DOWN_SHARE else "up",
        heart_motion_mm=round(float(own.uniform(0.5, 3.5)), 1),
        findings=tuple(
            _describe(name, float(value - threshold), rng)
            for name, value, threshold in zip(CT_RATE_FINDINGS, score, _THRESHOLDS, strict=True)
            if value > threshold
        ),
    )


def _describe(name: str, excess: float, rng: np.random.Generator) -> Finding:
    """The attributes of a finding that is present; `excess` is how far beyond its threshold."""
    grade = excess + 0.4 * rng.standard_normal()
    severity: Severity = "mild" if grade < 0.3 else "moderate" if grade < 0.9 else "severe"
    describe = _ATTRIBUTES.get(name)
    return Finding(name, severity, **(describe(severity, rng) if describe else {}))


def _pick(rng: np.random.Generator, *options: Choice) -> Choice:
    return options[int(rng.random() * len(options))]


def _side(rng: np.random.Generator, both: float = 0.0) -> Side:
    """Left, right or, with probability `both`, both."""
    return "both" if rng.random() < both else _pick(rng, "left", "right")


def _lobe(rng: np.random.Generator, side: Side) -> str:
    """A lobe of that side; both sides have an upper and a lower one."""
    lobes = ["upper lobe", "lower lobe"] + (["middle lobe"] if side == "right" else [])
    return _pick(rng, *lobes)


# Sizes in mm that go with a severity, where the words of one imply the other. Pericardial fluid:
# small below 10 mm, large above 20; pleural fluid: small below 3 cm (depth from front to back).
# Sources: Klein AL et al., J Am Soc Echocardiogr 26:965 (2013); Moy MP et al., Chest 143:1054
# (2013).
SIZES: dict[str, dict[Severity, tuple[int, int]]] = {
    "Pericardial effusion": {"mild": (5, 9), "moderate": (10, 20), "severe": (21, 28)},
    "Pleural effusion": {"mild": (10, 29), "moderate": (30, 55), "severe": (60, 85)},
    "Hiatal hernia": {"mild": (30, 39), "moderate": (40, 64), "severe": (65, 90)},
}


def _size_of(rng: np.random.Generator, name: str, severity: Severity) -> float:
    """A size in whole mm that fits the severity."""
    low, high = SIZES[name][severity]
    return float(low + int(rng.random() * (high - low + 1)))


def _size(rng: np.random.Generator, low: float, high: float, severity: Severity) -> float:
    """A size in mm, whole numbers as in reports; the severer, the nearer to `high`."""
    middle = {"mild": 0.4, "moderate": 0.65, "severe": 0.85}[severity]
    share = min(max(middle + 0.15 * rng.standard_normal(), 0.0), 1.0)
    return float(round(low + share * (high - low)))


def _medical_material(severity: Severity, rng: np.random.Generator) -> dict[str, Any]:
    kind = _pick(rng, "pacemaker", "port", "sternal wires")
    return {"kind": kind, "side": None if kind == "sternal wires" else _side(rng)}


def _pericardial_effusion(severity: Severity, rng: np.random.Generator) -> dict[str, Any]:
    return {"size_mm": _size_of(rng, "Pericardial effusion", severity)}


def _hiatal_hernia(severity: Severity, rng: np.random.Generator) -> dict[str, Any]:
    return {"size_mm": _size_of(rng, "Hiatal hernia", severity)}


def _lymphadenopathy(severity: Severity, rng: np.random.Generator) -> dict[str, Any]:
    kind = _pick(rng, "paratracheal", "subcarinal", "hilar")
    return {
        "kind": kind,
        "side": None if kind == "subcarinal" else _side(rng),
        "size_mm": _size(rng, 12, 38, severity),
        "count": 1 + int(rng.random() ** 0.7 * 4),
    }


def _emphysema(severity: Severity, rng: np.random.Generator) -> dict[str, Any]:
    kind = "centrilobular" if rng.random() < 0.65 else "paraseptal"
    return {"kind": kind, "side": "both", "lobe": _pick(rng, "upper lobe", None)}


def _atelectasis(severity: Severity, rng: np.random.Generator) -> dict[str, Any]:
    side = _side(rng, both=0.35)
    lobe = "lower lobe" if side == "both" or rng.random() < 0.5 else _lobe(rng, side)
    # Plates and small wedges are never severe; a lobe that lost much of its air is.
    kinds = {"mild": ("linear", "linear", "subsegmental"), "moderate": ("linear", "subsegmental")}
    kind = _pick(rng, *kinds.get(severity, ("volume loss",)))
    return {"kind": kind, "side": side, "lobe": lobe}


def _lung_nodule(severity: Severity, rng: np.random.Generator) -> dict[str, Any]:
    share, side = rng.random(), _side(rng)
    kind = "solid" if share < 0.6 else "calcified" if share < 0.8 else "ground-glass"
    return {
        "kind": kind,
        "side": side,
        "lobe": _lobe(rng, side),
        # Calcified ones are old granulomas, which stay small.
        "size_mm": _size(rng, 10, 20 if kind == "calcified" else 30, severity),
        "count": 1 + int(5 * rng.random() ** 0.8),
    }


def _lung_opacity(severity: Severity, rng: np.random.Generator) -> dict[str, Any]:
    side = _side(rng, both=0.45)
    both_lobes = _pick(rng, "upper lobe", "lower lobe", None)
    lobe = both_lobes if side == "both" else _pick(rng, _lobe(rng, side), None)
    return {"kind": "ground-glass", "side": side, "lobe": lobe}


def _fibrotic_sequela(severity: Severity, rng: np.random.Generator) -> dict[str, Any]:
    lobe = "upper lobe" if rng.random() < 0.7 else "lower lobe"
    return {"side": _side(rng, both=0.4), "lobe": lobe}


def _pleural_effusion(severity: Severity, rng: np.random.Generator) -> dict[str, Any]:
    size_mm = _size_of(rng, "Pleural effusion", severity)
    return {"side": _side(rng, both=0.4), "size_mm": size_mm}


def _both_sides(severity: Severity, rng: np.random.Generator) -> dict[str, Any]:
    return {"side": "both"}


def _consolidation(severity: Severity, rng: np.random.Generator) -> dict[str, Any]:
    side = _side(rng)
    return {"side": side, "lobe": _lobe(rng, side)}


def _bronchiectasis(severity: Severity, rng: np.random.Generator) -> dict[str, Any]:
    side = _side(rng, both=0.35)
    shared = "lower lobe" if rng.random() < 0.6 else "upper lobe"
    return {"side": side, "lobe": shared if side == "both" else _lobe(rng, side)}


def _septal_thickening(severity: Severity, rng: np.random.Generator) -> dict[str, Any]:
    return {"side": "both", "lobe": _pick(rng, "lower lobe", None)}


_ATTRIBUTES: dict[str, Callable[[Severity, np.random.Generator], dict[str, Any]]] = {
    "Medical material": _medical_material,
    "Pericardial effusion": _pericardial_effusion,
    "Hiatal hernia": _hiatal_hernia,
    "Lymphadenopathy": _lymphadenopathy,
    "Emphysema": _emphysema,
    "Atelectasis": _atelectasis,
    "Lung nodule": _lung_nodule,
    "Lung opacity": _lung_opacity,
    "Pulmonary fibrotic sequela": _fibrotic_sequela,
    "Pleural effusion": _pleural_effusion,
    "Mosaic attenuation pattern": _both_sides,
    "Peribronchial thickening": _both_sides,
    "Consolidation": _consolidation,
    "Bronchiectasis": _bronchiectasis,
    "Interlobular septal thickening": _septal_thickening,
}
