"""Segmentation of stand-ins: files on the original grid, scores, tuning, controls, refusals."""

import csv
import shutil
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch

from data_prep.phantom.layouts.__main__ import LAYOUTS
from mg3d.encoders import build_encoder
from mg3d.evaluation.ledger import ledger_rows
from mg3d.evaluation.tasks.predictions import read_predictions
from mg3d.evaluation.tasks.registry import find_task
from mg3d.evaluation.tasks.run import run_task
from mg3d.evaluation.tasks.segmentation import Window
from mg3d.evaluation.tasks.segmentation_baselines import TrivialSegmentation
from mg3d.evaluation.tasks.segmentation_decoder import SwinUNETRDecoder, build_decoder
from mg3d.evaluation.tasks.settings import FinetuneSettings, TuningSettings

WINDOW = (32, 32, 32)


def settings(name, *, tuning="full", permute=False, **own):
    config = find_task(name).defaults()
    return replace(
        config,
        tuning=TuningSettings(tuning=tuning, permute_labels=permute),
        finetune=replace(config.finetune, total_steps=2, batch_size=2),
        own=replace(config.own, window=WINDOW, overlap=0.25, **own),
    )


@pytest.mark.parametrize(
    ("name", "tuning"),
    [("msd_lung", "full"), ("msd_colon", "frozen"), ("covid19_20", "lora"), ("acdc", "full")],
)
def test_a_run_leaves_masks_on_the_original_grid_and_its_rows(name, tuning, stand_in, tmp_path):
    folder = stand_in(name)
    raw = folder.parent / "raw" / {"msd_lung": "Task06_Lung"}.get(name, "")
    config = settings(name, tuning=tuning, raw=str(raw) if name == "msd_lung" else "")
    done = run_task(name, folder, "scratch", tmp_path, config, log=lambda _: None)
    (evaluated,) = {row["evaluation_set"] for row in done.rows}
    saved = tmp_path / "predictions" / evaluated
    predictions = read_predictions(saved)
    cases = done.task.prepare(folder, evaluated)
    assert sorted(one.case_id for one in predictions) == sorted(cases.case_id)
    for one in predictions:
        labels = nibabel.load(saved / one.output["labels"])
        row = list(cases.case_id).index(one.case_id)
        source = cases.split.rows["volume"][row]
        original = original_of(folder, source)
        assert labels.shape == original.shape
        np.testing.assert_allclose(labels.affine, original.affine, atol=1e-4)
        assert set(np.unique(labels.dataobj)) <= set(range(len(cases.split.masks_mean.names) + 1))
    assert done.rows[0]["metric"] == "dice" and done.rows[0]["tuning"] == tuning
    assert done.rows[0]["baseline"].startswith("trivial")
    assert ledger_rows(tmp_path) == done.rows
    if name == "msd_lung":
        assert "reference: original file" in done.rows[0]["notes"]


def original_of(folder, volume):
    """The raw image that a prepared volume was made from."""
    from mg3d.data.prepared import read_facts

    name = read_facts(folder / volume)["source_file"]
    (path,) = [p for p in (folder.parent / "raw").rglob(name.split("/")[-1]) if "images" in str(p)
               or "Train" in str(p) or "patient" in p.name]  # fmt: skip
    return nibabel.load(path)


def test_permuted_masks_are_those_of_other_cases_in_training_only(stand_in):
    folder = stand_in("msd_lung")
    task = find_task("msd_lung")
    plain, dealt = (
        task(settings("msd_lung", permute=permute)).prepare(folder, "train", training=True)
        for permute in (False, True)
    )
    pairs = [(plain.items[n, 3], dealt.items[n, 3]) for n in range(len(plain))]
    assert all(torch.equal(own.volume, other.volume) for own, other in pairs)
    assert any(not torch.equal(own.masks, other.masks) for own, other in pairs)
    held_out = task(settings("msd_lung", permute=True)).prepare(folder, "val")
    assert torch.equal(held_out.items[0, 3].masks, task(settings("msd_lung")).prepare(
        folder, "val").items[0, 3].masks)  # fmt: skip


def test_another_data_set_is_refused_by_file(stand_in, tmp_path):
    with pytest.raises(ValueError, match=r"manifest\.csv was made from MSD Lung, .*MSD Colon"):
        run_task("msd_colon", stand_in("msd_lung"), "scratch", tmp_path, settings("msd_colon"))


def test_a_structure_that_no_training_mask_has_is_refused(stand_in, tmp_path):
    from safetensors.numpy import load_file, save_file

    from mg3d.data.prepared import read_facts

    folder = shutil.copytree(stand_in("msd_lung"), tmp_path / "data")
    with (folder / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    for row in rows:
        path = folder / row["masks"]
        arrays = {name: np.zeros_like(array) for name, array in load_file(path).items()}
        facts = {name: str(value) for name, value in metadata_of(path).items()}
        save_file(arrays, path, facts)
        assert read_facts(path)
    with pytest.raises(ValueError, match=r"'cancer' \(class 1\) is in none of the \d+ .*patient"):
        run_task("msd_lung", folder, "scratch", tmp_path / "run", settings("msd_lung"))


def metadata_of(path):
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return file.metadata()


def test_the_best_threshold_and_the_mean_mask_find_a_bright_box_in_one_place():
    volume = torch.full((24, 24, 24), 0.2)
    volume[4:10, 6:12, 8:20] = 0.8
    classes = (volume > 0.5).int()
    fitted = TrivialSegmentation.fit([(volume, classes)] * 2, 1)
    found = TrivialSegmentation.known(vars(fitted)).predict(volume)
    assert torch.equal(found["trivial: best threshold"].int(), classes)
    assert torch.equal(found["trivial: mean mask"].int(), classes)
    assert not found["trivial: all background"].any()
    assert found["trivial: all foreground"].all()


def test_a_swin_gets_monais_decoder_and_the_volume_through_its_skip_blocks():
    torch.manual_seed(0)
    encoder = build_encoder("swin3d", embed_dim=12).eval()
    decoder = build_decoder(encoder, 3, (64, 32, 32)).eval()
    assert isinstance(decoder, SwinUNETRDecoder)
    volume = torch.rand(1, 1, 64, 32, 32)
    with torch.no_grad():
        maps = encoder(volume)
        own, other = (decoder(maps, Window(one)) for one in (volume, torch.zeros_like(volume)))
        blind = decoder([torch.zeros_like(one) for one in maps], Window(volume))
    assert own.shape == (1, 3, 64, 32, 32)
    assert not torch.allclose(own, other) and not torch.allclose(own, blind)


@pytest.mark.parametrize("window", [(32, 32, 32), (48, 32, 64)])
def test_a_window_that_does_not_fit_the_encoder_is_refused(window):
    encoder = build_encoder("swin3d", embed_dim=12)
    with pytest.raises(ValueError, match=r"multiples of the encoder's stride 32.*got \(\d+"):
        build_decoder(encoder, 2, window)


def test_every_layout_of_a_segmentation_has_its_task():
    for name in ("msd_lung", "msd_colon", "covid19_20", "acdc"):
        assert name in LAYOUTS and find_task(name).source


def test_moving_volumes_without_their_masks_is_refused():
    config = find_task("segmentation").defaults()
    moved = replace(config, augmentation=replace(config.augmentation, jitter_shift=1))
    with pytest.raises(ValueError, match="jitter_shift 1 moves volumes and not their masks"):
        find_task("segmentation")(moved)


def test_settings_hold_defaults_of_the_release():
    assert find_task("msd_lung").defaults().own.tolerance_mm == 4.0
    assert find_task("acdc").defaults().own.overlap == 0.75
    assert isinstance(find_task("acdc").defaults().finetune, FinetuneSettings)
