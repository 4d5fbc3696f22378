import numpy as np
import pytest

from mg3d.phantom.cardiac import CLASSES, GROUPS, PHASES, draw_frame, draw_heart, voxels_of


def of_groups(wanted=GROUPS, coarseness=3.0):
    """The first patient of each group."""
    found, patient = {}, 0
    while set(wanted) - set(found):
        heart = draw_heart(0, patient, coarseness=coarseness)
        found.setdefault(heart.group, heart)
        patient += 1
    return {group: found[group] for group in wanted}


def ml(frame, name):
    return voxels_of(frame, name).sum() * np.prod(frame.spacing_mm) / 1000


@pytest.fixture(scope="module")
def frames():
    hearts = of_groups()
    return {g: [draw_frame(heart, phase) for phase in PHASES] for g, heart in hearts.items()}


def test_equal_patients_have_equal_bytes_and_others_other_ones():
    first, again, other = (draw_frame(draw_heart(0, p, coarseness=3), "ES") for p in (1, 1, 2))
    assert first.voxels.tobytes() == again.voxels.tobytes()
    assert first.classes.tobytes() == again.classes.tobytes()
    assert first.voxels.tobytes() != other.voxels.tobytes()
    seed = draw_frame(draw_heart(1, 1, coarseness=3), "ES")
    assert seed.voxels.tobytes() != first.voxels.tobytes()


def test_all_five_groups_occur_about_equally_often():
    groups = [draw_heart(0, patient).group for patient in range(400)]
    counts = [groups.count(group) for group in GROUPS]
    assert sum(counts) == 400
    assert min(counts) > 50  # 80 expected, standard deviation 8


def test_in_systole_the_cavities_shrink_and_the_muscle_stays(frames):
    for diastole, systole in frames.values():
        assert ml(systole, "left ventricle") < 0.95 * ml(diastole, "left ventricle")
        assert ml(systole, "right ventricle") < 0.95 * ml(diastole, "right ventricle")
        muscle = ml(systole, "myocardium") / ml(diastole, "myocardium")
        assert 0.75 < muscle < 1.1  # it shortens by 12 percent


def test_groups_are_what_they_are_called(frames):
    def ejection(group, name="left ventricle"):
        diastole, systole = frames[group]
        return 1 - ml(systole, name) / ml(diastole, name)

    diastole = {group: pair[0] for group, pair in frames.items()}
    assert ejection("NOR") > 0.5
    assert ejection("DCM") < 0.4
    assert ejection("MINF") < 0.5
    assert ejection("RV", "right ventricle") < ejection("NOR", "right ventricle") - 0.1
    assert ml(diastole["DCM"], "left ventricle") > 1.4 * ml(diastole["NOR"], "left ventricle")
    assert ml(diastole["HCM"], "myocardium") > 1.4 * ml(diastole["NOR"], "myocardium")
    rights = {group: ml(frame, "right ventricle") for group, frame in diastole.items()}
    assert max(rights, key=rights.get) == "RV"


def test_the_scar_of_an_infarct_does_not_thicken(frames):
    heart = of_groups(["MINF"])["MINF"]
    diastole, systole = frames["MINF"]
    middle, height = heart.scar[0], heart.shape[0] // 2
    _, rows, columns = heart.shape
    y, x = np.mgrid[:rows, :columns].astype(float)
    y -= (rows - 1) / 2
    x -= (columns - 1) / 2
    angle = np.angle(np.exp(1j * (np.arctan2(y, x) - middle)))

    def thickening(sector):
        areas = [(voxels_of(f, "myocardium")[height] & sector).sum() for f in (diastole, systole)]
        return areas[1] / areas[0]

    assert thickening(np.abs(angle) < 0.4) < thickening(np.abs(angle) > 2.2)


def test_the_right_ventricle_lies_to_the_patients_right_and_touches_the_muscle(frames):
    for pair in frames.values():
        for frame in pair:
            right, left = (np.argwhere(voxels_of(frame, c)).mean(axis=0) for c in CLASSES[::2])
            assert right[2] > left[2] + 5  # the last axis runs to the right
            middle = frame.classes[frame.classes.shape[0] // 2]
            beside = np.zeros_like(middle, bool)
            beside[:, :-1] = middle[:, 1:] == 1
            assert (beside & (middle == 2)).any()


def test_the_muscle_closes_around_the_left_cavity(frames):
    for pair in frames.values():
        for frame in pair:
            cavity = frame.classes == 3
            for axis in (1, 2):
                for step in (1, -1):
                    assert set(np.roll(frame.classes, step, axis)[cavity]) <= {2, 3}


def test_blood_is_bright_and_muscle_dark_at_any_scale(frames):
    means = []
    for diastole, _ in frames.values():
        blood, muscle = (diastole.voxels[voxels_of(diastole, c)].mean() for c in CLASSES[2:0:-1])
        assert blood > 1.5 * muscle
        means.append(blood)
    assert max(means) > 2 * min(means)  # the scale is the scanner's own


def test_noise_is_rician_above_zero_where_nothing_is(frames):
    corner = frames["NOR"][0].voxels[:, :8, :8].astype(float)
    assert corner.min() >= 0
    assert corner.mean() / corner.std() == pytest.approx(1.91, abs=0.15)  # Rayleigh


@pytest.mark.parametrize("coarseness", [0.5, 7])
def test_an_impossible_coarseness_is_refused(coarseness):
    with pytest.raises(ValueError, match="coarseness is 1"):
        draw_heart(0, 0, coarseness=coarseness)
