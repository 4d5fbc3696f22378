"""Ways to explain are measured side by side on a few patients with planted masks."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from mg3d.data.dataset import VolumeReportDataset
from mg3d.experiments import maps
from mg3d.training.step import build_pretraining


@pytest.fixture
def small(config, text_encoder, monkeypatch):
    pretraining = build_pretraining(config, text_encoder)
    loaded = SimpleNamespace(module=pretraining)
    monkeypatch.setattr(maps, "load_pretrained", lambda *_, **__: loaded)

    def mask(_self, row, finding):
        place = torch.zeros(32, 32, 32, dtype=torch.bool)
        place[4 * (row % 4) : 4 * (row % 4) + 6, 3:20, 5:25] = True
        return place

    monkeypatch.setattr(VolumeReportDataset, "load_mask", mask)


def test_every_way_has_its_controls_and_measures(small, prepared, capsys, tmp_path):
    given = ["--data", str(prepared), "--weights", "x", "--patients", "2", "--seed", "3"]
    assert maps.main(given) == 0
    path = tmp_path / "rows.csv"
    path.write_text(capsys.readouterr().out)
    rows = pd.read_csv(path)
    assert set(rows["control"]) == {"own", "absent", "others"}
    assert set(rows["measure"]) == {"pointing", "voxel_auroc", "energy", "iou"}
    assert set(rows["seed"]) == {3} and set(rows["n"]) == {2}
    ways = set(rows["way"])
    assert {"probe, occlusion", "probe, gradients × usual place", "gates, layer 2"} <= ways
    own = rows[rows["control"] == "own"]
    assert own["value"].between(0, 1).all()
    # All findings lie at one place here, and the usual place knows it.
    usual = own[(own["way"] == "usual place") & (own["measure"] == "voxel_auroc")]
    assert usual["value"].iloc[0] > 0.7

    assert maps.main([*given, "--no-occlusion"]) == 0
    assert "occlusion" not in capsys.readouterr().out


def test_weights_without_heads_are_refused(config, text_encoder, monkeypatch, tmp_path):
    model = build_pretraining(config, text_encoder).model
    loaded = SimpleNamespace(module=model)
    monkeypatch.setattr(maps, "load_pretrained", lambda *_, **__: loaded)
    with pytest.raises(ValueError, match="here are MG3D; give the checkpoint"):
        maps.measure("here", tmp_path)
