"""Maps of many patients, scored against the masks of their findings, each beside its controls.

A map of a finding is compared with maps that cannot know where this finding of this patient is:

- "absent": the mean map of the findings that this patient does *not* have;
- "others": the mean map of the same finding in *other* patients, which is anatomy alone.

What is also left out, an encoder without training, is another explainer in the same comparison.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from mg3d.data.dataset import VolumeReportDataset
from mg3d.evaluation.metrics import Score, bootstrap, macro
from mg3d.explain.explainers import Explainer
from mg3d.explain.scoring import score_map

OWN, ABSENT, OTHERS = "own", "absent", "others"
TIMES_PLACE = " × usual place"
SMOOTH = 1.5  # standard deviation in voxels of the Gaussian that maps of voxels are smoothed with


@dataclass(frozen=True)
class Case:
    """One patient with at least one finding that is marked."""

    patient_id: str
    volume: Float[Tensor, "1 H W D"]
    masks: dict[int, Bool[np.ndarray, "H W D"]]  # by number of the finding; never empty
    absent: list[int]  # findings that the patient is known not to have


def cases_of(dataset: VolumeReportDataset, findings: Sequence[str]) -> Iterator[Case]:
    """Each patient's first volume, where one of the findings is marked in it.

    Args:
        dataset: held-out patients, with masks.
        findings: of its labels.
    """
    for row in dataset.first_volumes:
        labels = [float(dataset.rows[finding][row]) for finding in findings]
        masks = {
            number: dataset.load_mask(row, findings[number]).numpy()
            for number, label in enumerate(labels)
            if label == 1
        }
        masks = {number: mask for number, mask in masks.items() if mask.any()}
        absent = [number for number, label in enumerate(labels) if label == 0]
        if masks and absent:
            patient = str(dataset.rows["patient_id"][row])
            yield Case(patient, dataset.load_volume(row), masks, absent)


def mean_masks(dataset: VolumeReportDataset, findings: Sequence[str]) -> Float[Tensor, "Q H W D"]:
    """How often each finding lies at each voxel, over the patients who have it: no patient's map.

    Args:
        dataset: training patients, with masks.
        findings: of its labels.
    """
    total = torch.zeros(len(findings), *dataset.load_volume(0).shape[1:])
    counts = torch.zeros(len(findings))
    for case in cases_of(dataset, findings):
        for number, mask in case.masks.items():
            total[number] += torch.from_numpy(mask)
            counts[number] += 1
    return total / counts.clamp(min=1).view(-1, 1, 1, 1)


def compare_maps(
    explainers: Mapping[str, Explainer],
    dataset: VolumeReportDataset,
    findings: Sequence[str],
    *,
    places: Float[Tensor, "Q H W D"] | None = None,
    located: Collection[str] = (),
    smooth: float = SMOOTH,
    patients: int | None = None,
) -> list[dict[str, Any]]:
    """One row per explainer, patient, finding and control, with the measures of `score_map`.

    Args:
        explainers: by name. Maps that are coarser than the volume are enlarged, not smoothed.
        dataset: held-out patients, with masks.
        findings: explained, in the order of the explainers' scores.
        places: where each finding usually is (`mean_masks`); needed with `located`.
        located: explainers whose maps, and their controls, are scored once more after their
            positive part was multiplied by the usual place of the finding that is scored.
        smooth: standard deviation of the Gaussian for maps of voxels, voxels; 0: none.
        patients: the first so many that have a finding with a mask; None: all.

    Raises:
        ValueError: if no patient has a finding that is marked.
    """
    cases = list(islice(cases_of(dataset, findings), patients))
    if not cases:
        raise ValueError(
            f"no patient of split '{dataset.split}' has one of the {len(findings)} findings with a "
            "mask, so no map can be scored; give more patients, or data with masks"
        )
    rows = []
    for name, explain in explainers.items():
        usual = places if name in located else None
        own: dict[tuple[int, int], np.ndarray] = {}
        for place, case in enumerate(cases):
            mixtures = torch.zeros(len(case.masks) + 1, len(findings))
            for line, number in enumerate(case.masks):
                mixtures[line, number] = 1
            mixtures[-1, case.absent] = 1 / len(case.absent)
            shape = case.volume.shape[1:]
            maps = [on_voxels(heat, shape, smooth) for heat in explain(case.volume, mixtures)]
            for number, heat in zip(case.masks, maps[:-1], strict=True):
                own[place, number] = heat
                rows += _rows(name, OWN, case, findings, number, heat, usual)
                rows += _rows(name, ABSENT, case, findings, number, maps[-1], usual)
        for number in range(len(findings)):
            having = [place for place, case in enumerate(cases) if number in case.masks]
            if len(having) < 2:
                continue
            total = np.sum([own[place, number] for place in having], axis=0)
            for place in having:
                others = (total - own[place, number]) / (len(having) - 1)
                rows += _rows(name, OTHERS, cases[place], findings, number, others, usual)
    return rows


def on_voxels(
    heat: Float[Tensor, "h w d"], shape: Sequence[int], smooth: float = SMOOTH
) -> Float[np.ndarray, "H W D"]:
    """A map on the voxel grid: one of voxels smoothed, a coarser one enlarged as it is.

    Args:
        heat: of any size.
        shape: of the volume.
        smooth: standard deviation of the Gaussian, voxels.
    """
    from scipy.ndimage import gaussian_filter

    if tuple(heat.shape) == tuple(shape):
        values = heat.float().cpu().numpy()
        return gaussian_filter(values, smooth, mode="nearest") if smooth else values
    enlarged = F.interpolate(heat[None, None].float().cpu(), tuple(shape), mode="nearest-exact")
    return enlarged[0, 0].numpy()


def macro_score(
    rows: Sequence[Mapping[str, Any]],
    measure: str,
    explainer: str,
    control: str = OWN,
    *,
    minus: tuple[str, str] | None = None,
    seed: int = 0,
) -> Score:
    """Mean over findings of the mean over patients, with a 95 % interval over patients.

    Args:
        rows: of `compare_maps`.
        measure: one of `scoring.MEASURES`.
        explainer: by name.
        control: "own", "absent" or "others".
        minus: explainer and control that are subtracted, pair by pair.
        seed: of the bootstrap.
    """
    table = _table(rows, measure, explainer, control)
    if minus is not None:
        table = table - _table(rows, measure, *minus)

    def mean(patients: np.ndarray) -> float:
        part = table[patients]
        known = np.isfinite(part)
        with np.errstate(invalid="ignore"):  # a finding that nobody of the draw has: NaN
            return macro(np.where(known, part, 0).sum(0) / known.sum(0))

    return bootstrap(mean, len(table), seed=seed)


def _table(
    rows: Sequence[Mapping[str, Any]], measure: str, explainer: str, control: str
) -> Float[np.ndarray, "P C"]:
    """Patients in rows, findings in columns; NaN where there is no map."""
    patients = {name: i for i, name in enumerate(dict.fromkeys(row["patient_id"] for row in rows))}
    findings = {name: i for i, name in enumerate(dict.fromkeys(row["finding"] for row in rows))}
    table = np.full((len(patients), len(findings)), np.nan)
    for row in rows:
        if (row["explainer"], row["control"]) == (explainer, control):
            table[patients[row["patient_id"]], findings[row["finding"]]] = row[measure]
    return table


def _rows(
    name: str,
    control: str,
    case: Case,
    findings: Sequence[str],
    number: int,
    heat: Float[np.ndarray, "H W D"],
    places: Float[Tensor, "Q H W D"] | None,
) -> list[dict[str, Any]]:
    """The map's row, and that of the map times the usual place."""
    mask = case.masks[number]
    maps = {name: heat}
    if places is not None:
        # The least bit everywhere, so that a map without a positive part there is the place's.
        positive = np.clip(heat, 0, None) + 1e-6 * np.abs(heat).max()
        maps[f"{name}{TIMES_PLACE}"] = positive * places[number].numpy()
    about = {"control": control, "patient_id": case.patient_id, "finding": findings[number]}
    return [
        {
            "explainer": title,
            **about,
            "chance": float(mask.mean()),
            **asdict(score_map(shown, mask)),
        }
        for title, shown in maps.items()
    ]
