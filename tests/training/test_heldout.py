import pytest
import torch

from mg3d.config import change
from mg3d.training import heldout
from mg3d.training.heldout import held_out_batches, held_out_losses
from mg3d.training.patients import load_patients
from mg3d.training.step import build_pretraining


@pytest.fixture
def val(config, prepared, text_encoder):
    return load_patients(config, prepared, text_encoder.tokenizer)[1]


@pytest.fixture
def pretraining(config, text_encoder):
    return build_pretraining(config, text_encoder)


def patients_in(val, config, text_encoder):
    return [b.patient_id for b in held_out_batches(val, config, text_encoder, "cpu")]


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(1, [1, 1, 1, 1]), (2, [2, 2]), (3, [3]), (4, [4]), (9, [4])]
)
def test_every_patient_comes_once_in_full_batches(config, val, text_encoder, batch_size, sizes):
    found = patients_in(val, change(config, batch_size=batch_size), text_encoder)
    assert [len(ids) for ids in found] == sizes
    together = [patient for ids in found for patient in ids]
    assert together == val.patients[: sum(sizes)]


def test_a_patient_with_several_volumes_comes_with_its_first(
    config, text_encoder, tmp_path, write_patients
):
    folder = write_patients(tmp_path / "data", ["train", "val", "val"], 3)
    _, val = load_patients(config, folder, text_encoder.tokenizer)
    (batch,) = held_out_batches(val, config, text_encoder, "cpu")
    assert batch.patient_id == ("val_1", "val_2")
    assert batch.volume[0].equal(val.load_volume(0))
    assert batch.volume[1].equal(val.load_volume(3))


def test_the_same_is_hidden_every_time_and_not_the_same_in_every_batch(config, val, text_encoder):
    config = change(config, batch_size=2)
    first, again = (list(held_out_batches(val, config, text_encoder, "cpu")) for _ in range(2))
    for before, after in zip(first, again, strict=True):
        assert before.voxel_mask.equal(after.voxel_mask)
        assert before.hidden_tokens.equal(after.hidden_tokens)
    assert not first[0].voxel_mask.equal(first[1].voxel_mask)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)  # and it depends on nobody else's numbers
        later = next(held_out_batches(val, config, text_encoder, "cpu"))
    assert later.voxel_mask.equal(first[0].voxel_mask)


def test_another_draw_hides_other_blocks_and_words_of_the_same_patients(config, val, text_encoder):
    config = change(config, batch_size=2)
    drawn = [list(held_out_batches(val, config, text_encoder, "cpu", draw=n)) for n in (0, 1)]
    masks = [batch.voxel_mask for batches in drawn for batch in batches]
    assert not any(a.equal(b) for n, a in enumerate(masks) for b in masks[:n])
    assert [b.patient_id for b in drawn[0]] == [b.patient_id for b in drawn[1]]
    assert [b.tokens.tolist() for b in drawn[0]] == [b.tokens.tolist() for b in drawn[1]]


def test_losses_are_the_mean_over_batches(config, val, text_encoder, pretraining):
    config = change(config, batch_size=2)
    with torch.no_grad():
        pretraining.eval()
        batches = [pretraining(b) for b in held_out_batches(val, config, text_encoder, "cpu")]
    pretraining.train()
    losses = held_out_losses(pretraining, val, config, "cpu")
    assert list(losses) == list(pretraining.objectives)
    for name, loss in losses.items():
        assert loss == pytest.approx(sum(float(terms[name]) for terms in batches) / 2)


def test_measuring_changes_nothing(config, val, pretraining):
    before = {name: value.clone() for name, value in pretraining.state_dict().items()}
    pretraining.train()
    assert held_out_losses(pretraining, val, config, "cpu") == held_out_losses(
        pretraining, val, config, "cpu"
    )
    assert pretraining.training and pretraining.model.training
    pretraining.eval()
    held_out_losses(pretraining, val, config, "cpu")
    assert not pretraining.training
    assert all(value.equal(before[name]) for name, value in pretraining.state_dict().items())
    assert all(parameter.grad is None for parameter in pretraining.parameters())


def test_another_patients_volume_is_what_the_model_sees(config, val, pretraining):
    seen = []
    hook = pretraining.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    held_out_losses(pretraining, val, config, "cpu")
    held_out_losses(pretraining, val, config, "cpu", other_volume=True)
    hook.remove()
    own, other = seen
    assert other.volume.equal(own.volume[[3, 0, 1, 2]])
    assert other.tokens.equal(own.tokens) and other.hidden_tokens.equal(own.hidden_tokens)
    assert other.voxel_mask.equal(own.voxel_mask)


@pytest.mark.parametrize(("world", "parts"), [(2, [(0, 2), (2, 4)]), (3, [(0, 1), (1, 2), (2, 4)])])
def test_processes_share_a_batch_out(config, val, text_encoder, monkeypatch, world, parts):
    (batch,) = held_out_batches(val, config, text_encoder, "cpu")
    monkeypatch.setattr(heldout, "world", lambda: world)
    for number, (start, stop) in enumerate(parts):
        monkeypatch.setattr(heldout, "rank", lambda number=number: number)
        assert heldout._own_part(batch).patient_id == batch.patient_id[start:stop]


def test_more_processes_than_held_out_patients_are_refused(config, val, pretraining, monkeypatch):
    monkeypatch.setattr(heldout, "world", lambda: 5)
    with pytest.raises(ValueError, match="4 held-out patients cannot be shared by 5 processes"):
        held_out_losses(pretraining, val, config, "cpu")
