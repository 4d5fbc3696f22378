import json

import pytest

from mg3d.config import (
    PRESETS,
    Quirks,
    change,
    flatten,
    read_config,
    write_config,
)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_being_written_and_read(name, tmp_path):
    write_config(PRESETS[name], tmp_path / "config.json")
    again = read_config(tmp_path / "config.json")
    write_config(again, tmp_path / "again.json")
    assert again == PRESETS[name]
    assert (tmp_path / "config.json").read_text() == (tmp_path / "again.json").read_text()


def test_a_setting_of_another_version_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"learning_rte": 1}')
    with pytest.raises(ValueError, match="learning_rte"):
        read_config(tmp_path / "config.json")


def test_a_file_without_groups_reads_as_the_settings_it_meant(tmp_path):
    old = {
        name: value
        for name, value in flatten(PRESETS["tiny"]).items()
        if "." not in name and name != "max_grad_norm"
    }
    old |= {"clip_gradient": 0.5, "weights": {"clip": 1.0}, "quirks": {"padded_to": 250}}
    (tmp_path / "config.json").write_text(json.dumps(old))
    read = read_config(tmp_path / "config.json")
    asked = {"max_grad_norm": 0.5, "quirks": Quirks(padded_to=250)}
    assert read == change(PRESETS["tiny"], **asked)


def test_a_file_that_is_not_json_is_named(tmp_path):
    (tmp_path / "config.json").write_text("batch_size = 8")
    with pytest.raises(ValueError, match=r"config\.json is not JSON"):
        read_config(tmp_path / "config.json")


def test_a_setting_in_another_groups_place_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"grid": {"batch_size": 8}, "rum": {}}')
    with pytest.raises(ValueError, match=r"does not know: grid\.batch_size, rum;"):
        read_config(tmp_path / "config.json")


@pytest.mark.parametrize("text", ["[]", '"tiny"', '{"grid": 3}', '{"weights": [1]}'])
def test_json_of_another_form_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json holds no settings.* give the config\.json"):
        read_config(tmp_path / "config.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.json is no file"):
        read_config(tmp_path / "a.json")


def test_a_setting_that_stands_there_twice_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"run": {"seed": 1}, "seed": 2}')
    with pytest.raises(ValueError, match=r"config\.json holds seed twice"):
        read_config(tmp_path / "config.json")


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"config\.json is not JSON"):
        read_config(tmp_path / "config.json")
