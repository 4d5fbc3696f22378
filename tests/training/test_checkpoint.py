import pytest
import torch
from torch import nn

from mg3d.training import checkpoint
from mg3d.training.checkpoint import Progress, find_checkpoint, load_checkpoint, save_checkpoint

SETTINGS = {"network": {"dim": 128}, "seed": 0, "workers": 0}


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
    save_checkpoint(tmp_path / "c", model, optimiser, SETTINGS, Progress(3, 1.5))
    other, fresh = trained(steps=0, seed=1)
    assert load_checkpoint(tmp_path / "c", other, fresh, SETTINGS) == Progress(3, 1.5)
    for module, opt in ((model, optimiser), (other, fresh)):
        torch.manual_seed(9)
        module(torch.randn(8, 4)).pow(2).sum().backward()
        opt.step()
    assert torch.equal(model.weight, other.weight)


def test_a_run_killed_while_saving_keeps_the_last_whole_checkpoint(tmp_path, monkeypatch):
    model, optimiser = trained()
    save_checkpoint(tmp_path / "c", model, optimiser, SETTINGS, Progress(3, 0.0))
    monkeypatch.setattr(checkpoint.json, "dumps", lambda *_, **__: 1 / 0)  # dies half-way
    with pytest.raises(ZeroDivisionError):
        save_checkpoint(tmp_path / "c", model, optimiser, SETTINGS, Progress(4, 0.0))
    monkeypatch.undo()
    found = find_checkpoint(tmp_path / "c")
    assert load_checkpoint(found, model, optimiser, SETTINGS).step == 3


def test_a_run_killed_between_the_two_moves_is_found(tmp_path):
    model, optimiser = trained()
    save_checkpoint(tmp_path / "c", model, optimiser, SETTINGS, Progress(3, 0.0))
    (tmp_path / "c").rename(tmp_path / "c.old")
    assert find_checkpoint(tmp_path / "c") == tmp_path / "c.old"


def test_other_settings_are_named(tmp_path):
    model, optimiser = trained()
    save_checkpoint(tmp_path / "c", model, optimiser, SETTINGS, Progress(3, 0.0))
    with pytest.raises(ValueError, match=r"settings \(network.dim; network.dim was 128, now 64\)"):
        load_checkpoint(tmp_path / "c", model, optimiser, SETTINGS | {"network": {"dim": 64}})
    with pytest.raises(ValueError, match=r"seed was 0, now None"):
        load_checkpoint(tmp_path / "c", model, optimiser, {"network": {"dim": 128}, "workers": 0})


def test_settings_that_decide_no_number_may_differ(tmp_path):
    model, optimiser = trained()
    save_checkpoint(tmp_path / "c", model, optimiser, SETTINGS, Progress(3, 0.0))
    free = {"workers"}
    load_checkpoint(tmp_path / "c", model, optimiser, SETTINGS | {"workers": 3}, free=free)
    with pytest.raises(ValueError, match="workers was 0, now 3"):
        load_checkpoint(tmp_path / "c", model, optimiser, SETTINGS | {"workers": 3})


def test_tied_weights_come_back_tied(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    expected = model[0].weight.detach().clone()
    optimiser = torch.optim.SGD(model.parameters())
    save_checkpoint(tmp_path / "c", model, optimiser, {}, Progress(1, 0.0))
    nn.init.zeros_(model[0].weight)
    load_checkpoint(tmp_path / "c", model, optimiser, {})
    assert model[0].weight.equal(expected) and model[1].weight is model[0].weight


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_an_optimiser_s_numbers_come_back_too(tmp_path, momentum):
    def sgd():
        torch.manual_seed(0)
        model = nn.Linear(4, 2)
        return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)

    def move(model, optimiser):
        model(torch.ones(1, 4)).sum().backward()
        optimiser.step()

    (model, optimiser), (other, fresh) = sgd(), sgd()
    move(model, optimiser)
    save_checkpoint(tmp_path / "c", model, optimiser, {}, Progress(1, 0.0))
    load_checkpoint(tmp_path / "c", other, fresh, {})
    for pair in ((model, optimiser), (other, fresh)):
        pair[1].zero_grad()
        move(*pair)
    assert torch.equal(model.weight, other.weight)


def test_the_loss_scale_comes_back(tmp_path):
    model, optimiser = trained()
    state = Progress(3, 0.0, {"scale": 1024.0, "growth_factor": 2.0, "_growth_tracker": 3})
    save_checkpoint(tmp_path / "c", model, optimiser, {}, state)
    assert load_checkpoint(tmp_path / "c", model, optimiser, {}) == state


def test_what_could_not_be_written_whole_is_taken_away(tmp_path, monkeypatch):
    model, optimiser = trained()
    monkeypatch.setattr(checkpoint, "save_file", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_checkpoint(tmp_path / "c", model, optimiser, {}, Progress(3, 0.0))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_checkpoint_is_refused(tmp_path):
    model, optimiser = trained()
    assert find_checkpoint(tmp_path / "c") is None
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        load_checkpoint(tmp_path, model, optimiser, SETTINGS)


def test_the_only_whole_checkpoint_stays_until_the_next_is_in_place(tmp_path, monkeypatch):
    model, optimiser = trained()
    save_checkpoint(tmp_path / "c", model, optimiser, SETTINGS, Progress(3, 0.0))
    (tmp_path / "c").rename(tmp_path / "c.old")  # a run was killed between the two moves
    monkeypatch.setattr(type(tmp_path), "rename", lambda *_: 1 / 0)  # and so is the next one
    with pytest.raises(ZeroDivisionError):
        save_checkpoint(tmp_path / "c", model, optimiser, SETTINGS, Progress(4, 0.0))
    monkeypatch.undo()
    assert load_checkpoint(find_checkpoint(tmp_path / "c"), model, None, SETTINGS).step == 3


def test_other_data_are_refused_and_checkpoints_that_do_not_know_theirs_go_on(tmp_path):
    model, optimiser = trained()
    save_checkpoint(tmp_path / "c", model, optimiser, {}, Progress(3, 0.0), data="one")
    assert load_checkpoint(tmp_path / "c", model, optimiser, {}, data="one").step == 3
    assert load_checkpoint(tmp_path / "c", model, optimiser, {}).step == 3
    with pytest.raises(ValueError, match=r"was trained on other data .* start in another folder"):
        load_checkpoint(tmp_path / "c", model, optimiser, {}, data="other")
    save_checkpoint(tmp_path / "d", model, optimiser, {}, Progress(3, 0.0))
    assert load_checkpoint(tmp_path / "d", model, optimiser, {}, data="one").step == 3


@pytest.mark.parametrize(
    ("module", "optimiser", "message"),
    [
        (nn.Linear(4, 3), torch.optim.AdamW, r"another module .*size mismatch for weight"),
        (nn.Sequential(nn.Linear(4, 2)), torch.optim.AdamW, "another module"),
        (nn.Linear(4, 2), torch.optim.SGD, r"a AdamW of 2 parameters, but the optimiser is a SGD"),
    ],
)
def test_another_module_or_optimiser_is_refused_in_one_line(tmp_path, module, optimiser, message):
    save_checkpoint(tmp_path / "c", *trained(), {}, Progress(3, 0.0))
    with pytest.raises(ValueError, match=message) as caught:
        load_checkpoint(tmp_path / "c", module, optimiser(module.parameters(), lr=0.1), {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["state.json", "model.safetensors", "optimiser.safetensors"])
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path, name):
    model, optimiser = trained()
    save_checkpoint(tmp_path / "c", model, optimiser, {}, Progress(3, 0.0))
    (tmp_path / "c" / name).write_bytes((tmp_path / "c" / name).read_bytes()[:30])
    with pytest.raises(ValueError, match=r"c is damaged \(.*start in another folder"):
        load_checkpoint(tmp_path / "c", model, optimiser, {})
