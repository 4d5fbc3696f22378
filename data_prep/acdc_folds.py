"""The released folds of ACDC, as a rule: by frame, so that patients are in both sets of a fold.

Order the 200 frames of the 100 training patients by name. Fold 0 holds out 40 of them, listed here.
Of the 160 left, fold 1 holds out the first of every four, fold 2 the third. No frame is held out
twice, and 80 never are.

Source: fold lists of the MG-3D release.
"""

from bisect import bisect_left

PATIENTS = 100
# Fold 0, numbers of patients whose earlier frame, or later frame, is held out.
EARLIER = (6, 9, 11, 26, 27, 28, 29, 51, 52, 54, 62, 66, 67, 71, 73, 79, 80, 88, 90, 100)
LATER = (9, 14, 28, 31, 37, 48, 64, 68, 70, 71, 73, 75, 78, 79, 86, 87, 92, 95, 96, 98)
_FOLD_0 = sorted([2 * (n - 1) for n in EARLIER] + [2 * (n - 1) + 1 for n in LATER])


def released_fold(patient: int, later: bool) -> str:
    """The released fold in which a frame is held out, "" if none.

    Args:
        patient: number of a training patient, 1 to 100.
        later: whether it is the later of the patient's two frames.

    Raises:
        ValueError: if there is no training patient of this number.
    """
    if not 1 <= patient <= PATIENTS:
        raise ValueError(f"the released folds know patients 1 to {PATIENTS}, got {patient}")
    place = 2 * (patient - 1) + later
    before = bisect_left(_FOLD_0, place)
    if before < len(_FOLD_0) and _FOLD_0[before] == place:
        return "0"
    return {0: "1", 2: "2"}.get((place - before) % 4, "")
