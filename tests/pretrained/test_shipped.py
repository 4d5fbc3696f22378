"""Weights of the package: loaded by name, and refused when the library's numbers have changed."""

import re

import pytest
import torch

import mg3d
from data_prep.phantom.shipped_weights import PATIENT_SEEDS
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


def test_the_package_brings_a_trained_tiny_model_of_at_most_3_mib():
    assert shipped.shipped_names() == ("tiny",)
    folder = shipped.FOLDER / "tiny"
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) <= 3 * 2**20
    model = mg3d.load_pretrained("tiny", part="pretraining", log=quiet).module
    assert model.config.network.encoder == "unet3d"
    assert set(model.objectives) == {"mim", "mlm", "sfr", "cml", "dfa", "ssm", "clip"}
    card = (folder / "README.md").read_text()
    assert "python -m data_prep.phantom.shipped_weights" in card


def test_its_patients_are_drawn_by_nothing_else(repository):
    for seed in PATIENT_SEEDS:
        spelled = (f"{seed:_}", str(seed))
        users = {
            path.relative_to(repository).as_posix()
            for folder in ("mg3d", "data_prep", "benchmarks", "notebooks", "tests")
            for path in (repository / folder).rglob("*")
            if path.suffix in (".py", ".ipynb")
            and any(
                re.search(rf"(?i)seed.*\b{s}\b", path.read_text(encoding="utf-8")) for s in spelled
            )
        }
        assert users == {"data_prep/phantom/shipped_weights.py"}
