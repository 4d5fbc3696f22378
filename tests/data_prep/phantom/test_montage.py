"""The command that draws whole patients, at a size that takes seconds."""

from data_prep.phantom.montage import main


def test_the_command_writes_a_picture_of_each_patient_and_names_its_findings(tmp_path, capsys):
    asked = ["--patients", "0", "3", "--output", str(tmp_path), "--voxel-mm", "8", "--dpi", "40"]
    assert main(asked) == 0
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["patient_90002_0.png", "patient_90002_3.png"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in files)
    assert "patient_90002_3.png: Hiatal hernia" in capsys.readouterr().out


def test_an_impossible_voxel_is_refused(tmp_path, capsys):
    assert main(["--output", str(tmp_path / "m"), "--voxel-mm", "30"]) == 2
    assert "got 30" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
