"""Every data set without reports: written in its layout, imported, loaded and trained on."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from data_prep.acdc import prepare_acdc
from data_prep.cc_ccii import prepare_cc_ccii
from data_prep.cc_ccii_folds import CLASSES
from data_prep.covid19_20 import prepare_covid19_20
from data_prep.luna16 import prepare_luna16
from data_prep.msd import prepare_msd
from data_prep.phantom.layouts.__main__ import LAYOUTS
from data_prep.phantom.layouts.challenges import covid_of, diagnosis_of
from data_prep.stoic2021 import prepare_stoic2021
from mg3d.data.form import PreparedForm
from mg3d.data.points import PointDataset
from mg3d.data.volume_batch import collate_volumes
from mg3d.data.volume_dataset import VolumeDataset
from mg3d.phantom.patient import draw_patient
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid
from mg3d.volumes.intensity import EightBit

CROP = (8, 16, 16)
COARSE = PrepareSettings(grid=Grid(None, (10.0, 8.0, 8.0)))
PICTURES = PrepareSettings(grid=Grid((16, 24, 24)), intensity=EightBit())
SETS = {  # layout -> patients, folder inside, importer, prepared form
    "luna16": (10, "", prepare_luna16, PrepareSettings(grid=Grid(None, (5.0, 4.0, 4.0)))),
    "cc_ccii": (10, "", prepare_cc_ccii, PICTURES),
    "stoic2021": (10, "", prepare_stoic2021, COARSE),
    "msd_lung": (5, "Task06_Lung", prepare_msd, COARSE),
    "covid19_20": (5, "", prepare_covid19_20, COARSE),
    "acdc": (8, "", prepare_acdc, PrepareSettings(grid=Grid(None, (None, 4.0, 4.0)))),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Prepared folders by layout, made when they are first asked for."""
    folders = {}

    def make(layout):
        if layout not in folders:
            patients, inside, importer, form = SETS[layout]
            root = tmp_path_factory.mktemp(layout)
            LAYOUTS[layout](root / "raw", patients, 0)
            options = RunOptions(settings=form, workers=0)
            done = importer(root / "raw" / inside, root / "out", options)
            assert not done.refused
            folders[layout] = done.folder
        return folders[layout]

    return make


def losses_of(dataset, loss_of, outputs, steps=12):
    """Train a small head on one batch; its losses."""
    torch.manual_seed(0)
    head = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, outputs, 1))
    optimiser = torch.optim.Adam(head.parameters(), lr=0.02)
    rows = [(row, 0) for row in range(min(4, len(dataset)))]
    sampler = [rows] * steps if isinstance(dataset, VolumeDataset) else [[0, 1, 2, 3]] * steps
    losses = []
    for batch in DataLoader(dataset, batch_sampler=sampler, collate_fn=collate_volumes):
        loss = loss_of(head(batch.volume), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


def classify(maps, batch):
    """Cross-entropy of a diagnosis."""
    return nn.functional.cross_entropy(maps.mean((2, 3, 4)), batch.labels[:, 0].long())


def tell(maps, batch):
    """Binary cross-entropy over the labels that are known."""
    known = ~batch.labels.isnan()
    logits = maps.mean((2, 3, 4))[known]
    return nn.functional.binary_cross_entropy_with_logits(logits, batch.labels[known])


def segment(maps, batch):
    """Cross-entropy of a class map."""
    return nn.functional.cross_entropy(maps, batch.masks.long())


@pytest.mark.parametrize("layout", SETS)
def test_voxels_and_crops_of_every_set_are_those_of_its_files(layout, prepared):
    folder = prepared(layout)
    shapes = set()
    for split in ("train", "val"):
        whole, crops = VolumeDataset(folder, split), VolumeDataset(folder, split, crop=CROP)
        assert len(whole) == len(crops) > 0
        for row in range(len(whole)):
            item, part = whole[row], crops[row, 3]
            shapes.add(tuple(item.volume.shape))
            assert 0 <= item.volume.min() < item.volume.max() <= 1
            padding = [max(0, -s) for s in part.start]
            wide = np.pad(item.volume[0].numpy(), [(p, c) for p, c in zip(padding, CROP)])  # noqa: B905
            place = [slice(max(0, s), max(0, s) + n) for s, n in zip(part.start, CROP, strict=True)]
            assert np.array_equal(part.volume[0].numpy(), wide[tuple(place)])
    assert len(shapes) > 1 or layout != "acdc"


def test_luna16_trains_on_cubes_around_its_candidates(prepared):
    folder = prepared("luna16")
    crop = (4, 6, 6)
    cubes = {split: PointDataset(folder, split, crop=crop) for split in ("train", "val", "test")}
    assert [d.volumes.rows["fold"].tolist() for d in cubes.values()] == [
        list("01234"), list("56"), list("789"),
    ]  # fmt: skip
    train = cubes["train"]
    assert set(train.labels.tolist()) == {0.0, 1.0}
    middles = {0.0: [], 1.0: []}
    for number, cube in enumerate(train):
        place = [round(train.places[axis][number]) for axis in "hwd"]
        inside = [p - s for p, s in zip(place, cube.start, strict=True)]
        middles[cube.labels.item()].append(float(cube.volume[(0, *inside)]))
    assert np.mean(middles[1.0]) > np.mean(middles[0.0]) + 0.1  # a nodule is denser than lung
    item = train[0]
    h, w, d = (round(train.places[axis][0]) for axis in "hwd")
    inside = [p - s for p, s in zip((h, w, d), item.start, strict=True)]
    whole = VolumeDataset(folder, "train")[train.rows[0]]
    assert item.volume[(0, *inside)] == whole.volume[0, h, w, d]
    losses = losses_of(train, tell, 1)
    assert losses[-1] < losses[0]


def test_cc_ccii_trains_on_its_diagnoses(prepared):
    train = VolumeDataset(prepared("cc_ccii"), "train")
    assert train.label_names == ("diagnosis",)
    for row in range(len(train)):
        patient = int(train.rows["patient_id"][row])
        expected = CLASSES.index(diagnosis_of(draw_patient(0, patient)))
        assert train[row].labels.tolist() == [expected]
        assert train[row].masks is None
    assert set(train.rows["split"]) == {"train"}
    losses = losses_of(train, classify, 3)
    assert losses[-1] < losses[0]


def test_stoic2021_trains_on_covid_and_severe(prepared):
    train = VolumeDataset(prepared("stoic2021"), "train", crop=CROP)
    for row in range(len(train)):
        plan = draw_patient(0, int(train.rows["patient_id"][row]) - 1)
        assert train[row].labels.tolist() == list(covid_of(plan))
    assert set(train.rows["fold"]) == set("1234")
    losses = losses_of(train, tell, 2)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("layout", "classes"),
    [("msd_lung", ["cancer"]), ("covid19_20", ["lesion"]),
     ("acdc", ["right ventricle", "myocardium", "left ventricle"])],
)  # fmt: skip
def test_a_segmentation_set_trains_on_crops_around_what_is_marked(layout, classes, prepared):
    folder = prepared(layout)
    train = VolumeDataset(folder, "train", crop=CROP, foreground=1.0, with_masks=True)
    assert list(train.masks_mean.names) == classes
    whole = VolumeDataset(folder, "train")
    for row in range(len(train)):
        item = train[row, 1]
        assert (item.masks > 0).any()
        number = int(item.masks.max())
        place = (item.masks == number).nonzero()[0].tolist()
        h, w, d = (p + s for p, s in zip(place, item.start, strict=True))
        assert whole.load_mask(row, classes[number - 1])[h, w, d]
        assert whole[row].masks[h, w, d] == number
    assert not set(train.patients) & set(VolumeDataset(folder, "val").patients)
    losses = losses_of(train, segment, len(classes) + 1)
    assert losses[-1] < losses[0]


def test_a_set_prepared_in_another_form_than_the_model_expects_is_refused(prepared):
    expected = PreparedForm(spacing_mm=(1.5, 1.5, 1.5))
    with pytest.raises(ValueError, match=r"spacing \(mm\) \(10, 8, 8\) instead of \(1\.5, 1\.5"):
        VolumeDataset(prepared("msd_lung"), "train", expected=expected)
    with pytest.raises(ValueError, match=r"spacing \(mm\) \(5, 4, 4\) instead of \(1\.5, 1\.5"):
        PointDataset(prepared("luna16"), "train", crop=CROP, expected=expected)


def test_a_table_of_places_that_does_not_fit_is_refused_by_name(prepared, tmp_path):
    import shutil

    folder = shutil.copytree(prepared("luna16"), tmp_path / "luna16")
    table = (folder / "candidates.csv").read_text()
    with pytest.raises(FileNotFoundError, match=r"places\.csv is missing"):
        PointDataset(folder, "train", crop=CROP, table="places.csv")
    with pytest.raises(ValueError, match="lacks the columns size; it has volume_id, h, w, d"):
        PointDataset(folder, "train", crop=CROP, column="size")
    name = VolumeDataset(folder, "train").rows["volume_id"][0]
    (folder / "candidates.csv").write_text(f"{table}{name},500.0,1.0,1.0,1\n")
    with pytest.raises(ValueError, match=rf"1 of \d+ places lie outside .*{name} at \(500, 1, 1\)"):
        PointDataset(folder, "train", crop=CROP)
    (folder / "candidates.csv").write_text(table.splitlines()[0] + "\n")
    with pytest.raises(ValueError, match="lists no place of split 'train'"):
        PointDataset(folder, "train", crop=CROP)
