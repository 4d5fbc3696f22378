import pytest
import torch
from torch import nn

from mg3d.config import PRESETS, change
from mg3d.training import checkpoint
from mg3d.training.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint

CONFIG = PRESETS["tiny"]


def trained(steps=3, seed=0):
    torch.manual_seed(seed)
    model = nn.Linear(4, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    for _ in range(steps):
        model(torch.randn(8, 4)).pow(2).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    return model, optimiser


def test_weights_and_moments_come_back_bit_for_bit(tmp_path):
    model, optimiser = trained()
    save_checkpoint(tmp_path / "c", model, optimiser, CONFIG, step=3, seconds=1.5)
    other, fresh = trained(steps=0, seed=1)
    assert load_checkpoint(tmp_path / "c", other, fresh, CONFIG) == {"step": 3, "seconds": 1.5}
    for module, opt in ((model, optimiser), (other, fresh)):
        torch.manual_seed(9)
        module(torch.randn(8, 4)).pow(2).sum().backward()
        opt.step()
    assert torch.equal(model.weight, other.weight)


def test_a_run_killed_while_saving_keeps_the_last_whole_checkpoint(tmp_path, monkeypatch):
    model, optimiser = trained()
    save_checkpoint(tmp_path / "c", model, optimiser, CONFIG, step=3, seconds=0.0)
    monkeypatch.setattr(checkpoint.json, "dumps", lambda *_, **__: 1 / 0)  # dies half-way
    with pytest.raises(ZeroDivisionError):
        save_checkpoint(tmp_path / "c", model, optimiser, CONFIG, step=4, seconds=0.0)
    monkeypatch.undo()
    found = find_checkpoint(tmp_path / "c")
    assert load_checkpoint(found, model, optimiser, CONFIG)["step"] == 3


def test_a_run_killed_between_the_two_moves_is_found(tmp_path):
    model, optimiser = trained()
    save_checkpoint(tmp_path / "c", model, optimiser, CONFIG, step=3, seconds=0.0)
    (tmp_path / "c").rename(tmp_path / "c.old")
    assert find_checkpoint(tmp_path / "c") == tmp_path / "c.old"


def test_other_settings_are_named(tmp_path):
    model, optimiser = trained()
    save_checkpoint(tmp_path / "c", model, optimiser, CONFIG, step=3, seconds=0.0)
    with pytest.raises(ValueError, match=r"dim was 128, now 64"):
        load_checkpoint(tmp_path / "c", model, optimiser, change(CONFIG, dim=64))
    load_checkpoint(tmp_path / "c", model, optimiser, change(CONFIG, workers=3))  # decides nothing


def test_a_folder_without_checkpoint_is_refused(tmp_path):
    model, optimiser = trained()
    assert find_checkpoint(tmp_path / "c") is None
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        load_checkpoint(tmp_path, model, optimiser, CONFIG)
