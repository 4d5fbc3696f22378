"""Volumes without reports: whole or as crops, with labels and masks; and their batches."""

import json

import numpy as np
import pytest
import torch

from mg3d.data.crops import around, read_padded, uniform_start
from mg3d.data.form import PreparedForm
from mg3d.data.manifest import write_manifest
from mg3d.data.prepared import marked_voxels, write_array, write_masks
from mg3d.data.volume_batch import VolumeItem, collate_volumes
from mg3d.data.volume_dataset import VolumeDataset

SHAPES = {"a": (20, 18, 16), "b": (12, 24, 20), "c": (30, 10, 22), "d": (16, 16, 16)}
SPLIT = {"a": "train", "b": "train", "c": "train", "d": "val"}
LABELS = ("covid", "age")
CROP = (8, 8, 8)


def voxels_of(name):
    return np.random.default_rng(ord(name)).integers(0, 256, SHAPES[name]).astype(np.uint8)


def masks_of(name):
    masks = np.zeros(SHAPES[name], np.uint8)
    masks[2:4, 5:7, 9:11] = 1
    masks[3, 6, 10] = 2
    return masks


@pytest.fixture
def folder(tmp_path):
    """Volumes of different shapes; "c" has no masks."""
    rows = []
    for name, split in SPLIT.items():
        write_array(tmp_path / f"{name}.safetensors", "volume", voxels_of(name), {})
        masks = ""
        if name != "c":
            masks = f"{name}_masks.safetensors"
            write_masks(tmp_path / masks, masks_of(name), {})
        ids = dict.fromkeys(("volume_id", "patient_id", "scan_id"), name)
        row = {**ids, "reconstruction": 1, "split": split, "volume": f"{name}.safetensors"}
        label = {"covid": 1 if name == "a" else None, "age": 60.5}
        rows.append({**row, "findings": "", "impression": "", "masks": masks, **label})
    write_manifest(tmp_path, rows, LABELS)
    facts = {"labels": LABELS, "masks": {"kind": "classes", "names": ["lung", "tumour"]}}
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    return tmp_path


def test_a_whole_volume_comes_with_its_labels_and_masks(folder):
    dataset = VolumeDataset(folder, "train")
    assert len(dataset) == 3 and dataset.patients == ["a", "b", "c"]
    item = dataset[0]
    assert (item.patient_id, item.volume_id, item.start) == ("a", "a", (0, 0, 0))
    assert torch.equal(item.volume, torch.from_numpy(voxels_of("a")[None] / np.float32(255)))
    assert torch.equal(item.masks, torch.from_numpy(masks_of("a")).int())
    assert item.labels.tolist() == [1.0, 60.5]
    assert dataset[1].labels.isnan().tolist() == [True, False]
    assert dataset[2].masks is None
    assert [tuple(dataset[row].volume.shape[1:]) for row in range(3)] == list(SHAPES.values())[:3]
    assert dataset.load_mask(0, "tumour").nonzero().tolist() == [[3, 6, 10]]


def test_a_crop_is_the_slice_of_the_whole_and_reads_only_that(folder, monkeypatch):
    dataset = VolumeDataset(folder, "train", crop=CROP)
    whole = [VolumeDataset(folder, "train")[row] for row in range(3)]
    monkeypatch.setattr("mg3d.data.manifest.read_array", None)  # that would read all of it
    starts = set()
    for row in range(3):
        for draw in range(6):
            item = dataset[row, draw]
            assert tuple(item.volume.shape) == (1, *CROP)
            part = tuple(slice(s, s + n) for s, n in zip(item.start, CROP, strict=True))
            assert torch.equal(item.volume[0], whole[row].volume[0][part])
            if whole[row].masks is not None:
                assert torch.equal(item.masks, whole[row].masks[part])
            starts.add((row, item.start))
    assert len(starts) > 12


def test_a_crop_depends_on_seed_row_and_draw_and_on_nothing_else(folder):
    dataset, other = (VolumeDataset(folder, "train", crop=CROP, seed=seed) for seed in (0, 1))
    starts = [dataset.start_of(0, draw) for draw in range(8)]
    assert starts == [dataset[0, draw].start for draw in reversed(range(8))][::-1]
    assert dataset[0].start == starts[0]
    assert starts != [other.start_of(0, draw) for draw in range(8)]
    assert starts != [dataset.start_of(3 - 1, draw) for draw in range(8)]


def test_crops_reach_every_place_of_a_volume_and_never_leave_it():
    numbers = np.random.default_rng(0)
    starts = np.array([uniform_start((10, 9, 8), (8, 8, 8), numbers) for _ in range(300)])
    assert starts.min(0).tolist() == [0, 0, 0]
    assert starts.max(0).tolist() == [2, 1, 0]


def test_a_crop_around_a_voxel_moves_only_as_far_as_it_must():
    shape, crop = (20, 20, 6), (8, 8, 8)
    assert around((10, 10, 3), shape, crop) == (6, 6, -1)
    assert around((0, 19, 3), shape, crop) == (0, 12, -1)


def test_foreground_crops_hold_a_marked_voxel_and_the_rest_may_not(folder):
    crop = (4, 4, 4)
    always = VolumeDataset(folder, "train", crop=crop, foreground=1.0)
    never = VolumeDataset(folder, "train", crop=crop)
    half = VolumeDataset(folder, "train", crop=crop, foreground=0.5)
    assert all((always[row, draw].masks > 0).any() for row in (0, 1) for draw in range(40))
    centred = [always[0, draw] for draw in range(40)]
    assert all((item.masks[1:3, 1:3, 1:3] > 0).any() for item in centred)
    shares = [np.mean([bool((d[0, n].masks > 0).any()) for n in range(100)]) for d in (never, half)]
    assert shares[0] < 0.2 and 0.4 < shares[1] < 0.7
    assert always[2, 3].masks is None  # without masks: anywhere


def test_only_the_marked_box_is_read_to_find_what_is_marked(folder):
    expected = np.argwhere(masks_of("b"))
    np.testing.assert_array_equal(marked_voxels(folder / "b_masks.safetensors"), expected)
    write_array(folder / "b_masks.safetensors", "masks", masks_of("b"), {})  # not laid down small
    np.testing.assert_array_equal(marked_voxels(folder / "b_masks.safetensors"), expected)


def test_where_nothing_is_marked_a_crop_lies_anywhere(folder):
    write_masks(folder / "a_masks.safetensors", np.zeros(SHAPES["a"], np.uint8), {})
    dataset = VolumeDataset(folder, "train", crop=CROP, foreground=1.0)
    assert len({dataset[0, draw].start for draw in range(10)}) > 5


def test_a_volume_smaller_than_the_crop_lies_in_its_middle_with_air_around(folder):
    item = VolumeDataset(folder, "train", crop=(16, 16, 16))[2]  # 30 x 10 x 22
    assert item.start[1] == -3
    h, _, d = item.start
    inside = voxels_of("c")[h : h + 16, :, d : d + 16] / np.float32(255)
    np.testing.assert_array_equal(item.volume[0, :, 3:13].numpy(), inside)
    assert not item.volume[0, :, :3].any() and not item.volume[0, :, 13:].any()
    with pytest.raises(ValueError, match="does not touch the array"):
        read_padded(folder / "c.safetensors", (0, 40, 0), CROP, "volume")


def test_a_crop_around_a_place_of_a_table_holds_it(folder):
    dataset = VolumeDataset(folder, "train", crop=CROP)
    item = dataset.read_around(0, (3, 6, 10))
    place = tuple(c - s for c, s in zip((3, 6, 10), item.start, strict=True))
    assert item.masks[place] == 2
    with pytest.raises(ValueError, match="needs the size of a crop"):
        VolumeDataset(folder, "train").read_around(0, (3, 6, 10))


def test_crops_of_any_volumes_make_a_batch(folder):
    dataset = VolumeDataset(folder, "train", crop=CROP, with_masks=True)
    assert dataset.rows["volume_id"].tolist() == ["a", "b"]
    batch = collate_volumes([dataset[0], dataset[1]])
    assert len(batch) == 2 and batch.volume_id == ("a", "b")
    assert batch.volume.shape == (2, 1, *CROP) and batch.masks.shape == (2, *CROP)
    assert batch.labels.shape == (2, 2) and batch.start.tolist()[1] == list(dataset[1].start)
    moved = batch.to("meta")
    assert {t.device.type for t in (moved.volume, moved.labels, moved.start, moved.masks)} == {
        "meta"
    }


def test_what_is_no_batch_is_refused_by_name(folder):
    whole, crops = VolumeDataset(folder, "train"), VolumeDataset(folder, "train", crop=CROP)
    with pytest.raises(ValueError, match=r"a and b have shapes \(20, 18, 16\) and \(12, 24, 20\)"):
        collate_volumes([whole[0], whole[1]])
    with pytest.raises(ValueError, match="volume c has no masks"):
        collate_volumes([crops[0], crops[2]])
    bare = [VolumeItem(str(n), str(n), torch.zeros(1, 2, 2, 2), torch.zeros(0)) for n in range(2)]
    assert collate_volumes(bare).masks is None
    assert collate_volumes(bare).labels.shape == (2, 0)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"crop": (8, 8, 0)}, "three sizes of 1 voxel or more"),
        ({"crop": CROP, "foreground": 1.5}, "a share from 0 to 1, got 1.5"),
        ({"foreground": 0.5}, "needs a crop and a data set with masks"),
        ({"split": "test"}, r"no volume in split 'test' \(it has"),
        ({"expected": PreparedForm(shape=(8, 8, 8))}, r"shape \(20, 18, 16\) instead of \(8, 8, 8"),
    ],
)
def test_impossible_options_are_refused(options, reason, folder):
    with pytest.raises(ValueError, match=reason):
        VolumeDataset(folder, **({"split": "train"} | options))


def test_missing_masks_are_counted_and_named_at_construction(folder):
    (folder / "b_masks.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 masks of split 'train'.*b_masks"):
        VolumeDataset(folder, "train")
    (folder / "d_masks.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 1 masks of split 'val'"):
        VolumeDataset(folder, "val", with_masks=True)


def test_a_split_without_masks_is_refused_where_they_are_asked_for(folder):
    table = folder / "manifest.csv"
    table.write_text(table.read_text().replace("d_masks.safetensors", ""))
    with pytest.raises(ValueError, match="no volume of split 'val'"):
        VolumeDataset(folder, "val", with_masks=True)


def test_a_plain_loop_ends(folder):
    assert [item.volume_id for item in VolumeDataset(folder, "train", crop=CROP)] == ["a", "b", "c"]
    assert VolumeDataset(folder, "train")[-1].volume_id == "c"


@pytest.mark.parametrize("place", [(20, 6, 10), (3, -1, 10), (3, 6, 160)])
def test_a_place_outside_the_volume_is_refused_and_not_moved_inside(folder, place):
    with pytest.raises(ValueError, match=r"volume a has \(20, 18, 16\) voxels, and .* not one of"):
        VolumeDataset(folder, "train", crop=CROP).read_around(0, place)


def test_29_masks_of_another_shape_than_their_volume_are_refused(folder):
    write_masks(folder / "a_masks.safetensors", np.ones((10, 18, 16), np.uint8), {})
    for crop in (CROP, None):
        with pytest.raises(ValueError, match=r"masks of \(10, 18, 16\) .* volume a has \(20, 18"):
            VolumeDataset(folder, "train", crop=crop)[0]


@pytest.mark.parametrize("crop", [(8, 8, True), (0, 8, 8)])
def test_a_crop_that_is_no_size_is_named(folder, crop):
    with pytest.raises(ValueError, match="crop is three sizes of 1 voxel or more, whole numbers"):
        VolumeDataset(folder, "train", crop=crop)
