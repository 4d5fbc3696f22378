"""The command that draws the plate of findings, at a size that takes seconds."""

import pytest

from data_prep.phantom.plate import VIEWS, main, panel_of
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.phantom.patient import SIZES


def test_the_plate_shows_every_finding():
    assert set(VIEWS) == set(CT_RATE_FINDINGS)


def test_sizes_on_the_plate_fit_their_severity():
    for name, view in VIEWS.items():
        if name in SIZES:
            low, high = SIZES[name][view.severity]
            assert low <= view.finding["size_mm"] <= high


@pytest.mark.parametrize("name", CT_RATE_FINDINGS)
def test_the_chosen_slice_shows_the_finding(name):
    panel = panel_of(name, VIEWS[name].__class__(**{**vars(VIEWS[name]), "outline": True}), 4.0)
    assert panel.mask is not None
    assert panel.mask.any()


def test_the_command_writes_a_picture(tmp_path):
    path = tmp_path / "plate.png"
    assert main(["--output", str(path), "--pixel-mm", "6", "--dpi", "40"]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")


def test_an_impossible_pixel_is_refused(tmp_path, capsys):
    assert main(["--output", str(tmp_path / "plate.png"), "--pixel-mm", "0"]) == 2
    assert "0.3 to 8" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
