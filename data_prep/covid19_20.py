"""Import COVID-19-20 (lesion segmentation) from the challenge's folder.

    python -m data_prep.covid19_20 --source COVID-19-20_v2/Train --output prepared/covid19_20

Masks are class maps (1: lesion). The whole scan is kept, at one spacing. One scan per patient.

Source: file names of the COVID-19-20 challenge (Roth et al., Med. Image Anal. 2022); folds: the
MG-3D release, runs of consecutive case numbers.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from data_prep.command import importer_parser, options_from, run
from data_prep.folds import check_held_out, fold_of_number, read_fold_list, split_of_fold
from data_prep.walk import Tree, describe_skipped, refuse_lost_links, walk
from mg3d.data.masks import MaskMeaning
from mg3d.preparation.prepare import (
    DEFAULT_OPTIONS,
    DatasetDescription,
    Prepared,
    PrepareSettings,
    Refusal,
    RunOptions,
    ScanRecord,
    prepare,
)
from mg3d.volumes.grid import Grid

IMAGE = re.compile(r"volume-(covid19-A-(\d{4}))(_\d)?_ct(?i:\.nii(\.gz)?)")  # a few have _0 or _1
EXTENSION = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
FOLD_STARTS = (167, 319, 437, 573)  # first case number of the released folds 1 to 4
UNLABELLED = ("validation", "test")  # starts of folder names whose cases have no published mask
SETTINGS = PrepareSettings(grid=Grid(None, (5.0, 1.25, 1.25)))  # slices are thick


def prepare_covid19_20(
    source: str | Path,
    output: str | Path,
    options: RunOptions = DEFAULT_OPTIONS,
    *,
    folds: str | Path = "released",
    fold: str = "0",
) -> Prepared:
    """Prepare COVID-19-20. Can be interrupted and started again.

    Args:
        source: folder with `volume-covid19-A-0003_ct.nii.gz`, `..._seg.nii.gz`, also deeper inside.
        output: the prepared folder.
        options: the prepared form (default: 5 x 1.25 x 1.25 mm), and how to work.
        folds: "released", or a fold list (JSON, `training: [{fold, image, label}]`).
        fold: held out as split "val".

    Raises:
        FileNotFoundError: if the folder or the fold list is missing.
        ValueError: if the fold list is damaged, or there is nothing to prepare.
    """
    source = Path(source)
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is no folder; give the challenge's Train part")
    fold_list = None if str(folds) == "released" else read_fold_list(Path(folds))
    known = [str(n) for n in range(5)] if fold_list is None else list(fold_list.values())
    check_held_out(fold, known)
    refused: list[Refusal] = []
    tree = walk(source)
    records = list(_records(source, tree, fold_list, fold, refused))
    refuse_lost_links(tree, source, records, refused)
    dataset = DatasetDescription(
        source="COVID-19-20",
        root=source,
        refused=sorted(refused, key=lambda r: (r.by_rule, r.file)),
        masks=MaskMeaning("classes", ("lesion",)),
        facts={
            "folds": {
                "name": "released" if fold_list is None else Path(folds).name,
                "held_out": fold,
            },
            **describe_skipped(tree, source),
        },
    )
    return prepare(records, output, dataset, options.with_form(SETTINGS))


def _records(
    source: Path,
    tree: Tree,
    fold_list: dict[str, str] | None,
    held_out: str,
    refused: list[Refusal],
) -> Iterator[ScanRecord]:
    """One record per image with a mask; all other images are refused by name."""
    files = [path for path in tree.files if EXTENSION.search(path.name)]
    images = [path for path in files if not EXTENSION.sub("", path.name).endswith("_seg")]
    taken: dict[str, str] = {}
    for path in images:
        file, match = path.relative_to(source).as_posix(), IMAGE.fullmatch(path.name)
        case = EXTENSION.sub("", path.name)
        masks = _masks_of(path)
        folders = [part.lower() for part in (source.name, *path.relative_to(source).parts[:-1])]
        by_rule = False
        if not match:
            reason = "expected a name like volume-covid19-A-0003_ct.nii.gz; rename or remove it"
        elif not masks.is_file():
            by_rule = any(folder.startswith(UNLABELLED) for folder in folders)
            reason = (
                "no mask is published for this part of the challenge"
                if by_rule
                else f"its mask {masks.name} is missing; fetch it"
            )
        elif case in taken:
            reason = f"the same case as {taken[case]}; remove one"
        elif fold_list is not None and path.name not in fold_list:
            reason = "not in the fold list; add it"
        else:
            taken[case] = file
            name, patient, number = path.name, match[1], int(match[2])
            fold = fold_list[name] if fold_list else fold_of_number(number, FOLD_STARTS)
            case = patient + (match[3] or "")
            yield ScanRecord(
                volume_id=case,
                patient_id=patient,
                scan_id=case,
                split=split_of_fold(fold, held_out),
                fold=fold,
                volume=path,
                masks=masks,
            )
            continue
        refused.append(Refusal(file, reason, by_rule))


def _masks_of(image: Path) -> Path:
    """The masks beside an image, packed or not; if there are none, how they should be called."""
    name = EXTENSION.sub("", image.name).removesuffix("_ct") + "_seg"
    ending = EXTENSION.search(image.name)
    assert ending
    paths = [image.with_name(name + end) for end in (ending[0], ".nii.gz", ".nii")]
    return next((path for path in paths if path.is_file()), paths[0])


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = importer_parser(
        "covid19_20",
        "Prepare the labelled part of COVID-19-20.",
        source="folder of *_ct and *_seg files",
        form=SETTINGS,
    )
    parser.add_argument(
        "--folds", default="released", metavar="released|FILE.json",
        help="the folds of MG-3D, or a list of your own",
    )  # fmt: skip
    parser.add_argument("--fold", default="0", help="the fold that is held out (val)")
    asked = parser.parse_args(arguments)
    return run(
        lambda: prepare_covid19_20(
            asked.source,
            asked.output,
            options_from(asked, SETTINGS),
            folds=asked.folds,
            fold=asked.fold,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
