import json
from dataclasses import asdict

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from mg3d.encoders import Encoder, build_encoder
from mg3d.encoders.unet3d import UNet3DEncoder
from mg3d.model import MG3D, build_model
from mg3d.training.step import Pretraining, build_pretraining
from mg3d.weights.card import About
from mg3d.weights.hub import find_folder

CHANNELS = (4, 8, 8, 8)


@pytest.fixture
def encoder():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return build_encoder("unet3d", channels=CHANNELS).eval()


@pytest.fixture
def no_network(monkeypatch):
    """Whatever asks the hub fails."""

    def asked(*_, **__):
        raise AssertionError("the hub was asked")

    for name in ("snapshot_download", "hf_hub_download", "HfApi"):
        monkeypatch.setattr(huggingface_hub, name, asked)


def test_an_encoder_comes_back_from_its_folder_without_network(encoder, tmp_path, no_network):
    folder = encoder.save_pretrained(tmp_path / "encoder")
    assert {p.name for p in folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    volume = torch.rand(1, 1, 32, 16, 32)
    for kind in (Encoder, UNet3DEncoder):
        again = kind.from_pretrained(folder)
        assert all(map(torch.equal, again(volume), encoder(volume)))
        assert not again.training


@pytest.mark.parametrize("kind, build", [(MG3D, build_model), (Pretraining, build_pretraining)])
def test_a_model_comes_back_without_its_text_encoder(
    kind, build, config, text_encoder, tmp_path, no_network
):
    before = build(config, text_encoder)
    before.save_pretrained(tmp_path)
    after = kind.from_pretrained(tmp_path, text_encoder=text_encoder)
    assert json.dumps(asdict(after.config)) == json.dumps(asdict(config))
    assert before.state_dict().keys() == after.state_dict().keys()
    for name, tensor in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], tensor), name
    assert json.loads((tmp_path / "config.json").read_text())["settings"]["network"][
        "text_encoder"
    ] == ("embedded")
    kind.from_pretrained(tmp_path)  # loads the text encoder its settings name


def test_a_module_built_by_hand_cannot_say_what_it_was_built_from(config, text_encoder, tmp_path):
    with pytest.raises(ValueError, match="build_encoder"):
        UNet3DEncoder(channels=CHANNELS).save_pretrained(tmp_path)
    model = build_model(config, text_encoder)
    with pytest.raises(ValueError, match=r"build_pretraining\(config\)"):
        Pretraining(model, {}).save_pretrained(tmp_path)
    model.config = None
    with pytest.raises(ValueError, match=r"build_model\(config\)"):
        model.save_pretrained(tmp_path)


def test_another_part_is_not_read_as_this_one(encoder, tmp_path):
    encoder.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a 'encoder', where MG3D reads a 'model'"):
        MG3D.from_pretrained(tmp_path)


def test_another_encoder_is_not_read_as_this_one(tmp_path):
    from mg3d.encoders.swin.swin3d import Swin3DEncoder

    build_encoder("unet3d", channels=CHANNELS).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="describes a UNet3DEncoder, not a Swin3DEncoder"):
        Swin3DEncoder.from_pretrained(tmp_path)


def test_weights_that_lack_one_tensor_are_refused(encoder, tmp_path):
    from safetensors.torch import load_file, save_file

    encoder.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = min(tensors, key=lambda name: tensors[name].numel())
    save_file({n: t for n, t in tensors.items() if n != name}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"at least 100\.0% are asked"):
        Encoder.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no config.json"),
        ("{", "is not JSON"),
        ("[]", "not the config of an mg3d model"),
        ('{"model_type": "bert"}', r"model_type 'bert'\).*load_pretrained"),
        ('{"model_type": "mg3d"}', "not the config of an mg3d model"),
    ],
)
def test_a_folder_of_something_else_is_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Encoder.from_pretrained(tmp_path)


class FakeApi:
    """Remembers what it was asked, and keeps the uploaded folder."""

    asked: list = []  # noqa: RUF012

    def __init__(self, token=None):
        self.token = token

    def create_repo(self, **given):
        self.asked.append(("create_repo", self.token, given))
        return f"https://example.org/{given['repo_id']}"

    def upload_folder(self, *, folder_path, **given):
        from pathlib import Path

        files = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}
        self.asked.append(("upload_folder", self.token, given, files))


def test_a_pushed_model_is_what_a_saved_one_is(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    monkeypatch.setattr(FakeApi, "asked", [])
    about = About(licence="apache-2.0", training_data="the phantom", phantom=True)
    url = encoder.push_to_hub("me/tiny", about=about, private=True, token="t")
    assert url == "https://example.org/me/tiny"
    created, uploaded = FakeApi.asked
    expected = {"repo_id": "me/tiny", "private": True, "exist_ok": True}
    assert created == ("create_repo", "t", expected)
    assert uploaded[2]["repo_id"] == "me/tiny"
    encoder.save_pretrained(tmp_path, about=about)
    assert uploaded[3] == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_weights_without_a_licence_are_not_pushed(encoder, no_network):
    with pytest.raises(ValueError, match="need a licence"):
        encoder.push_to_hub("me/tiny", about=About(training_data="the phantom"))


def test_a_name_on_the_hub_is_fetched(encoder, tmp_path, monkeypatch):
    encoder.save_pretrained(tmp_path)
    asked = []

    def fetch(name, **given):
        asked.append((name, given))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    again = Encoder.from_pretrained("me/tiny", revision="v1", token="t")
    assert all(map(torch.equal, again.state_dict().values(), encoder.state_dict().values()))
    ((name, given),) = asked
    assert (name, given["revision"], given["token"]) == ("me/tiny", "v1", "t")
    assert "model.safetensors" in given["allow_patterns"]


def test_one_file_of_a_repository_can_be_fetched(tmp_path, monkeypatch):
    def fetch(name, filename, **given):
        return str(tmp_path / filename)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    assert find_folder("me/tiny", filename="a.pt") == tmp_path / "a.pt"
    assert find_folder(tmp_path, filename="a.pt") == tmp_path / "a.pt"


def test_without_network_the_way_out_is_said(monkeypatch):
    def fetch(*_, **__):
        raise LocalEntryNotFoundError("outgoing traffic has been disabled")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match=r"HF_HUB_OFFLINE is set.*hf download me/tiny"):
        find_folder("me/tiny")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(FileNotFoundError, match="check the name, the network"):
        find_folder("me/tiny")


@pytest.mark.parametrize("path", ["gone", "./gone", "gone/", "a/b/c", "/a/b", "runs/gone.pt"])
def test_a_path_that_is_not_there_is_no_name_on_the_hub(path, no_network):
    with pytest.raises(FileNotFoundError, match="no file or folder on this machine"):
        find_folder(path)
