from dataclasses import asdict

import pytest
import torch
from safetensors.torch import save_file

import mg3d
from mg3d.encoders import build_encoder
from mg3d.encoders.swin.swin3d import Swin3DEncoder
from mg3d.pretrained.export import to_released
from mg3d.pretrained.load import load_pretrained
from mg3d.training.checkpoint import Progress, save_checkpoint
from mg3d.training.loop import pretrain
from mg3d.training.step import build_pretraining
from mg3d.weights.doctor import CheckpointError


@pytest.fixture
def quiet():
    """A log that keeps what it is told."""
    lines: list[str] = []
    return lines


def written(tensors, tmp_path, name="a.pt"):
    path = tmp_path / name
    if name.endswith(".safetensors"):
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


def same_maps(one, other, volume):
    with torch.no_grad():
        pairs = list(zip(one(volume), other(volume), strict=True))
    return len(pairs) == 5 and all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", ["a.pt", "a.ckpt", "a.safetensors"])
def test_a_released_checkpoint_gives_its_features(
    swin, small_swin, released_file, volume, tmp_path, quiet, name
):
    path = written(released_file, tmp_path, name)
    loaded = load_pretrained(path, encoder_settings=small_swin, log=quiet.append)
    assert same_maps(loaded.encoder, swin, volume)
    assert loaded.report.share == 1.0
    assert len(loaded.report.renamed) == len(loaded.report.loaded) == 118
    assert "vision_encoder.* -> transformer.* (118)" in quiet[0]
    assert "merging 'released': MG-3D was trained with it" in quiet[0]
    assert not loaded.encoder.training


def test_loading_draws_no_number_of_the_caller(small_swin, released_file, tmp_path):
    path = written(released_file, tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load_pretrained(path, encoder_settings=small_swin, log=lambda _: None)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("prefix", "wrapper", "merging"),
    [
        ("swinViT.", None, "monai"),
        ("swinViT.", "state_dict", "monai"),
        ("module.swinViT.", "net", "monai"),
        ("module.backbone.swinViT.", "net", "released"),
        ("backbone.swinViT.", "student", "released"),
        ("module.", "state_dict", "released"),
    ],
)
def test_weights_built_on_monais_names_give_their_features(
    swin, small_swin, volume, tmp_path, quiet, prefix, wrapper, merging
):
    own = {prefix + name: t for name, t in swin.transformer.state_dict().items()}
    content = {wrapper: own, "epoch": 7} if wrapper else own
    loaded = load_pretrained(
        written(content, tmp_path), encoder_settings=small_swin, log=quiet.append
    )
    trained = build_encoder("swin3d", **small_swin, merging=merging).eval()
    trained.load_state_dict(swin.state_dict())
    assert same_maps(loaded.encoder, trained, volume)
    assert f"merging '{merging}'" in quiet[0]


def test_the_merging_can_be_stated(swin, small_swin, volume, tmp_path, quiet):
    own = {f"swinViT.{name}": t for name, t in swin.transformer.state_dict().items()}
    path = written(own, tmp_path)
    loaded = load_pretrained(
        path, merging="released", encoder_settings=small_swin, log=quiet.append
    )
    assert same_maps(loaded.encoder, swin, volume)
    assert "merging 'released': as asked" in quiet[0]


def test_the_older_names_of_the_mlp_are_read_and_reported(swin, small_swin, volume, tmp_path):
    renamed = {
        "module." + name.replace("mlp.linear", "mlp.fc"): tensor
        for name, tensor in swin.transformer.state_dict().items()
    }
    path = written({"state_dict": renamed}, tmp_path)
    loaded = load_pretrained(path, encoder_settings=small_swin, log=lambda _: None)
    assert same_maps(loaded.encoder, swin, volume)
    assert loaded.report.renamed["transformer.layers1.0.blocks.0.mlp.linear1.weight"] == (
        "module.layers1.0.blocks.0.mlp.fc1.weight"
    )


def test_swin_b_and_swin_l_are_told_by_their_shapes(tmp_path, quiet):
    for embed_dim, size in ((48, "Swin-B"), (96, "Swin-L")):
        state = Swin3DEncoder(embed_dim=embed_dim).transformer.state_dict()
        official = {f"vision_encoder.{name}": tensor for name, tensor in state.items()}
        loaded = load_pretrained(written(official, tmp_path), log=quiet.append)
        assert loaded.encoder.width == 16 * embed_dim
        assert loaded.report.parameters == {48: 8_062_002, 96: 31_593_474}[embed_dim]
        assert f"{size}, embedding {embed_dim}: told by the shapes" in quiet[-1]


def test_half_precision_becomes_single(swin, small_swin, released_file, tmp_path, quiet):
    half = {n: t.half() if t.is_floating_point() else t for n, t in released_file.items()}
    loaded = load_pretrained(written(half, tmp_path), encoder_settings=small_swin, log=quiet.append)
    weight = loaded.encoder.transformer.patch_embed.proj.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, swin.transformer.patch_embed.proj.weight.half().float())
    assert "float16 -> float32" in quiet[0]


def spoil_wrong_prefix(file):
    return {name.replace("vision_encoder.", "vision_encoder.block."): t for name, t in file.items()}


def without_half(file):
    return {name: t for name, t in file.items() if "layers4" not in name}


def with_nan(file):
    file["vision_encoder.layers2.0.blocks.1.mlp.linear1.bias"][3] = float("nan")
    return file


def with_two_channels(file):
    name = "vision_encoder.patch_embed.proj.weight"
    return {**file, name: torch.cat([file[name]] * 2, dim=1)}


def with_a_smaller_window(file):
    name = "vision_encoder.layers1.0.blocks.0.attn.relative_position_bias_table"
    return {**file, name: file[name][:125]}


def quantised(file):
    name = "vision_encoder.layers4.0.blocks.1.mlp.linear2.weight"
    return {**file, name: file[name].mul(100).to(torch.int8)}


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        (without_half, r"of the parameters are filled, at least 95.0% are asked for"),
        (with_nan, "NaN or infinite values, first vision_encoder.layers2.0.blocks.1.mlp.linear1"),
        (with_two_channels, r"patch_embed.proj.weight: \[12, 2, 2, 2, 2\] in the file, "),
        (with_a_smaller_window, r"bias_table: \[125, 1\] in the file, \[343, 1\] in transformer"),
        (quantised, r"linear2.weight \(int8\)"),
    ],
)
def test_a_bad_checkpoint_is_refused_with_the_report(
    small_swin, released_file, tmp_path, quiet, defect, message
):
    path = written(defect(released_file), tmp_path)
    with pytest.raises(CheckpointError, match=message) as refused:
        load_pretrained(path, encoder_settings=small_swin, log=quiet.append)
    assert str(path) in str(refused.value)
    assert quiet == [str(refused.value.report)]
    assert not refused.value.report.accepted


def test_an_unknown_prefix_is_found_by_what_follows_it(
    swin, small_swin, released_file, volume, tmp_path
):
    path = written(spoil_wrong_prefix(released_file), tmp_path)
    loaded = load_pretrained(path, encoder_settings=small_swin, log=lambda _: None)
    assert same_maps(loaded.encoder, swin, volume)


def test_weights_of_the_other_size_are_refused(released_file, small_swin, tmp_path, quiet):
    path = written(released_file, tmp_path)
    with pytest.raises(CheckpointError) as refused:
        load_pretrained(path, encoder_settings={**small_swin, "embed_dim": 24}, log=quiet.append)
    report = refused.value.report
    assert len(report.mis_shaped) > 100
    assert "encoder_settings={'embed_dim': 12}" in quiet[0]  # what the shapes suggest


def test_heads_window_and_blocks_are_those_of_the_file(
    swin, released_file, volume, tmp_path, quiet
):
    path = written(released_file, tmp_path)
    loaded = load_pretrained(path, log=quiet.append)
    assert same_maps(loaded.encoder, swin, volume)
    assert "window 4, num_heads (1, 2, 4, 8): told by the shapes" in quiet[0]


def test_settings_that_contradict_the_file_are_refused_with_those_of_the_file(
    released_file, tmp_path, quiet
):
    path = written(released_file, tmp_path)
    with pytest.raises(CheckpointError):
        load_pretrained(path, encoder_settings={"window": 7, "num_heads": (1, 1, 1, 1)},
                        log=quiet.append)  # fmt: skip
    assert "encoder_settings={'window': 4, 'num_heads': (1, 2, 4, 8)}" in quiet[0]


def test_a_smaller_share_can_be_asked_for(small_swin, released_file, tmp_path):
    path = written(without_half(released_file), tmp_path)
    loaded = load_pretrained(path, encoder_settings=small_swin, min_share=0.1, log=lambda _: None)
    assert 0.1 < loaded.report.share < 0.5
    assert all("layers4" in name for name in loaded.report.missing)
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            load_pretrained(path, min_share=wrong)


def test_no_name_of_a_file_is_dropped_in_silence(small_swin, released_file, tmp_path, quiet):
    extra = {
        "vision_encoder.encoder1.layer.conv1.conv.weight": torch.ones(1),
        "vision_encoder.layers1c.0.conv1.conv.weight": torch.ones(1),
        "decoder1.weight": torch.ones(1),
        "language_encoder.embeddings.position_ids": torch.arange(3),
        "mlm_head.bias": torch.ones(2),
        "teacher.patch_embed.proj.weight": torch.ones(1),
        "who.knows": torch.ones(1),
    }
    del released_file["vision_encoder.patch_embed.proj.bias"]
    content = {"state_dict": {**released_file, **extra}, "epoch": 1, "optimizer": {}}
    loaded = load_pretrained(
        written(content, tmp_path), encoder_settings=small_swin, log=quiet.append
    )
    report = loaded.report
    named = [*report.loaded.values(), *report.ignored, *report.unexpected]
    assert sorted(named) == sorted([*released_file, *extra, "epoch", "optimizer"])
    assert report.unexpected == ("who.knows",)
    assert report.missing == ("transformer.patch_embed.proj.bias",)
    assert "no released encoder calls them" in quiet[0]


def test_conv_blocks_that_monai_calls_are_not_left_out_in_silence(swin, small_swin, tmp_path):
    own = {f"swinViT.{name}": t for name, t in swin.transformer.state_dict().items()}
    own["swinViT.layers1c.0.conv1.conv.weight"] = torch.ones(1)
    with pytest.raises(ValueError, match=r"SwinUNETR v2.*use_v2=True"):
        load_pretrained(written(own, tmp_path), encoder_settings=small_swin)


def test_a_text_encoder_is_no_vision_encoder(tmp_path):
    text = {"bert.embeddings.word_embeddings.weight": torch.ones(2, 2)}
    with pytest.raises(ValueError, match="looks like a text encoder"):
        load_pretrained(written(text, tmp_path))


def test_a_part_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match="encoder, model, pretraining; got 'decoder'"):
        load_pretrained(tmp_path, part="decoder")


def test_official_names_out_and_in_give_the_same_whole_model(
    swin_config, text_encoder, tmp_path, quiet
):
    before = build_pretraining(swin_config, text_encoder)
    path = written(to_released(before), tmp_path)
    other = mg3d.config.change(swin_config, seed=9)
    loaded = load_pretrained(
        path, part="pretraining", config=other, text_encoder=text_encoder, log=quiet.append
    )
    for name, tensor in before.state_dict().items():
        assert torch.equal(loaded.module.state_dict()[name], tensor), name
    assert loaded.report.share == 1.0
    model = load_pretrained(
        path, part="model", config=other, text_encoder=text_encoder, log=quiet.append
    )
    for name, tensor in before.model.state_dict().items():
        assert torch.equal(model.model.state_dict()[name], tensor), name
    reasons = set(model.report.ignored.values())
    assert "an objective's head, outside the 'model'" in reasons
    encoder = load_pretrained(
        path, encoder_settings=swin_config.network.encoder_settings, log=quiet.append
    ).encoder
    volume = torch.rand(1, 1, 32, 64, 32)
    before.model.encoder.window_recompute = False  # as in an encoder that is read alone
    assert same_maps(encoder, before.model.encoder.eval(), volume)


def test_a_whole_model_is_not_made_from_an_encoder(
    swin, small_swin, released_file, tmp_path, swin_config, text_encoder
):
    own = {f"swinViT.{name}": t for name, t in swin.transformer.state_dict().items()}
    with pytest.raises(ValueError, match="no 'model' of MG-3D; ask for part='encoder'"):
        load_pretrained(written(own, tmp_path), part="model")
    with pytest.raises(CheckpointError, match="of the parameters are filled"):
        load_pretrained(
            written(released_file, tmp_path, "b.pt"),
            part="model",
            config=swin_config,
            text_encoder=text_encoder,
            log=lambda _: None,
        )
    only = load_pretrained(tmp_path / "b.pt", encoder_settings=small_swin, log=lambda _: None)
    with pytest.raises(ValueError, match="ask for part='model'"):
        _ = only.model


@pytest.fixture(scope="module")
def run(prepared, tmp_path_factory):
    from prepared_patients import small_config

    folder = tmp_path_factory.mktemp("run")
    return folder, pretrain(small_config(), prepared, folder, progress=False)


def test_a_run_is_read_from_its_folder_its_checkpoint_and_its_file(run, text_encoder):
    folder, done = run
    volume = torch.rand(2, 1, 32, 32, 32)
    expected = done.pretraining.model.eval().encoder(volume)
    for path in (folder, folder / "checkpoint", folder / "checkpoint" / "model.safetensors"):
        loaded = load_pretrained(path, log=lambda _: None)
        for one, other in zip(loaded.encoder(volume), expected, strict=True):
            assert torch.equal(one, other)
        assert loaded.report.layout == "mg3d run, checkpoint of step 6"
        assert not loaded.report.unexpected


def test_every_part_of_a_run_can_be_had(run, text_encoder, quiet):
    folder, done = run
    state = done.pretraining.state_dict()
    for part, start in (("pretraining", ""), ("model", "model."), ("encoder", "model.encoder.")):
        loaded = load_pretrained(folder, part=part, text_encoder=text_encoder, log=quiet.append)
        for name, tensor in loaded.module.state_dict().items():
            assert torch.equal(tensor, state[start + name]), name
        outside = [name for name in state if not name.startswith(start)]
        assert set(loaded.report.ignored) == set(outside)


def test_a_run_killed_while_saving_is_read_from_its_older_checkpoint(run, tmp_path, config):
    _, done = run
    optimiser = torch.optim.SGD(done.pretraining.parameters())
    save_checkpoint(
        tmp_path / "checkpoint", done.pretraining, optimiser, asdict(done.config), Progress(6, 0.0)
    )
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.old")
    assert load_pretrained(tmp_path, log=lambda _: None).report.share == 1.0


def test_less_than_was_saved_cannot_become_more(swin, small_swin, tmp_path):
    swin.save_pretrained(tmp_path / "encoder")
    with pytest.raises(ValueError, match="holds a 'encoder', and a 'model' is more"):
        load_pretrained(tmp_path / "encoder", part="model")
    loaded = load_pretrained(tmp_path / "encoder", log=lambda _: None)
    assert loaded.report.layout == f"mg3d {mg3d.__version__}, save_pretrained"


def test_it_is_offered_at_the_top():
    assert mg3d.load_pretrained is load_pretrained
