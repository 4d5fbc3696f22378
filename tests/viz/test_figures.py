"""Every figure says what it has to, shows the numbers it was given, and is closed."""

import numpy as np
import pytest
import torch

from mg3d.viz.curves import show_ablation, show_losses, show_scores
from mg3d.viz.growth import show_growth
from mg3d.viz.matrices import show_similarities, show_similarity_matrix
from mg3d.viz.overlay import show_attention, tokens_to_voxels
from mg3d.viz.slices import show_grid_of_patients, show_planes

SPACING = (4.0, 2.0, 1.0)
UNIT = {"unit_hu": (-1000, 1000)}


@pytest.fixture
def voxels():
    return torch.rand(8, 6, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mask(voxels):
    mask = torch.zeros(voxels.shape, dtype=torch.bool)
    mask[5, 1:3, 7:9] = True
    return mask


def pictures_of(fig):
    return [image for axes in fig.axes for image in axes.images]


def test_planes_tell_sides_window_voxel_size_and_slice(voxels, mask, words_of):
    words = words_of(show_planes(voxels, SPACING, mask=mask, title="Look", note="made up", **UNIT))
    for part in ("Look", "made up", "lung window −1350 to +150 HU", "voxel 4 × 2 × 1 mm"):
        assert part in words
    for part in ("axial 5 of 8", "coronal 1 of 6", "sagittal 7 of 10"):
        assert part in words
    assert all(f"| {side} |" in words for side in "RLAPSI")


def test_planes_have_true_proportions_and_the_given_values(voxels):
    axial, coronal, sagittal = pictures_of(show_planes(voxels, SPACING, at=(2, 3, 4), **UNIT))
    hu = voxels.numpy() * 2000 - 1000
    np.testing.assert_allclose(axial.get_array(), hu[2, ::-1, ::-1], rtol=1e-5)
    np.testing.assert_allclose(coronal.get_array(), hu[::-1, 3, ::-1], rtol=1e-5)
    np.testing.assert_allclose(sagittal.get_array(), hu[::-1, ::-1, 4], rtol=1e-5)
    assert tuple(axial.get_extent()) == (0, 10, 0, 12)
    assert tuple(sagittal.get_extent()) == (0, 12, 0, 32)
    assert all(picture.axes.get_aspect() == 1 for picture in (axial, coronal, sagittal))
    assert axial.get_clim() == coronal.get_clim() == (-1350, 150)


def test_masks_are_outlined_along_voxel_edges_and_named(voxels, mask, words_of):
    fig = show_planes(voxels, SPACING, mask={"nodule": mask, "effusion": ~mask}, **UNIT)
    assert "nodule" in words_of(fig) and "effusion" in words_of(fig)
    axial = show_planes(voxels, SPACING, mask=mask, **UNIT).axes[0]
    points = np.concatenate(axial.collections[-1].get_segments())
    # w 1 to 2 and d 7 to 8 of 10, seen with the patient's right on the left
    assert (points.min(0).tolist(), points.max(0).tolist()) == ([1.0, 2.0], [3.0, 6.0])


def test_a_gallery_names_every_patient_and_shows_the_finding(voxels, mask, words_of):
    patients = {"normal": voxels, "nodule": voxels, "a third": voxels}
    fig = show_grid_of_patients(
        patients, SPACING, plane="axial", masks={"nodule": mask}, columns=2, **UNIT
    )
    pictures = pictures_of(fig)
    hu = voxels.numpy() * 2000 - 1000
    assert all(name in words_of(fig) for name in patients)
    np.testing.assert_allclose(pictures[0].get_array(), hu[4, ::-1, ::-1], rtol=1e-5)
    np.testing.assert_allclose(pictures[1].get_array(), hu[5, ::-1, ::-1], rtol=1e-5)


def test_a_gallery_of_nobody_is_refused():
    with pytest.raises(ValueError, match="at least one patient"):
        show_grid_of_patients({}, SPACING)


def test_a_token_covers_its_own_voxels():
    tokens = torch.arange(8.0).reshape(2, 2, 2)
    voxels = tokens_to_voxels(tokens, (4, 6, 2))
    expected = tokens.repeat_interleave(2, 0).repeat_interleave(3, 1)
    np.testing.assert_array_equal(voxels, expected)


def test_smooth_maps_keep_the_values_at_the_tokens_centres():
    tokens = np.array([0.0, 1.0, 4.0])[:, None, None] * np.ones((3, 2, 2))
    voxels = tokens_to_voxels(tokens, (9, 2, 2), smooth=True)
    np.testing.assert_allclose(voxels[[1, 4, 7], 0, 0], [0, 1, 4], atol=1e-6)
    assert np.all(np.diff(voxels[:, 0, 0]) >= 0)


def test_attention_and_control_share_volume_slice_and_scale(voxels, mask, words_of):
    own, other = torch.rand(2, 3, 2), 2 * torch.rand(2, 3, 2)
    fig = show_attention(voxels, own, SPACING, control=other, mask=mask, title="A nodule", **UNIT)
    words = words_of(fig)
    for part in ("A nodule", "own report", "another patient's report", "gate: 0 closed, 1 open"):
        assert part in words
    veils = [picture for picture in pictures_of(fig) if picture.get_alpha() < 1]
    low, high = float(min(own.min(), other.min())), float(max(own.max(), other.max()))
    assert len(veils) == 4  # two planes, two maps
    assert {tuple(veil.get_clim()) for veil in veils} == {(low, high)}
    expected = tokens_to_voxels(own, (8, 6, 10))[5, ::-1, ::-1]
    np.testing.assert_allclose(veils[0].get_array(), expected)


def test_attention_without_control_is_possible_and_takes_limits(voxels):
    fig = show_attention(voxels, torch.rand(2, 3, 2), SPACING, limits=(0, 1), **UNIT)
    assert [p.get_clim() for p in pictures_of(fig) if p.get_alpha() < 1] == [(0, 1)] * 2


def test_similarities_are_drawn_as_given_with_lines_between_patients(words_of):
    matrix = torch.linspace(-1, 1, 25).reshape(5, 5)
    fig = show_similarities(
        {"target": matrix, "seen": matrix.T}, torch.tensor([3, 3, 3, 7, 7]), title="Alike"
    )
    words = words_of(fig)
    assert all(part in words for part in ("Alike", "target", "seen", "5 sentences of 2 patients"))
    target, seen = pictures_of(fig)[:2]
    np.testing.assert_array_equal(target.get_array(), matrix)
    np.testing.assert_array_equal(seen.get_array(), matrix.T)
    assert target.get_clim() == seen.get_clim() == (-1, 1)
    assert {line.get_xdata()[0] for line in target.axes.lines if line.get_xdata()[0] != 0} == {2.5}


def test_rows_of_similarities_can_stand_for_something_else(words_of):
    words = words_of(show_similarities({"all": torch.eye(3)}, torch.arange(3), rows="report"))
    assert "reports of patient" in words and "3 reports of 3 patients" in words
    assert "sentence" not in words


def test_a_search_counts_the_reports_that_found_their_volume(words_of):
    similarity = np.array([[0.9, 0.1, 0.2], [0.8, 0.1, 0.3], [0.0, 0.5, 0.4]])
    words = words_of(show_similarity_matrix(similarity, k=1)).replace("\n", " ")
    assert "green if it is the most similar: 1 of 3, by chance 1.0" in words
    assert "3 reports, 3 volumes" in words and "the report's own volume" in words


def test_rows_and_columns_of_a_search_can_stand_for_something_else(words_of):
    fig = show_similarity_matrix(np.eye(2), rows="fused vector", columns="lone vector")
    words = words_of(fig).replace("\n", " ")
    assert "2 fused vectors, 2 lone vectors" in words and "the fused vector's own lone" in words
    assert fig.axes[0].get_xlabel() == "lone vector of patient"
    assert fig.axes[0].get_ylabel() == "fused vector of patient"


def losses():
    steps = np.arange(0, 50)
    return {
        "step": steps,
        "mim": np.where(steps > 0, 1 / (1 + steps), np.nan),
        "val_mim": np.where(steps % 10 == 0, 2 / (1 + steps), np.nan),
        "val_cml": np.where(steps % 10 == 0, 1.0, np.nan),
    }


def test_losses_have_a_panel_each_with_held_out_patients_and_what_is_trivial(words_of):
    fig = show_losses(
        losses(), trivial={"mim": 0.25}, labels={"mim": "MIM"}, title="Down", note="3 patients"
    )
    panel = fig.axes[0]
    held_out = next(line for line in panel.lines if line.get_marker() == "o")
    np.testing.assert_allclose(held_out.get_ydata(), [2 / (1 + s) for s in (0, 10, 20, 30, 40)])
    assert any(set(line.get_ydata()) == {0.25} for line in panel.lines)
    assert "Down" in words_of(fig) and "3 patients" in words_of(fig)
    assert panel.get_title(loc="left") == "MIM"


def test_losses_come_as_the_rows_of_a_history_too():
    rows = [{"step": 0, "val_mim": 2.0}, {"step": 1, "mim": 1.0}, {"step": 2, "val_mim": 0.5}]
    (held_out, *_) = [x for x in show_losses(rows).axes[0].lines if x.get_marker() == "o"]
    np.testing.assert_array_equal(held_out.get_xdata(), [0, 2])


def test_losses_without_held_out_patients_are_refused():
    with pytest.raises(ValueError, match=r"no column val_<objective>.*step, mim"):
        show_losses({"step": [1], "mim": [1.0]})


def scores():
    return [
        {"finding": finding, "model": model, "value": value, "low": value - 0.1, "high": value}
        for model, values in {"untrained": (0.5, 0.6, 0.6), "pre-trained": (0.8, 0.7, 0.9)}.items()
        for finding, value in zip(("Nodule", "Effusion", "macro"), values, strict=True)
    ]


def test_scores_have_a_row_a_finding_best_first_below_the_mean(words_of):
    fig = show_scores(scores(), title="Named", note="9 patients")
    axes = fig.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["mean of all findings", "Nodule", "Effusion"]
    untrained, trained = [line for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(untrained.get_xdata(), [0.6, 0.5, 0.6])
    np.testing.assert_allclose(trained.get_xdata(), [0.9, 0.8, 0.7])
    assert all(part in words_of(fig) for part in ("chance", "AUROC", "untrained", "9 patients"))


def test_an_ablation_has_a_row_a_configuration_and_a_panel_a_score(words_of):
    rows = [
        {"group": group, "configuration": name, "score": score, "value": value, "chance": 0.1}
        for group, name, value in [("no training", "untrained", 0.2), ("all", "all six", 0.4)]
        for score in ("probe", "retrieval")
    ]
    fig = show_ablation(rows, title="Left out")
    assert len(fig.axes) == 2
    dots = [line for line in fig.axes[1].lines if line.get_marker() == "o"]
    assert sorted(x for line in dots for x in line.get_xdata()) == [0.2, 0.4]
    for part in ("Left out", "no training", "untrained", "all six", "probe", "chance"):
        assert part in words_of(fig)


def test_growth_has_a_line_a_configuration_and_diamonds_for_more_patients(words_of):
    rows = [
        {"configuration": name, "steps": steps, "patients": patients, "value": value}
        | {"score": "probe", "low": value - 0.01, "high": value + 0.01}
        for name, steps, patients, value in [
            *(("six", 600, 9, 0.7), ("six", 200, 9, 0.6), ("six", 600, 27, 0.8)),
            *(("clip", 200, 9, 0.65), ("untrained", 0, 9, 0.5), ("untrained", 0, 27, 0.55)),
        ]
    ]
    fig = show_growth(rows, title="Longer", note="seed 0")
    (axes,) = fig.axes
    lines = {(line.get_marker(), *line.get_ydata()) for line in axes.lines if line.get_marker()}
    assert {("o", 0.6, 0.7), ("D", 0.8), ("o", 0.65), ("D", 0.55)} <= lines  # few steps to many
    assert not any(0.5 in line for line in lines if line[0] in "oD")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["200", "600"]
    for part in ("Longer", "six", "clip", "27 patients", "untrained", "probe", "seed 0"):
        assert part in words_of(fig)


@pytest.mark.parametrize(
    ("draw", "column"),
    [(show_scores, "finding"), (show_ablation, "configuration"), (show_growth, "configuration")],
)
def test_a_table_without_its_columns_is_refused(draw, column):
    with pytest.raises(ValueError, match=rf"lacks the columns {column}.*it has n"):
        draw({"n": [1]})
