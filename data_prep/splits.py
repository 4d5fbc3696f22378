"""Splits and folds by patient, drawn from a seed and the patient's id.

With `hold_out`, the choice for a patient does not depend on the other patients, so that a larger
download does not change it. `deal_folds` makes folds of equal size, so its choice does depend on
them.
"""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

from mg3d.preparation.records import Refusal


def hold_out(
    patients: Iterable[str], fraction: float, seed: int, *, may_be_empty: bool = False
) -> set[str]:
    """Choose about `fraction` of the patients, each independently of the others.

    Args:
        patients: ids.
        fraction: between 0 and 1, both excluded.
        seed: another seed chooses other patients.
        may_be_empty: allow that no patient is chosen, or all are.

    Raises:
        ValueError: if the fraction is out of range, or one side is empty and may not be.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the fraction held out is between 0 and 1, got {fraction:g}")
    everybody = set(patients)
    chosen = {patient for patient in everybody if _share(patient, seed) < fraction}
    if everybody and not may_be_empty and (not chosen or chosen == everybody):
        raise ValueError(
            f"fraction {fraction:g} and seed {seed} hold out {len(chosen)} of {len(everybody)} "
            "patients, so one side is empty; give another fraction or seed"
        )
    return chosen


def deal_folds(
    stratum: Mapping[str, Hashable], folds: int, seed: int, refused: Sequence[Refusal] = ()
) -> dict[str, int]:
    """Stratified folds: patient -> fold, 0 to folds - 1; sizes differ by at most one.

    Args:
        stratum: patient -> stratum, such as the diagnosis; each is spread evenly over the folds.
        folds: 2 or more.
        seed: another seed makes other folds.
        refused: why patients are missing, for the error.

    Raises:
        ValueError: if there are fewer than 2 folds, or fewer patients than folds.
    """
    if folds < 2 or len(stratum) < folds:
        lost = [refusal for refusal in refused if not refusal.by_rule]
        told = f"; {len(lost)} were refused, first {lost[0].file}: {lost[0].reason}" if lost else ""
        raise ValueError(
            f"{folds} folds of {len(stratum)} patients: expected 2 folds or more, and a patient "
            f"for each; ask for fewer folds{told}"
        )
    by_stratum: dict[str, list[str]] = defaultdict(list)
    for patient, value in stratum.items():
        by_stratum[repr(value)].append(patient)
    dealt = [
        patient
        for _, patients in sorted(by_stratum.items())
        for patient in sorted(patients, key=lambda patient: (_share(patient, seed), patient))
    ]
    return {patient: number % folds for number, patient in enumerate(dealt)}


def _share(patient: str, seed: int) -> float:
    """A number from 0 to 1, uniformly distributed, from a hash of seed and patient."""
    digest = hashlib.sha256(f"{seed}/{patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
