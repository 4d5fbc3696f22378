import json

import pytest
import yaml

from mg3d.weights.card import About, describe_data, write_card

CONFIG = {
    "mg3d_version": "1.2",
    "settings": {"volume_shape": [32, 64, 32], "hu_window": [-1000, 200], "text_encoder": "a/b"},
}


def card(folder, part="model", **stated):
    write_card(folder, part, CONFIG, About(**stated))
    text = (folder / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    return yaml.safe_load(header), body


def test_the_hub_finds_library_licence_and_tags(tmp_path):
    header, body = card(tmp_path, licence="cc-by-nc-4.0", training_data="CT-RATE, 20,000 patients")
    assert header["library_name"] == "mg3d"
    assert header["license"] == "cc-by-nc-4.0"
    assert {"mg3d", "computed-tomography"} <= set(header["tags"])
    assert "phantom" not in header["tags"]
    assert "CT-RATE, 20,000 patients" in body
    assert "cc-by-nc-4.0" in body


def test_what_was_not_stated_is_not_guessed(tmp_path):
    header, body = card(tmp_path)
    assert header["license"] == "unknown"
    assert "licence of these weights was not stated" in body
    assert "Not stated by the maker" in body
    assert "None stated." in body


def test_results_of_the_phantom_are_called_so(tmp_path):
    header, body = card(tmp_path, phantom=True, metrics={"probe_macro_auroc": 0.71})
    assert "phantom" in header["tags"]
    assert "nothing about patients" in body
    assert "held-out made-up patients (phantom)" in body
    assert "made-up" not in card(tmp_path, metrics={"probe_macro_auroc": 0.71})[1]


def test_every_card_says_what_it_is_not_for(tmp_path):
    for part in ("encoder", "model", "pretraining"):
        assert "not for clinical use" in card(tmp_path, part)[1]


def test_the_frozen_text_encoder_is_named(tmp_path):
    assert "(`a/b`) is frozen" in card(tmp_path)[1]


def test_scores_come_from_a_runs_metrics(tmp_path):
    metrics = {"probe": 0.71234, "probe_interval": [0.6, 0.8], "zero_shot": None, "ok": True}
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(metrics))
    for given in (path, metrics):
        body = card(tmp_path, metrics=given)[1]
        assert "| `probe` | 0.7123 |" in body
        assert "interval" not in body and "zero_shot" not in body and "`ok`" not in body
    with pytest.raises(FileNotFoundError):
        card(tmp_path, metrics=tmp_path / "gone.json")


def test_a_prepared_folder_says_where_its_patients_come_from(tmp_path):
    facts = {"source": "phantom", "counts": {"patients": 30, "volumes": 41, "splits": {"val": 2}}}
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    assert describe_data(tmp_path) == ("phantom (30 patients, 41 volumes)", True)
    facts["source"] = "CT-RATE"
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    assert describe_data(tmp_path)[1] is False
