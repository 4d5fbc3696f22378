import json
import re
from collections import Counter

import pytest

from data_prep.acdc_folds import released_fold
from data_prep.covid19_20 import FOLD_STARTS, IMAGE
from data_prep.folds import check_held_out, fold_of_number, read_fold_list
from data_prep.msd import TASKS
from data_prep.tables import TableError


def test_folds_of_consecutive_numbers_by_hand():
    assert [fold_of_number(n, (3, 5)) for n in (1, 2, 3, 4, 5, 99)] == list("001122")


@pytest.mark.parametrize(
    ("file", "starts", "cases"),
    [
        ("MSD/10_Decathlon_Task06_Lung_folds.json", TASKS["Lung"].fold_starts, 63),
        ("MSD/10_Decathlon_Task10_Colon_folds.json", TASKS["Colon"].fold_starts, 126),
        ("Covid19_20/Covid19_20_folds.json", FOLD_STARTS, 199),
    ],
)
def test_the_rule_gives_the_released_folds(file, starts, cases, shared_data):
    released = read_fold_list(shared_data / "splits" / file)
    assert len(released) == cases
    number = re.compile(r"(\d{3,4})(_\d)?(_ct)?\.nii")
    by_rule = {n: fold_of_number(int(number.search(n)[1]), starts) for n in released}
    assert by_rule == released
    if starts == FOLD_STARTS:
        assert all(IMAGE.fullmatch(name) for name in released)


@pytest.mark.parametrize("fold", ["0", "1", "2"])
def test_the_rule_gives_the_released_frames_of_acdc(fold, shared_data):
    content = json.loads((shared_data / f"splits/ACDC/ACDC_fold{fold}.json").read_text())
    frames = {part: _frames(content[part]) for part in ("training", "validation")}
    numbers = {}
    for patient, number in frames["training"] + frames["validation"]:
        numbers.setdefault(patient, []).append(number)
    held_out = [
        (patient, number)
        for patient, its in sorted(numbers.items())
        for number in sorted(its)
        if released_fold(patient, number == max(its)) == fold
    ]
    assert held_out == sorted(frames["validation"])


def _frames(entries):
    found = (re.search(r"patient(\d+)_frame(\d+)", e["image"]) for e in entries)
    return [(int(match[1]), int(match[2])) for match in found]


def test_released_frames_are_held_out_once_and_80_never():
    places = [(patient, later) for patient in range(1, 101) for later in (False, True)]
    counts = Counter(released_fold(*place) for place in places)
    assert counts == {"0": 40, "1": 40, "2": 40, "": 80}


def test_a_test_patient_has_no_released_fold():
    with pytest.raises(ValueError, match="patients 1 to 100, got 101"):
        released_fold(101, False)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "expected .*training"),
        ({"training": []}, "expected .*training"),
        ({"training": [{"fold": 0}]}, "entry 0 of training has no image"),
        ({"training": [{"image": "a.nii.gz"}]}, r"a\.nii\.gz has no fold"),
        ({"training": [{"image": "x/a.nii", "fold": 0}, {"image": "a.nii", "fold": 1}]}, "twice"),
    ],
)
def test_a_damaged_fold_list_is_refused(content, reason, tmp_path):
    path = tmp_path / "folds.json"
    path.write_text(json.dumps(content))
    with pytest.raises(TableError, match=reason):
        read_fold_list(path)


def test_a_fold_nobody_has_is_refused():
    with pytest.raises(ValueError, match="fold '7' is to be held out, but the folds are 0, 1"):
        check_held_out("7", ["1", "0", "1"])
