"""Import CC-CCII: folders of 8-bit slices, each scan with one of three diagnoses.

    python -m data_prep.cc_ccii --source cc-ccii --output prepared/cc_ccii

Source: layout of the data set (Zhang et al., Cell 2020): class, patient, scan, slices; fold tables
of the MG-3D release, which are by patient, but overlap: three random 60/40 splits.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.cc_ccii_folds import CLASSES, Scan, read_fold, take_listed
from data_prep.command import importer_parser, run
from data_prep.pictures import options_of_call, settings_of_pictures, with_picture_form
from data_prep.splits import deal_folds
from data_prep.walk import is_left_behind, refuse_misnamed
from mg3d.preparation.prepare import (
    DEFAULT_OPTIONS,
    DatasetDescription,
    Prepared,
    Refusal,
    RunOptions,
    ScanRecord,
    prepare,
)
from mg3d.preparation.records import named
from mg3d.volumes.readers.grey_image import SUFFIXES
from mg3d.volumes.readers.payload import leads_nowhere

LABEL = "diagnosis"
FOLDS, SEED = 5, 0


def prepare_cc_ccii(
    source: str | Path,
    output: str | Path,
    options: RunOptions = DEFAULT_OPTIONS,
    *,
    folds: str | Path | None = None,
    fold: int = 0,
    num_folds: int = FOLDS,
) -> Prepared:
    """Prepare CC-CCII. Can be interrupted and started again.

    Args:
        source: folder with CP, NCP and Normal, or any of them.
        output: the prepared folder.
        options: the prepared form (default: the whole scan, stretched to the shape of the
            preset, `tiny` if none is named), and how to work.
        folds: folder of the released fold tables; None: folds by patient, stratified by diagnosis,
            of the patients in `source`.
        fold: held out as val with the released tables; else it is test, and the next fold val.
        num_folds: number of folds without the released tables, 3 or more.

    Raises:
        FileNotFoundError: if a folder or table is missing.
        ValueError: if a table is damaged, the fold does not exist, or there is nothing to prepare.
    """
    root = Path(source)
    refused: list[Refusal] = []
    scans = list(_find_scans(root, refused))
    facts: dict[str, Any] = {}
    if folds is None:
        rows = [
            (scan, *place)
            for scan, place in zip(scans, _deal(scans, fold, num_folds, refused), strict=True)
        ]
        val = (fold + 1) % num_folds
        split = f"{num_folds} folds by patient, seed {SEED}: {fold} is test, {val} val"
    else:
        listed = read_fold(Path(folds), fold)
        taken = take_listed(root, scans, listed, refused)
        rows = [(scan, where, str(fold) if where == "val" else "") for scan, where in taken]
        absent = sorted(listed.keys() - {(scan.patient, scan.scan) for scan in scans})
        facts["listed_scans_without_folder"] = named([f"p{p}-s{s}" for p, s in absent])
        split = f"released fold {fold} (by patient)"
    records = [
        ScanRecord(
            volume_id=scan.volume_id,
            patient_id=scan.patient,
            scan_id=scan.scan,
            split=where,
            fold=number,
            volume=scan.folder,
            labels={LABEL: CLASSES.index(scan.diagnosis)},
        )
        for scan, where, number in rows
    ]
    dataset = DatasetDescription(
        source="CC-CCII",
        root=root,
        refused=refused,
        labels=(LABEL,),
        label_classes={LABEL: CLASSES},
        facts={"split": split, **facts},
    )
    return prepare(records, output, dataset, with_picture_form(options))


def _find_scans(root: Path, refused: list[Refusal]) -> Iterator[Scan]:
    """Folders class/patient/scan that hold files, in the order of their names."""
    if not any((root / name).is_dir() for name in CLASSES):
        raise FileNotFoundError(
            f"{root} has none of the folders {', '.join(CLASSES)}; give the folder into which the "
            "archives were unpacked"
        )
    refuse_misnamed(root, CLASSES, refused)
    first: dict[str, str] = {}
    for diagnosis in CLASSES:
        for patient in _folders(root, root / diagnosis, refused):
            for folder in _folders(root, patient, refused):
                file = folder.relative_to(root).as_posix()
                scan = Scan(folder, patient.name, folder.name, diagnosis)
                if first.setdefault(scan.volume_id, file) == file:
                    yield scan
                else:
                    reason = f"the same patient and scan as {first[scan.volume_id]}; remove one"
                    refused.append(Refusal(file, reason))


def _folders(root: Path, folder: Path, refused: list[Refusal]) -> list[Path]:
    """Folders in a folder; slices and lost links that lie where folders do are refused."""
    if not folder.is_dir():
        return []
    inside = [path for path in folder.iterdir() if not is_left_behind(path.name)]
    for path in filter(leads_nowhere, inside):
        reason = "a link that leads nowhere; fetch what it stands for, or remove it"
        refused.append(Refusal(path.relative_to(root).as_posix(), reason))
    loose = [p for p in inside if p.suffix.lower() in SUFFIXES and p.is_file()]
    if loose:
        reason = f"{len(loose)} slices outside a scan's folder; expected class/patient/scan"
        refused.append(Refusal(folder.relative_to(root).as_posix(), reason))
    found = [path for path in inside if path.is_dir()]
    return sorted(found, key=lambda path: (not path.name.isdigit(), len(path.name), path.name))


def _deal(
    scans: list[Scan], held_out: int, folds: int, refused: list[Refusal]
) -> Iterator[tuple[str, str]]:
    """Split and fold of every scan, the same for all scans of a patient."""
    if folds < 3:
        raise ValueError(f"num_folds is 3 or more (train, val and test), got {folds}")
    if not 0 <= held_out < folds:
        raise ValueError(f"fold is 0 to {folds - 1}, got {held_out}")
    diagnoses: dict[str, set[str]] = {}
    for scan in scans:
        diagnoses.setdefault(scan.patient, set()).add(scan.diagnosis)
    strata = {patient: tuple(sorted(its)) for patient, its in diagnoses.items()}
    fold_of = deal_folds(strata, folds, SEED, refused) if strata else {}
    splits = {held_out: "test", (held_out + 1) % folds: "val"}
    for scan in scans:
        fold = fold_of[scan.patient]
        yield splits.get(fold, "train"), str(fold)


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = importer_parser(
        "cc_ccii",
        "Prepare CC-CCII, folders of slices. Can be interrupted and restarted.",
        source="folder with CP, NCP, Normal",
        form=settings_of_pictures(),
    )
    parser.add_argument(
        "--folds", type=Path, default=None, metavar="DIR",
        help="folder of the released tables CC_CCII_fold0_train.csv, ...; default: five folds "
        "of the patients that are there",
    )  # fmt: skip
    parser.add_argument("--fold", type=int, default=0, help="that is held out")
    parser.add_argument(
        "--num-folds", type=int, default=FOLDS, help="without --folds: how many, 3 or more"
    )
    asked = parser.parse_args(arguments)
    return run(
        lambda: prepare_cc_ccii(
            asked.source,
            asked.output,
            options_of_call(asked),
            folds=asked.folds,
            fold=asked.fold,
            num_folds=asked.num_folds,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
