import pytest

from data_prep.hu_overview import main
from data_prep.phantom.prepare import prepare_phantom
from mg3d.data.prepared import read_array, read_facts, write_array
from mg3d.preparation.prepare import PrepareSettings
from mg3d.volumes.grid import Grid


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    settings = PrepareSettings(grid=Grid((20, 14, 20), (18.0, 18.0, 18.0)))
    prepare_phantom(folder, patients=4, val_patients=0, settings=settings, workers=0)
    return folder


def test_it_prints_the_peaks_and_draws_them_the_same_each_time(folder, capsys):
    assert main(["--data", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "hu_overview.png: 4 volumes, HU" in printed
    (air,) = [line for line in printed.splitlines() if line.strip().startswith("air")]
    assert "peak -1000 HU" in air and "in 4 of 4 volumes" in air
    picture = (folder / "hu_overview.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    main(["--data", str(folder)])
    assert (folder / "hu_overview.png").read_bytes() == picture


def test_what_cannot_be_reported_is_named(folder, tmp_path, capsys):
    assert main(["--data", str(tmp_path)]) == 2
    assert "no prepared folder" in capsys.readouterr().err
    path = folder / "volumes/train/train_2_a_1.safetensors"
    content = path.read_bytes()
    path.unlink()
    assert main(["--data", str(folder)]) == 2
    assert "1 of 4 volumes are missing" in capsys.readouterr().err
    path.write_bytes(content)
    facts = read_facts(path)
    del facts["histogram"]
    write_array(path, "volume", read_array(path, "volume"), facts)
    assert main(["--data", str(folder)]) == 2
    assert "1 of 4 volumes have no histogram" in capsys.readouterr().err
    path.write_bytes(content)
