"""Weights of the package: loaded by name, and refused when the library's numbers have changed."""

import pytest
import torch

import mg3d
from mg3d.encoders.unet3d import UNet3DEncoder
from mg3d.pretrained import shipped
from mg3d.text.encoder import TextEncoder
from mg3d.training.step import build_pretraining


def quiet(_):
    pass


@pytest.fixture
def stored(config, monkeypatch, tmp_path):
    """A folder of shipped weights called 'toy', and the module that was stored in it."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build_pretraining(config)
    folder = module.half().save_pretrained(tmp_path / "toy")
    read = mg3d.load_pretrained(folder, part="pretraining", log=quiet).module
    shipped.write_example(read, config, folder)
    return read


@pytest.mark.parametrize("part", ["encoder", "model", "pretraining"])
def test_a_name_gives_the_stored_weights(stored, part):
    loaded = mg3d.load_pretrained("toy", part=part, log=quiet)
    ours = stored.model.encoder.state_dict()
    for name, value in loaded.encoder.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, ours[name]), name


@pytest.mark.parametrize("part", ["encoder", "model", "pretraining"])
def test_an_encoder_that_computes_something_else_is_refused(stored, monkeypatch, part):
    forward = UNet3DEncoder.forward
    monkeypatch.setattr(UNet3DEncoder, "forward", lambda self, v: forward(self, v.square()))
    with pytest.raises(ValueError, match=r"shipped weights 'toy'.*'map \d' of a fixed example"):
        mg3d.load_pretrained("toy", part=part, log=quiet)


def test_another_text_encoder_under_the_same_name_is_refused(stored, monkeypatch):
    forward = TextEncoder.forward

    def changed(self, *given):
        states = forward(self, *given)
        return type(states)(**{**vars(states), "hidden": states.hidden.flip(-1)})

    monkeypatch.setattr(TextEncoder, "forward", changed)
    mg3d.load_pretrained("toy", log=quiet)  # the encoder reads no text
    with pytest.raises(ValueError, match="'sentence_tokens' of a fixed example differs by"):
        mg3d.load_pretrained("toy", part="model", log=quiet)


def test_a_path_of_that_name_comes_first(stored, monkeypatch, tmp_path):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "toy").mkdir()
    with pytest.raises(FileNotFoundError, match="toy holds no weights"):
        mg3d.load_pretrained("toy", log=quiet)
