import numpy as np
import pytest
import torch

from mg3d.data.dataset import VolumeReportDataset
from mg3d.explain.comparison import (
    ABSENT,
    OTHERS,
    OWN,
    cases_of,
    compare_maps,
    macro_score,
    mean_masks,
    on_voxels,
)

FINDINGS = ("Lung nodule", "Pleural effusion", "Hiatal hernia")


@pytest.fixture
def val(prepared, text_encoder, monkeypatch):
    """Four patients; finding k of patient p is a cube whose place depends on both."""
    val = VolumeReportDataset(
        prepared, "val", text_encoder.tokenizer, max_tokens=96, volume_shape=(32, 32, 32)
    )
    val.rows[list(FINDINGS)] = [[1.0, 0, 0], [1, 1, 0], [0, 1, np.nan], [0, 0, 0]]
    monkeypatch.setattr(val, "load_mask", lambda row, finding: cube(row, FINDINGS.index(finding)))
    return val


def cube(row, number):
    mask = torch.zeros(32, 32, 32, dtype=torch.bool)
    mask[8 * row : 8 * row + 4, 8 * number : 8 * number + 4, :4] = True
    return mask


def knows(val):
    """Maps that are the mask of the patient whose volume comes."""
    volumes = {row: val.load_volume(row) for row in range(4)}

    def explain(volume, mixtures):
        (row,) = [row for row, known in volumes.items() if known.equal(volume)]
        numbers = range(mixtures.shape[1])
        masks = torch.stack([cube(row, number).float() for number in numbers])
        return torch.einsum("mq,qhwd->mhwd", mixtures, masks)

    return explain


def test_the_cases_are_patients_with_a_finding_that_is_marked(val):
    first, second, third = cases_of(val, FINDINGS)
    assert [sorted(case.masks) for case in (first, second, third)] == [[0], [0, 1], [1]]
    assert [case.absent for case in (first, second, third)] == [[1, 2], [2], [0]]  # NaN: unknown


def test_a_map_that_knows_the_place_beats_all_its_controls(val):
    rows = compare_maps({"knows": knows(val)}, val, FINDINGS, smooth=0)
    assert len(rows) == 3 * 4  # own, absent and others of four masks
    assert macro_score(rows, "pointing", "knows").value == 1
    assert macro_score(rows, "pointing", "knows", ABSENT).value == 0
    assert macro_score(rows, "pointing", "knows", OTHERS).value == 0
    better = macro_score(rows, "iou", "knows", minus=("knows", ABSENT))
    assert better.value == 1 and better.low == 1 and better.n == 3


def test_a_map_can_be_scored_together_with_the_usual_place(val):
    def everywhere(volume, mixtures):
        return torch.ones(len(mixtures), *volume.shape[1:])

    usual = torch.zeros(3, 32, 32, 32)
    usual[0, :, :4, :4] = 1  # where nodules can be, in one row of four places
    explainers = {"everywhere": everywhere, "alone": everywhere}
    rows = compare_maps(explainers, val, FINDINGS, places=usual, located=["everywhere"], smooth=0)
    assert {row["explainer"] for row in rows} == {"everywhere", "everywhere × usual place", "alone"}
    for row in rows:
        if row["explainer"] == "everywhere × usual place" and row["finding"] == "Lung nodule":
            assert row["pointing"] == pytest.approx(4 / 32)  # of 32 slices, 4 are the nodule's


def test_findings_count_alike_however_many_patients_have_them(val):
    known = knows(val)

    def nodules(volume, mixtures):  # the same everywhere for any other finding
        return mixtures[:, :1, None, None] * known(volume, mixtures)

    rows = compare_maps({"nodules": nodules}, val, FINDINGS, smooth=0)
    by_finding = {
        name: [row["pointing"] for row in rows if (row["finding"], row["control"]) == (name, OWN)]
        for name in FINDINGS[:2]
    }
    assert by_finding["Lung nodule"] == [1, 1] and max(by_finding["Pleural effusion"]) < 0.1
    expected = np.mean([np.mean(values) for values in by_finding.values()])
    assert macro_score(rows, "pointing", "nodules").value == pytest.approx(expected)


def test_coarse_maps_are_enlarged_and_fine_ones_smoothed():
    coarse = torch.arange(8.0).view(2, 2, 2)
    enlarged = on_voxels(coarse, (4, 4, 4))
    assert enlarged[:2, :2, :2].max() == 0 and enlarged[2:, 2:, 2:].min() == 7
    point = torch.zeros(9, 9, 9)
    point[4, 4, 4] = 1
    smooth = on_voxels(point, (9, 9, 9), 1.0)
    assert smooth.max() < 0.1 and smooth.sum() == pytest.approx(1, abs=1e-3)
    assert on_voxels(point, (9, 9, 9), 0)[4, 4, 4] == 1


def test_mean_masks_say_where_a_finding_usually_is(val):
    usual = mean_masks(val, FINDINGS)
    assert usual.shape == (3, 32, 32, 32) and usual[2].max() == 0
    assert usual[0][0, 0, 0] == usual[0][8, 0, 0] == 0.5


def test_without_masks_there_is_nothing_to_score(val, monkeypatch):
    monkeypatch.setattr(val, "load_mask", lambda *_: torch.zeros(32, 32, 32, dtype=torch.bool))
    with pytest.raises(ValueError, match="of split 'val' has one of the 3 findings with a mask"):
        compare_maps({"knows": knows(val)}, val, FINDINGS)
