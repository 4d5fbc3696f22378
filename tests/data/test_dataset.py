"""Patients as items, many as one batch, and what is hidden of them."""

import csv
import json

import numpy as np
import pytest
import torch

from mg3d.config import AugmentationSettings
from mg3d.data.batch import Patient, collate
from mg3d.data.dataset import VolumeReportDataset
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.data.prepared import write_array
from mg3d.text.tokens import tokenize_report

SHAPE = (32, 32, 32)


@pytest.fixture(scope="session")
def tokenizer(text_encoder):
    return text_encoder.tokenizer


@pytest.fixture
def load(tokenizer):
    def dataset(folder, split="train", volume_shape=SHAPE, max_tokens=192):
        return VolumeReportDataset(
            folder, split, tokenizer, max_tokens=max_tokens, volume_shape=volume_shape
        )

    return dataset


@pytest.fixture
def folder(tmp_path, write_patients):
    """Three training patients of three volumes each, one held-out patient; free to be broken."""
    return write_patients(tmp_path / "data", ["train"] * 3 + ["val"], 3)


@pytest.fixture
def edit(folder):
    """Change some cells of the manifest: edit(row, column=value)."""

    def change(row, **cells):
        path = folder / "manifest.csv"
        with path.open(newline="", encoding="utf-8") as table:
            rows = list(csv.DictReader(table))
        rows[row] |= cells
        with path.open("w", newline="", encoding="utf-8") as table:
            writer = csv.DictWriter(table, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        return folder

    return change


@pytest.fixture
def batch(tokenizer):
    reports = [["no effusion."], ["the heart is enlarged.", "there is a nodule."] * 6]
    patients = [
        Patient(str(i), str(i), torch.rand(1, *SHAPE), tokenize_report(tokenizer, report, 96))
        for i, report in enumerate(reports)
    ]
    return collate(0)(patients)


@pytest.fixture
def hide(text_encoder):
    def draw(batch, seed=3, **options):
        return batch.hide(
            torch.Generator().manual_seed(seed),
            block=8,
            voxel_ratio=0.5,
            word_ratio=0.15,
            mask_token=text_encoder.mask_token,
            vocabulary_size=text_encoder.vocabulary_size,
            special_tokens=text_encoder.special_tokens,
            **options,
        )

    return draw


def test_an_item_is_a_volume_between_0_and_1_and_its_report(load, folder):
    dataset = load(folder)
    assert len(dataset) == 9
    patient = dataset[4]
    assert (patient.patient_id, patient.volume_id) == ("train_1", "train_1_a_2")
    stored = np.random.default_rng([1, 2]).integers(0, 256, SHAPE)
    assert torch.equal(patient.volume, torch.from_numpy(stored[None] / 255).float())
    assert patient.report == dataset.reports[4]


def test_a_split_holds_its_own_patients_and_their_volumes_together(load, folder):
    train, val = load(folder), load(folder, "val")
    assert train.patients == ["train_0", "train_1", "train_2"]
    assert [rows.tolist() for rows in train.volumes_of] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert train.first_volumes == [0, 3, 6]
    assert (val.patients, len(val)) == (["val_3"], 3)


def test_volumes_of_a_patient_are_found_wherever_they_stand_in_the_table(load, folder, edit):
    for row, patient in ((1, "train_2"), (7, "train_0")):
        edit(row, patient_id=patient)
    dataset = load(folder)
    assert dataset.patients == ["train_0", "train_2", "train_1"]
    assert [rows.tolist() for rows in dataset.volumes_of] == [[0, 2, 7], [1, 6, 8], [3, 4, 5]]
    assert dataset.first_volumes == [0, 1, 3]


def test_labels_are_one_row_a_patient_and_unknown_stays_unknown(load, folder, edit):
    edit(0, **{"Lung nodule": "", "Cardiomegaly": "1", "Emphysema": "0"})
    edit(1, **{"Cardiomegaly": "0"})  # of a second reconstruction: not looked at
    labels = load(folder).labels()
    assert labels.shape == (3, 18)
    column = CT_RATE_FINDINGS.index
    assert np.isnan(labels[0, column("Lung nodule")])
    assert labels[0, column("Cardiomegaly")] == 1
    assert labels[0, column("Emphysema")] == 0
    assert np.isnan(labels).sum() == 1


def test_a_mask_is_the_findings_bit(load, folder, edit):
    bits = np.zeros(SHAPE, np.int32)
    bits[1, 2, 3] = 1 << CT_RATE_FINDINGS.index("Lung nodule")
    bits[4, 5, 6] = (1 << 17) | (0b111 << CT_RATE_FINDINGS.index("Atelectasis"))  # and the next
    write_array(folder / "m.safetensors", "masks", bits, {})
    edit(3, masks="m.safetensors")
    dataset = load(folder)
    assert dataset.load_mask(3, "Lung nodule").nonzero().tolist() == [[1, 2, 3], [4, 5, 6]]
    last = dataset.load_mask(3, "Interlobular septal thickening")
    assert last.nonzero().tolist() == [[4, 5, 6]]
    assert not dataset.load_mask(3, "Cardiomegaly").any()


def test_any_set_of_labels_and_class_masks_will_do(load, folder, edit):
    classes = np.zeros(SHAPE, np.uint8)
    classes[1, 2, 3], classes[4, 5, 6] = 1, 2
    write_array(folder / "m.safetensors", "masks", classes, {})
    edit(3, masks="m.safetensors", Emphysema="2")
    facts = {
        "labels": ["Emphysema"],
        "label_classes": {"Emphysema": ["none", "some", "much"]},
        "masks": {"kind": "classes", "names": ["liver", "tumour"]},
    }
    (folder / "dataset.json").write_text(json.dumps(facts))
    dataset = load(folder)
    assert dataset.label_names == ("Emphysema",)
    assert dataset.labels().shape == (3, 1)
    assert dataset.labels()[1, 0] == 2
    assert dataset.load_mask(3, "liver").nonzero().tolist() == [[1, 2, 3]]
    assert dataset.load_mask(3, "tumour").nonzero().tolist() == [[4, 5, 6]]
    with pytest.raises(ValueError, match="mark liver, tumour, not 'Emphysema'"):
        dataset.load_mask(3, "Emphysema")


def test_without_a_mask_file_a_finding_is_nowhere(load, folder):
    mask = load(folder).load_mask(0, "Lung nodule")
    assert tuple(mask.shape) == SHAPE
    assert not mask.any()


def test_the_spacing_is_that_of_the_array_axes(load, folder):
    assert load(folder).spacing_mm == (10.0, 11.0, 12.0)


def test_long_reports_are_cut(load, folder):
    assert max(len(report.tokens) for report in load(folder, max_tokens=24).reports) == 24


def test_missing_volumes_are_counted_and_named_at_construction(load, folder):
    for name in ("train_1_a_2", "train_2_a_1"):
        (folder / f"{name}.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of 9 volumes.*train_1_a_2.*run data_prep"):
        load(folder)
    assert len(load(folder, "val")) == 3  # the other split is whole


def test_a_report_without_words_is_refused_by_name(load, folder, edit):
    edit(4, findings="Not given.", impression="")
    with pytest.raises(ValueError, match=r"1 of 9 reports of split 'train'.*first train_1_a_2"):
        load(folder)


def test_data_without_any_report_are_no_training_data_with_reports(load, folder, edit):
    for row in range(9):
        edit(row, findings="", impression="")
    with pytest.raises(ValueError, match=r"has no reports; read it with mg3d\.VolumeDataset"):
        load(folder)


def test_another_grid_is_refused_with_both_shapes(load, folder):
    with pytest.raises(ValueError, match=r"shape \(32, 32, 32\) instead of \(48, 32, 48\)"):
        load(folder, volume_shape=(48, 32, 48))


def test_a_split_that_is_not_there_is_refused_with_those_there_are(load, folder):
    with pytest.raises(ValueError, match=r"no volume in split 'test'.*'train': 9, 'val': 3"):
        load(folder, "test")


def test_a_batch_pads_what_is_shorter(batch, tokenizer):
    short, long = (tokenize_report(tokenizer, list(s), 96) for s in batch.sentences)
    length, longest = len(short.tokens), len(long.tokens)
    assert len(batch) == 2 and batch.patient_id == ("0", "1")
    assert batch.volume.shape == (2, 1, *SHAPE)
    assert batch.tokens.shape == (2, longest)
    assert batch.tokens[0, :length].equal(short.tokens) and (batch.tokens[0, length:] == 0).all()
    assert batch.tokens[1].equal(long.tokens)
    for name, value in (("sentence", short.sentence), ("word", short.word)):
        assert getattr(batch, name)[0, :length].equal(value)
        assert (getattr(batch, name)[0, length:] == -1).all()
    assert batch.padding[0].nonzero().flatten().tolist() == list(range(length, longest))
    assert not batch.padding[1].any()
    assert batch.sentence_padding.tolist() == [[False] + [True] * 11, [False] * 12]
    assert batch.voxel_mask is batch.word_mask is batch.hidden_tokens is None


def test_padding_tokens_are_the_tokenizers_own(batch, tokenizer):
    patients = [
        Patient(str(i), "", torch.rand(1, 8, 8, 8), tokenize_report(tokenizer, list(report), 96))
        for i, report in enumerate(batch.sentences)
    ]
    assert (collate(9)(patients).tokens[0][batch.padding[0]] == 9).all()


def test_the_same_generator_hides_the_same_and_another_does_not(batch, hide):
    first, again, other = hide(batch), hide(batch), hide(batch, seed=4)
    for name in ("voxel_mask", "word_mask", "hidden_tokens"):
        assert getattr(first, name).equal(getattr(again, name))
        assert not getattr(first, name).equal(getattr(other, name))
    assert first.volume is batch.volume and first.tokens is batch.tokens  # the truth stays


def test_the_share_asked_for_is_hidden_of_every_patient(batch, hide):
    hidden = hide(batch)
    assert hidden.voxel_mask.flatten(1).float().mean(1).tolist() == [0.5, 0.5]
    assert not hidden.voxel_mask[0].equal(hidden.voxel_mask[1])
    for row in range(2):
        words = set(batch.word[row].tolist()) - {-1}
        chosen = set(batch.word[row][hidden.word_mask[row]].tolist())
        assert len(chosen) == max(1, round(0.15 * len(words)))
    assert not hidden.word_mask[batch.padding].any()
    kept = ~hidden.word_mask
    assert hidden.hidden_tokens[kept].equal(batch.tokens[kept])


@pytest.mark.parametrize(
    ("options", "left_out"),
    [({"voxels": False}, ["voxel_mask"]), ({"words": False}, ["word_mask", "hidden_tokens"])],
)
def test_what_is_not_asked_for_stays_whole_and_changes_nothing_else(batch, hide, options, left_out):
    both, one = hide(batch), hide(batch, **options)
    for name in ("voxel_mask", "word_mask", "hidden_tokens"):
        if name in left_out:
            assert getattr(one, name) is None
        else:
            assert getattr(one, name).equal(getattr(both, name))


def test_what_is_hidden_of_a_patient_does_not_depend_on_the_others(load, folder, hide):
    dataset = load(folder)
    patients = [dataset[row] for row in dataset.first_volumes]
    whole = hide(collate(0)(patients))
    for row, patient in enumerate(patients):
        alone = hide(collate(0)([patient]), first=row)  # as another process would hold it
        length = alone.tokens.shape[1]
        assert alone.voxel_mask[0].equal(whole.voxel_mask[row])
        assert alone.word_mask[0].equal(whole.word_mask[row, :length])
        assert alone.hidden_tokens[0].equal(whole.hidden_tokens[row, :length])
    assert not hide(collate(0)(patients[:1]), first=1).voxel_mask[0].equal(whole.voxel_mask[0])


def test_how_a_patient_is_changed_does_not_depend_on_the_others(batch):
    def changed(part, first):
        generator = torch.Generator().manual_seed(3)
        volume = part.jitter(
            AugmentationSettings(jitter_shift=2, jitter_noise=0.1), generator, first=first
        ).volume
        return volume, generator.get_state()

    whole, state = changed(batch, 0)
    second, state_of_second = changed(batch.part(1, 2), 1)
    assert second[0].equal(whole[1])
    assert state_of_second.equal(state)  # what is drawn next is the same on every process
    assert not changed(batch.part(1, 2), 0)[0].equal(second)
    assert batch.jitter(AugmentationSettings(), torch.Generator()) is batch


def test_hiding_takes_as_many_numbers_wherever_the_patients_stand(batch, text_encoder):
    def state_after(first):
        generator = torch.Generator().manual_seed(3)
        batch.hide(
            generator,
            block=8,
            voxel_ratio=0.5,
            word_ratio=0.15,
            mask_token=4,
            vocabulary_size=text_encoder.vocabulary_size,
            special_tokens=(0, 4),
            first=first,
        )
        return generator.get_state()

    assert state_after(0).equal(state_after(5))


def test_a_part_of_a_batch_keeps_its_patients_and_what_is_hidden_of_them(batch, hide):
    hidden = hide(batch)
    part = hidden.part(1, 2)
    assert (len(part), part.patient_id, part.sentences) == (1, ("1",), batch.sentences[1:])
    for name in ("volume", "tokens", "padding", "sentence", "word", "sentence_padding",
                 "voxel_mask", "word_mask", "hidden_tokens"):  # fmt: skip
        assert getattr(part, name).equal(getattr(hidden, name)[1:]), name
    assert batch.part(0, 1).voxel_mask is None


def test_a_batch_moves_as_a_whole(batch, hide):
    moved = hide(batch).to("meta")
    held = [value for value in vars(moved).values() if isinstance(value, torch.Tensor)]
    assert len(held) == 9
    assert all(value.device.type == "meta" for value in held)
    assert moved.patient_id == batch.patient_id


def test_the_impression_is_kept_by_the_named_rule_and_each_report_counted_once(
    folder, tokenizer, edit
):
    for row in range(3):  # three reconstructions of one scan
        edit(row, findings="No node. " * 100, impression="A mass is seen.")
    kept = {}
    for rule in ("end", "keep_impression"):
        data = VolumeReportDataset(
            folder, "train", tokenizer, max_tokens=96, volume_shape=SHAPE, report_cut=rule
        )
        kept[rule] = data.reports[0].sentences[-1]
        lost = 3 if rule == "end" else 0  # of three patients with three reconstructions each
        assert (data.left_out.reports_cut, data.left_out.impressions_lost) == (3, lost)
    assert kept == {"end": "no node.", "keep_impression": "a mass is seen."}
