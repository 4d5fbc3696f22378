"""Rows 10 to 12: which files of a folder are read, which are skipped, which links are followed."""

import random
import shutil

import pytest
from ct_rate_tree import Tree

from data_prep.acdc import prepare_acdc
from data_prep.cc_ccii import prepare_cc_ccii
from data_prep.covid19_20 import prepare_covid19_20
from data_prep.ct_rate import prepare_ct_rate
from data_prep.ctrg_chest import prepare_ctrg_chest
from data_prep.luna16 import prepare_luna16
from data_prep.msd import prepare_msd
from data_prep.phantom.layouts.__main__ import LAYOUTS
from data_prep.rad_chestct import prepare_rad_chestct
from data_prep.stoic2021 import prepare_stoic2021
from data_prep.walk import is_left_behind, walk
from mg3d.data.manifest import read_manifest
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid
from mg3d.volumes.intensity import EightBit

SMALL = PrepareSettings(grid=Grid((4, 4, 4)))
PICTURES = PrepareSettings(grid=Grid((4, 4, 4)), intensity=EightBit())
SOURCES = {  # layout -> patients, folder inside, importer, form, its own options
    "acdc": (3, "", prepare_acdc, SMALL, {"num_folds": 3}),
    "acdc-nnunet": (2, "", prepare_acdc, SMALL, {"num_folds": 2}),
    "cc_ccii": (3, "", prepare_cc_ccii, PICTURES, {"num_folds": 3}),
    "covid19_20": (2, "", prepare_covid19_20, SMALL, {}),
    "ctrg_chest": (2, "", prepare_ctrg_chest, PICTURES, {}),
    "ctrg_chest-jpg": (2, "", prepare_ctrg_chest, PICTURES, {}),
    "luna16": (2, "", prepare_luna16, SMALL, {}),
    "msd_lung": (2, "Task06_Lung", prepare_msd, SMALL, {}),
    "rad_chestct": (2, "", prepare_rad_chestct, SMALL, {}),
    "stoic2021": (3, "", prepare_stoic2021, SMALL, {"folds": 2}),
}
LEFT = ("._{}", "Thumbs.db", "desktop.ini", ".DS_Store", "readme.txt")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Raw folders by layout, and what importing them gives."""
    made = {}

    def make(layout):
        if layout not in made:
            patients, inside, *_ = SOURCES[layout]
            root = tmp_path_factory.mktemp(layout)
            LAYOUTS[layout](root / "raw", patients, 0)
            made[layout] = (
                root / "raw" / inside,
                take(layout, root / "raw" / inside, root / "out"),
            )
        return made[layout]

    return make


def take(layout, source, output):
    """What an import is, in a few numbers."""
    _, _, importer, form, how = SOURCES[layout]
    done = importer(source, output, RunOptions(settings=form, workers=0), **how)
    assert not done.refused, done.refused
    facts = read_manifest(output).facts
    return facts["counts"]["volumes"], facts["voxels_sha256"], facts.get("skipped_files")


def link_folders(source, target, depth):
    """The same tree, in which the folders at a depth (or the files) are symbolic links."""
    target.mkdir()
    for path in source.iterdir():
        if path.is_dir() and depth > 1:
            link_folders(path, target / path.name, depth - 1)
        else:
            (target / path.name).symlink_to(path)


@pytest.mark.parametrize("layout", SOURCES)
def test_row_12_trees_of_links_are_read_as_the_trees_they_stand_for(layout, written, tmp_path):
    source, expected = written(layout)
    assert expected[0] > 1
    for depth in (1, 2, 3, 9):
        link_folders(source, tmp_path / f"links{depth}", depth)
        found = take(layout, tmp_path / f"links{depth}", tmp_path / f"out{depth}")
        assert found[:2] == expected[:2], depth
    (tmp_path / "whole").symlink_to(source)
    assert take(layout, tmp_path / "whole", tmp_path / "out")[:2] == expected[:2]


def test_row_12_patients_that_are_links_are_all_of_ct_rates(tmp_path):
    tree = Tree(tmp_path / "raw")
    for patient in range(1, 5):
        tree.full(f"train_{patient}_a_1", seed=patient)
    for patient in (2, 3):
        folder = tmp_path / "raw/train_fixed" / f"train_{patient}"
        shutil.move(folder, tmp_path / f"elsewhere_{patient}")
        folder.symlink_to(tmp_path / f"elsewhere_{patient}")
    done = prepare_ct_rate(tree.root, tmp_path / "out", RunOptions(settings=SMALL, workers=0))
    assert (done.taken, done.refused) == (4, ())


def test_row_12_loops_of_links_end_and_everything_is_found_once(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/scan.nii").write_bytes(b"")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/self").symlink_to(tmp_path / "a/self2")
    (tmp_path / "a/self2").symlink_to(tmp_path / "a/self")
    tree = walk(tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path in tree.files]
    assert names == ["a/b/scan.nii", "a/self", "a/self2"]  # two that lead nowhere


def test_row_12_folders_that_link_to_one_another_are_walked_in_no_time(tmp_path):
    for one in range(12):
        (tmp_path / f"f{one}").mkdir()
        (tmp_path / f"f{one}" / f"scan{one}.nii").write_bytes(b"")
    for one in range(12):
        for other in range(12):
            (tmp_path / f"f{one}" / f"to{other}").symlink_to(tmp_path / f"f{other}")
    tree = walk(tmp_path)
    assert {path.name for path in tree.files} == {f"scan{n}.nii" for n in range(12)}
    assert len(tree.files) < 12 * 13


def test_row_12_a_link_that_leads_nowhere_is_refused_by_name(written, tmp_path):
    source, _ = written("luna16")
    link_folders(source, tmp_path / "raw", 9)
    victim = next((tmp_path / "raw").rglob("*.mhd"))
    victim.unlink()
    victim.symlink_to(tmp_path / "gone.mhd")
    done = prepare_luna16(tmp_path / "raw", tmp_path / "out", RunOptions(settings=SMALL, workers=0))
    assert [refusal.file for refusal in done.refused] == [
        victim.relative_to(tmp_path / "raw").as_posix()
    ]
    assert "No such file" in done.refused[0].reason


@pytest.mark.parametrize("layout", SOURCES)
def test_row_11_what_systems_leave_behind_changes_nothing_and_is_counted(
    layout, written, tmp_path, caplog
):
    source, expected = written(layout)
    raw = shutil.copytree(source, tmp_path / "raw")
    folders = [raw, *(path for path in raw.rglob("*") if path.is_dir())]
    for folder in folders:
        twin = next((p.name for p in folder.iterdir() if p.is_file()), "scan.nii.gz")
        for name in LEFT:
            (folder / name.format(twin)).write_bytes(b"\0\5\26\7 no data")
    (raw / "__MACOSX").mkdir()
    (raw / "__MACOSX" / "scan.nii.gz").write_bytes(b"no data")
    done = take(layout, raw, tmp_path / "out")
    assert done[:2] == expected[:2]
    if layout in ("acdc", "covid19_20", "luna16", "rad_chestct", "stoic2021"):
        assert done[2]["count"] >= 4
        assert "are no data" in caplog.text or "leave behind were skipped" in caplog.text
    if layout in ("cc_ccii", "ctrg_chest-jpg"):
        warnings = (tmp_path / "out/warnings.csv").read_text()
        assert "files are no images, first" in warnings


def test_row_10_a_twin_is_no_slice_where_slices_are_counted(written, tmp_path):
    source, _ = written("cc_ccii")
    raw = shutil.copytree(source, tmp_path / "raw")
    for path in [*raw.rglob("*.png")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
    done = prepare_cc_ccii(
        raw, tmp_path / "out", RunOptions(settings=PICTURES, workers=0), folds=raw / "folds"
    )
    assert (done.taken, done.refused) == (5, ())


@pytest.mark.parametrize(
    "name", ["._a.nii", ".DS_Store", "Thumbs.db", "THUMBS.DB", "desktop.ini", "__MACOSX", "@eaDir"]
)
def test_row_11_names_that_are_never_data(name):
    assert is_left_behind(name)
    assert not is_left_behind(name.lstrip("._@").replace("humbs.db", "humb.nii") + "x")


def test_link_trees_by_the_hundred_give_every_file_or_refuse_it(tmp_path):
    """Random links among random folders: every real file is found under some name, none is lost."""
    chance = random.Random(12)
    for number in range(300):
        root = tmp_path / str(number)
        folders = [root]
        root.mkdir()
        for _ in range(chance.randint(1, 5)):
            folders.append(chance.choice(folders) / f"d{len(folders)}")
            folders[-1].mkdir()
        files = set()
        for count in range(chance.randint(1, 6)):
            path = chance.choice(folders) / f"s{count}.nii"
            path.write_bytes(b"")
            files.add(path.resolve())
        for count in range(chance.randint(0, 6)):
            goal = chance.choice([*folders, *files, root / "gone", tmp_path / "nowhere"])
            (chance.choice(folders) / f"l{count}").symlink_to(goal)
        found = walk(root)
        real = {path.resolve() for path in found.files if path.exists()}
        assert files <= real
        assert all(path.name.startswith("l") for path in found.files if not path.exists())
        assert len(found.files) == len(set(found.files)) < 500
