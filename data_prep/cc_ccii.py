"""CC-CCII: from folders of 8-bit slices to a prepared folder with one of three diagnoses.

    python -m data_prep.cc_ccii --source cc-ccii --output prepared/cc_ccii

Source: layout of the data set (Zhang et al., Cell 2020): class, patient, scan, slices; fold tables
of the MG-3D release, which are by patient, but overlap: three random 60/40 splits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep.command import importer_parser, run
from data_prep.pictures import options_of_call, settings_of_pictures, with_picture_form
from data_prep.splits import deal_folds
from data_prep.tables import Row, TableError, read_number, read_table, show
from mg3d.preparation.prepare import (
    DEFAULT_OPTIONS,
    DatasetDescription,
    Prepared,
    Refusal,
    RunOptions,
    ScanRecord,
    prepare,
)
from mg3d.volumes.readers.image_folder import SUFFIXES

LABEL = "diagnosis"
CLASSES = ("Normal", "CP", "NCP")  # 0, 1, 2: healthy, common pneumonia, COVID-19
COLUMNS = ("target", "label", "patient_id", "scan_id", "n_slice")
FOLD_TABLE = "CC_CCII_fold{}_{}.csv"
SIDES = {"train": "train", "valid": "val"}
FOLDS, SEED = 5, 0


@dataclass(frozen=True)
class _Scan:
    """A folder of slices."""

    folder: Path
    patient: str
    scan: str
    diagnosis: str

    @property
    def volume_id(self) -> str:
        return f"p{self.patient}-s{self.scan}"


@dataclass(frozen=True)
class _Listed:
    """What a fold table says of a scan."""

    split: str
    diagnosis: str
    slices: int
    place: str


def prepare_cc_ccii(
    source: str | Path,
    output: str | Path,
    options: RunOptions = DEFAULT_OPTIONS,
    *,
    folds: str | Path | None = None,
    fold: int = 0,
) -> Prepared:
    """Prepare CC-CCII. Can be interrupted and started again.

    Args:
        source: folder with CP, NCP and Normal, or any of them.
        output: the prepared folder.
        options: the prepared form (default: the whole scan, stretched to the shape of the
            preset, `tiny` if none is named), and how to work.
        folds: folder of the released fold tables; None: five folds of the patients that are there,
            dealt with equal shares of the diagnoses.
        fold: that is held out. Of five: as test, the next one as val. Released: as val, as there.

    Raises:
        FileNotFoundError: if a folder or table is missing.
        ValueError: if a table is damaged, the fold does not exist, or there is nothing to prepare.
    """
    root = Path(source)
    refused: list[Refusal] = []
    scans = list(_find_scans(root, refused))
    if folds is None:
        rows = [(scan, *place) for scan, place in zip(scans, _deal(scans, fold), strict=True)]
        split = f"{FOLDS} folds by patient, seed {SEED}: {fold} is test, {(fold + 1) % FOLDS} val"
    else:
        listed = read_fold(Path(folds), fold)
        taken = _listed(root, scans, listed, refused)
        rows = [(scan, where, str(fold) if where == "val" else "") for scan, where in taken]
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
        facts={"split": split},
    )
    return prepare(records, output, dataset, with_picture_form(options))


def read_fold(folder: Path, fold: int) -> dict[tuple[str, str], _Listed]:
    """(patient, scan) -> what the two tables of a released fold say.

    Raises:
        FileNotFoundError: if a table is missing.
        TableError: if a row is wrong, or a patient is on both sides.
    """
    listed: dict[tuple[str, str], _Listed] = {}
    side_of: dict[str, str] = {}
    for side, split in SIDES.items():
        path = folder / FOLD_TABLE.format(fold, side)
        for row in read_table(path, COLUMNS):
            patient, scan = row["patient_id"].strip(), row["scan_id"].strip()
            found = _read_row(path, row, split)
            if listed.setdefault((patient, scan), found) is not found:
                raise TableError(f"{found.place}: scan {show(scan)} is there twice; keep one row")
            if side_of.setdefault(patient, split) != split:
                raise TableError(
                    f"{found.place}: patient {show(patient)} is also in the other table of this "
                    "fold, so scores would be too good; correct the tables"
                )
    return listed


def _read_row(path: Path, row: Row, split: str) -> _Listed:
    place = f"{path}, line {row.line}"
    try:
        target, slices = read_number(row["target"]), read_number(row["n_slice"])
    except ValueError as error:
        raise TableError(f"{place}: {error}; correct it") from error
    diagnosis = row["label"].strip()
    if diagnosis not in CLASSES or target != CLASSES.index(diagnosis):
        raise TableError(
            f"{place}: label {show(diagnosis)} and target {show(row['target'])}, expected Normal "
            "0, CP 1 or NCP 2; correct it"
        )
    if slices is None or slices < 1 or slices % 1:
        raise TableError(f"{place}: n_slice {show(row['n_slice'])}, expected a number of slices")
    return _Listed(split, diagnosis, int(slices), place)


def _find_scans(root: Path, refused: list[Refusal]) -> Iterator[_Scan]:
    """Folders class/patient/scan that hold files, in the order of their names."""
    if not any((root / name).is_dir() for name in CLASSES):
        raise FileNotFoundError(
            f"{root} has none of the folders {', '.join(CLASSES)}; give the folder into which the "
            "archives were unpacked"
        )
    first: dict[str, str] = {}
    for diagnosis in CLASSES:
        for patient in _folders(root / diagnosis):
            for folder in _folders(patient):
                file = folder.relative_to(root).as_posix()
                scan = _Scan(folder, patient.name, folder.name, diagnosis)
                if first.setdefault(scan.volume_id, file) == file:
                    yield scan
                else:
                    reason = f"the same patient and scan as {first[scan.volume_id]}; remove one"
                    refused.append(Refusal(file, reason))


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"]
    return sorted(found, key=lambda path: (not path.name.isdigit(), len(path.name), path.name))


def _deal(scans: list[_Scan], held_out: int) -> Iterator[tuple[str, str]]:
    """Split and fold of every scan, decided for its patient."""
    if not 0 <= held_out < FOLDS:
        raise ValueError(f"fold is 0 to {FOLDS - 1}, got {held_out}")
    diagnoses: dict[str, set[str]] = {}
    for scan in scans:
        diagnoses.setdefault(scan.patient, set()).add(scan.diagnosis)
    fold_of = deal_folds({p: tuple(sorted(d)) for p, d in diagnoses.items()}, FOLDS, SEED)
    splits = {held_out: "test", (held_out + 1) % FOLDS: "val"}
    for scan in scans:
        fold = fold_of[scan.patient]
        yield splits.get(fold, "train"), str(fold)


def _listed(
    root: Path,
    scans: list[_Scan],
    listed: dict[tuple[str, str], _Listed],
    refused: list[Refusal],
) -> Iterator[tuple[_Scan, str]]:
    """Scans that the released fold takes, with their split; the others with their reason."""
    for scan in scans:
        file = scan.folder.relative_to(root).as_posix()
        known = listed.get((scan.patient, scan.scan))
        if known is None:
            refused.append(Refusal(file, "not in the tables of the released fold", by_rule=True))
            continue
        there = sum(path.suffix.lower() in SUFFIXES for path in scan.folder.iterdir())
        if known.diagnosis != scan.diagnosis:
            reason = f"in folder {scan.diagnosis}, but the fold table says {known.diagnosis}"
            refused.append(Refusal(file, f"{reason}; which is right?"))
        elif known.slices != there:
            reason = f"{there} slices, but the fold table says {known.slices}; unpack it again"
            refused.append(Refusal(file, reason))
        else:
            yield scan, known.split


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
    asked = parser.parse_args(arguments)
    return run(
        lambda: prepare_cc_ccii(
            asked.source,
            asked.output,
            options_of_call(asked),
            folds=asked.folds,
            fold=asked.fold,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
