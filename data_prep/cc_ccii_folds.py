"""CC-CCII's released fold tables, and the scans on disk that they list.

Source: fold tables of the MG-3D release, which are by patient, but overlap: three random 60/40
splits.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.tables import Row, TableError, read_number, read_table, show
from data_prep.walk import is_left_behind
from mg3d.preparation.records import Refusal
from mg3d.volumes.readers.image_folder import SUFFIXES

__all__ = ["CLASSES", "FOLD_TABLE", "Scan", "read_fold", "take_listed"]

CLASSES = ("Normal", "CP", "NCP")  # 0, 1, 2: healthy, common pneumonia, COVID-19
COLUMNS = ("target", "label", "patient_id", "scan_id", "n_slice")
FOLD_TABLE = "CC_CCII_fold{}_{}.csv"
SIDES = {"train": "train", "valid": "val"}


@dataclass(frozen=True)
class Scan:
    """A folder of slices."""

    folder: Path
    patient: str
    scan: str
    diagnosis: str

    @property
    def volume_id(self) -> str:
        """Patient and scan in one name."""
        return f"p{self.patient}-s{self.scan}"


@dataclass(frozen=True)
class Listed:
    """Row of a fold table for one scan."""

    split: str
    diagnosis: str
    slices: int
    place: str = field(compare=False)


def read_fold(folder: Path, fold: int) -> dict[tuple[str, str], Listed]:
    """Read the two tables of a released fold: (patient, scan) -> row.

    Raises:
        FileNotFoundError: if a table is missing.
        TableError: if a row is wrong, or a patient is in both tables.
    """
    listed: dict[tuple[str, str], Listed] = {}
    side_of: dict[str, str] = {}
    for side, split in SIDES.items():
        path = folder / FOLD_TABLE.format(fold, side)
        for row in read_table(path, COLUMNS):
            patient, scan = row["patient_id"].strip(), row["scan_id"].strip()
            found = _read_row(path, row, split)
            if listed.setdefault((patient, scan), found) != found:
                raise TableError(
                    f"{found.place}: scan {show(scan)} has another row that says something else "
                    f"({listed[patient, scan].place}); keep the right one"
                )
            if side_of.setdefault(patient, split) != split:
                raise TableError(
                    f"{found.place}: patient {show(patient)} is also in the other table of this "
                    "fold, so scores would be too good; correct the tables"
                )
    return listed


def _read_row(path: Path, row: Row, split: str) -> Listed:
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
    return Listed(split, diagnosis, int(slices), place)


def take_listed(
    root: Path,
    scans: list[Scan],
    listed: dict[tuple[str, str], Listed],
    refused: list[Refusal],
) -> Iterator[tuple[Scan, str]]:
    """Scans that the released fold lists, with their split; the others with a reason."""
    for scan in scans:
        file = scan.folder.relative_to(root).as_posix()
        known = listed.get((scan.patient, scan.scan))
        if known is None:
            refused.append(Refusal(file, "not in the tables of the released fold", by_rule=True))
            continue
        there = sum(
            path.suffix.lower() in SUFFIXES and not is_left_behind(path.name)
            for path in scan.folder.iterdir()
        )
        if known.diagnosis != scan.diagnosis:
            reason = f"in folder {scan.diagnosis}, but the fold table says {known.diagnosis}"
            refused.append(Refusal(file, f"{reason}; which is right?"))
        elif known.slices != there:
            reason = f"{there} slices, but the fold table says {known.slices}; unpack it again"
            refused.append(Refusal(file, reason))
        else:
            yield scan, known.split
