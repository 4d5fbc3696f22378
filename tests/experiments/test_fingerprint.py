"""A run's name follows what decides its numbers, and nothing else."""

import json

import pytest

from mg3d.experiments import fingerprint
from mg3d.experiments.fingerprint import data_fingerprint, short_hash


def syntax_of(tmp_path, text):
    path = tmp_path / "module.py"
    path.write_text(text)
    return fingerprint._syntax([path])


CODE = 'def loss(x):\n    """Words."""\n    return x + 1\n'


@pytest.mark.parametrize(
    "other, same",
    [
        (CODE.replace("Words", "Other words"), True),
        (CODE.replace("return", "# why\n    return"), True),
        (CODE.replace('    """Words."""\n', ""), True),
        (CODE.replace("x + 1", "x - 1"), False),
        (CODE.replace("1", "1.0"), False),
        (CODE.replace("return x + 1", 'return "x + 1"'), False),
    ],
)
def test_words_about_the_code_do_not_count_and_the_code_does(tmp_path, other, same):
    assert (syntax_of(tmp_path, CODE) == syntax_of(tmp_path, other)) is same


def test_the_order_of_settings_does_not_count():
    assert short_hash({"a": 1, "b": 2}) == short_hash({"b": 2, "a": 1})
    assert short_hash({"a": 1, "b": 2}) != short_hash({"a": 2, "b": 1})


def test_every_room_that_is_hashed_exists():
    assert len(fingerprint._library_code()) == fingerprint.LENGTH
    (root,) = map(fingerprint.Path, fingerprint.mg3d.__path__)
    for room in fingerprint.NUMERICS:
        assert (root / room).is_dir() or (root / f"{room}.py").is_file(), room


@pytest.mark.parametrize(
    "name", ["modes.py", "experiments/reports.py", "experiments/scored.py", "training/fit.py"]
)
def test_code_that_decides_numbers_beside_the_run_s_own_module_is_hashed(name):
    (root,) = map(fingerprint.Path, fingerprint.mg3d.__path__)
    assert root / name in fingerprint._library_files()


@pytest.fixture
def folder(tmp_path):
    facts = {"voxels_sha256": "abc", "settings": {"hu_window": [-1000, 1000]}, "tool": "mg3d 0"}
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    (tmp_path / "manifest.csv").write_text("volume_id,findings\na,no effusion\n")
    return tmp_path


def rewrite(folder, **facts):
    found = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(found | facts))


def test_other_voxels_other_text_and_another_window_are_other_data(folder):
    seen = [data_fingerprint(folder)]
    rewrite(folder, voxels_sha256="abd")
    seen.append(data_fingerprint(folder))
    rewrite(folder, settings={"hu_window": [-1350, 150]})
    seen.append(data_fingerprint(folder))
    (folder / "manifest.csv").write_text("volume_id,findings\na,an effusion\n")
    seen.append(data_fingerprint(folder))
    assert len(set(seen)) == 4
    rewrite(folder, tool="mg3d 1")
    assert data_fingerprint(folder) == seen[-1]


def test_a_folder_that_is_not_prepared_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"with manifest\.csv, but .* data_prep"):
        data_fingerprint(tmp_path)


def test_a_folder_made_by_hand_is_known_by_its_volumes(tmp_path, write_patients):
    folder = write_patients(tmp_path / "hand", ["train", "train", "val"])
    before = data_fingerprint(folder)
    assert data_fingerprint(folder) == before
    (volume,) = folder.glob("val_*.safetensors")
    content = bytearray(volume.read_bytes())
    content[-1] ^= 1
    volume.write_bytes(content)
    assert data_fingerprint(folder) != before
