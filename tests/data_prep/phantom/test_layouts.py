import nibabel as nib
import pytest

from data_prep.phantom.layouts.__main__ import LAYOUTS, main
from mg3d.volumes.orientation import axes_of


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_equal_arguments_give_equal_bytes(layout, tmp_path):
    for name in "ab":
        call = ["--layout", layout, "--output", str(tmp_path / name), "--patients", "2"]
        assert main(call) == 0
    files = files_of(tmp_path / "a")
    assert files == files_of(tmp_path / "b")
    assert len(files) > 2


def test_the_cine_is_4d_and_begins_with_end_diastole(tmp_path):
    LAYOUTS["acdc"](tmp_path, 1, 0)
    folder = tmp_path / "training/patient001"
    cine = nib.load(folder / "patient001_4d.nii.gz")
    first = nib.load(folder / "patient001_frame01.nii.gz")
    assert cine.ndim == 4
    assert axes_of(cine.affine) == axes_of(first.affine) == "LPS"
    assert (cine.dataobj[..., 0] == first.dataobj[...]).all()
    card = dict(line.split(": ") for line in (folder / "Info.cfg").read_text().splitlines())
    assert cine.shape[3] == int(card["NbFrame"])
    systole = nib.load(folder / f"patient001_frame{int(card['ES']):02d}.nii.gz")
    assert (cine.dataobj[..., int(card["ES"]) - 1] == systole.dataobj[...]).all()


def test_a_folder_in_use_or_an_impossible_number_is_refused(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    call = ["--layout", "msd_lung", "--output"]
    assert main([*call, str(tmp_path)]) == 2
    assert "holds files already" in capsys.readouterr().err
    assert main([*call, str(tmp_path / "new"), "--patients", "0"]) == 2
    assert "1 patient or more" in capsys.readouterr().err
