import json

import pytest

from mg3d.pretrained.find import find_weights


def test_a_lone_file_in_a_folder_is_it(tmp_path):
    (tmp_path / "a.pth").touch()
    (tmp_path / "notes.txt").touch()
    origin = find_weights(tmp_path)
    assert (origin.weights, origin.held, origin.config) == (tmp_path / "a.pth", "", None)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_of_several_files_the_one_with_the_hubs_name_is_it(tmp_path, name):
    for other in ("a.pth", name, "z.pt"):
        (tmp_path / other).touch()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    assert find_weights(tmp_path).weights == tmp_path / name


def test_of_several_others_one_must_be_chosen(tmp_path):
    for name in ("a.pth", "b.pt"):
        (tmp_path / name).touch()
    with pytest.raises(
        ValueError, match=r"2 files of weights \(a.pth, b.pt\) and no index of them; give one"
    ):
        find_weights(tmp_path)


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no weights"):
        find_weights(tmp_path)


def test_a_file_is_itself_where_nothing_beside_it_is_ours(tmp_path):
    (tmp_path / "model.safetensors").touch()
    assert find_weights(tmp_path / "model.safetensors").held == ""


OURS = {"model_type": "mg3d", "part": "encoder", "encoder": "unet3d", "encoder_settings": {}}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", "{", r"config\.json is not JSON"),
        (
            "config.json",
            json.dumps(OURS | {"part": "enc"}),
            r"the part 'enc', expected one of enco",
        ),
        *(
            ("config.json", json.dumps({k: v for k, v in OURS.items() if k != left}), f"say {left}")
            for left in ("part", "encoder", "encoder_settings")
        ),
        ("config.json", json.dumps(OURS | {"part": "model"}), "does not say settings"),
        ("state.json", "{", r"state\.json is not JSON"),
        ("state.json", '{"step": 3}', "does not say config, which building"),
    ],
)
def test_a_damaged_description_beside_weights_is_named(tmp_path, name, text, message):
    (tmp_path / "model.safetensors").touch()
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        find_weights(tmp_path)
