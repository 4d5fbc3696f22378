"""Segmentation metrics of whole cases: Dice, NSD, HD95, with the spacing of the header.

All three come from MONAI, one binary mask of one case at a time. What is undefined there has a
rule and a name (`Outcome`), so that no empty mask becomes a silent 0 or NaN:

    outcome            Dice        NSD         HD95
    scored             as defined  as defined  as defined
    empty prediction   0           0           the grid's diagonal
    empty reference    undefined   undefined   undefined     (the prediction is all false positive)
    both empty         undefined   undefined   undefined     (nothing to find, nothing found)

The diagonal is the largest distance that the grid holds: a missed lesion is no case to leave out.
Undefined values are NaN, left out of means and counted. `empty_reference="score"` takes 0 and the
diagonal for false positives, and 1 and 0 mm where both are empty.

Source: MONAI's `DiceMetric`, `compute_surface_dice` with sub-voxel areas (the definition of
DeepMind's surface-distance) and `compute_hausdorff_distance`; HD95 is between centres of surface
voxels, the larger of both directions.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Int

from mg3d.evaluation.metrics import Score
from mg3d.evaluation.per_patient import bootstrap_cases

EmptyReference = Literal["leave out", "score"]


class Outcome(StrEnum):
    """Which of the two masks of a case are empty."""

    SCORED = "scored"
    EMPTY_PREDICTION = "empty prediction"
    EMPTY_REFERENCE = "empty reference"
    BOTH_EMPTY = "both empty"


@dataclass(frozen=True)
class CaseScores:
    """Metrics of one structure in one case; NaN where undefined."""

    case_id: str
    patient_id: str
    outcome: Outcome
    dice: float  # 0 to 1
    nsd: float  # 0 to 1
    hd95_mm: float


@dataclass(frozen=True)
class SegmentationSummary:
    """Means over cases with intervals over patients, and how many cases each rule decided."""

    dice: Score
    nsd: Score
    hd95_mm: Score
    cases: dict[str, int]  # by outcome
    left_out: int  # cases without a value


def score_case(
    prediction: Bool[np.ndarray, "h w d"],
    reference: Bool[np.ndarray, "H W D"],
    spacing_mm: Sequence[float],
    *,
    tolerance_mm: float,
    case_id: str = "",
    patient_id: str = "",
    empty_reference: EmptyReference = "leave out",
) -> CaseScores:
    """Score one structure of one case on the grid of the reference.

    Args:
        prediction: on the reference's grid.
        reference: the ground truth.
        spacing_mm: of the three axes, from the header of the reference.
        tolerance_mm: of NSD: surface nearer than this counts as right.
        case_id: named in errors and kept.
        patient_id: for intervals.
        empty_reference: "leave out", or "score" (see the module's table).

    Raises:
        ValueError: if shapes differ, or spacing or tolerance are no possible lengths.
    """
    _check(prediction, reference, spacing_mm, tolerance_mm, case_id)
    outcome = _outcome(prediction, reference)
    if outcome is Outcome.SCORED:
        values = _monai(prediction, reference, spacing_mm, tolerance_mm)
    else:
        diagonal = float(np.linalg.norm((np.array(reference.shape) - 1) * np.array(spacing_mm)))
        missed, undefined = (0.0, 0.0, diagonal), (float("nan"),) * 3
        scored = empty_reference == "score"
        values = {
            Outcome.EMPTY_PREDICTION: missed,
            Outcome.EMPTY_REFERENCE: missed if scored else undefined,
            Outcome.BOTH_EMPTY: (1.0, 1.0, 0.0) if scored else undefined,
        }[outcome]
    return CaseScores(case_id, patient_id, outcome, *values)


def score_labels(
    prediction: Int[np.ndarray, "h w d"],
    reference: Int[np.ndarray, "H W D"],
    spacing_mm: Sequence[float],
    *,
    structures: dict[str, int],
    tolerance_mm: float,
    case_id: str = "",
    patient_id: str = "",
    empty_reference: EmptyReference = "leave out",
) -> dict[str, CaseScores]:
    """Score every structure of a label map; see `score_case`.

    Args:
        prediction: label map on the reference's grid.
        reference: label map.
        spacing_mm: of the three axes.
        structures: label value by name, without the background.
        tolerance_mm: of NSD.
        case_id: named in errors and kept.
        patient_id: for intervals.
        empty_reference: "leave out" or "score".
    """
    return {
        name: score_case(
            prediction == value,
            reference == value,
            spacing_mm,
            tolerance_mm=tolerance_mm,
            case_id=case_id,
            patient_id=patient_id,
            empty_reference=empty_reference,
        )
        for name, value in structures.items()
    }


def summarise_cases(cases: Sequence[CaseScores], *, seed: int = 0) -> SegmentationSummary:
    """Mean of the defined values, with 95 % intervals over patients.

    Args:
        cases: of one structure; patients may have several. `Score.n` counts the patients that have
            a defined value. All means are NaN if no case has one.
        seed: of the bootstrap.

    Raises:
        ValueError: if there is no case, or a case appears twice.
    """
    if not cases:
        raise ValueError("expected at least one case to score, got none")
    counts = Counter((case.patient_id, case.case_id) for case in cases)
    (patient, case_id), most = counts.most_common(1)[0]
    if most > 1:
        raise ValueError(
            f"expected each case once, but case '{case_id}' of patient '{patient}' came {most} "
            "times; give every case its own case_id, and summarise each structure by itself"
        )
    outcomes = Counter(case.outcome for case in cases)
    return SegmentationSummary(
        dice=_mean(cases, [case.dice for case in cases], seed),
        nsd=_mean(cases, [case.nsd for case in cases], seed),
        hd95_mm=_mean(cases, [case.hd95_mm for case in cases], seed),
        cases={outcome.value: outcomes[outcome] for outcome in Outcome},
        left_out=sum(bool(np.isnan(case.dice)) for case in cases),
    )


def _mean(cases: Sequence[CaseScores], values: Sequence[float], seed: int) -> Score:
    known = [number for number, value in enumerate(values) if not np.isnan(value)]
    if not known:
        return Score(float("nan"), float("nan"), float("nan"), 0)
    defined = np.array([values[number] for number in known])
    patients = [cases[number].patient_id for number in known]
    return bootstrap_cases(lambda chosen: float(defined[chosen].mean()), patients, seed=seed)


def _outcome(prediction: np.ndarray, reference: np.ndarray) -> Outcome:
    if reference.any():
        return Outcome.SCORED if prediction.any() else Outcome.EMPTY_PREDICTION
    return Outcome.EMPTY_REFERENCE if prediction.any() else Outcome.BOTH_EMPTY


def _monai(
    prediction: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float], tolerance_mm: float
) -> tuple[float, float, float]:
    """Dice, NSD and HD95 of two masks of which neither is empty."""
    from monai.metrics import DiceMetric, compute_hausdorff_distance, compute_surface_dice

    pred, ref = (torch.from_numpy(mask)[None, None] for mask in (prediction, reference))
    spacing = [float(size) for size in spacing_mm]
    dice = DiceMetric(include_background=True)(pred.float(), ref.float())
    with warnings.catch_warnings():  # MONAI passes itself a deprecated argument
        warnings.filterwarnings("ignore", "monai.metrics.utils get_mask_edges", FutureWarning)
        nsd = compute_surface_dice(
            pred,
            ref,
            [tolerance_mm],
            include_background=True,
            spacing=spacing,
            use_subvoxels=True,
        )
        hd95 = compute_hausdorff_distance(
            pred, ref, include_background=True, percentile=95, spacing=spacing
        )
    return float(dice), float(nsd), float(hd95)


def _check(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing_mm: Sequence[float],
    tolerance_mm: float,
    case_id: str,
) -> None:
    if prediction.shape != reference.shape:
        raise ValueError(
            f"case '{case_id}': the prediction must have the reference's shape {reference.shape}, "
            f"got {prediction.shape}; map it back to the original grid first"
        )
    if len(spacing_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing_mm):
        raise ValueError(
            f"case '{case_id}': spacing_mm must be three lengths above 0, got "
            f"{tuple(spacing_mm)}; read it from the header of the reference"
        )
    if not (np.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise ValueError(
            f"case '{case_id}': tolerance_mm must be finite and at least 0, got {tolerance_mm}"
        )
