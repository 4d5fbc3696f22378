"""Import lung or colon cancer of the Medical Segmentation Decathlon from a task's folder.

    python -m data_prep.msd --source Task06_Lung --output prepared/msd_lung

Masks are class maps (1: tumour). The whole scan is kept, at one spacing. One scan per patient.

Source: layout and dataset.json of the Decathlon (Antonelli et al., Nat. Commun. 2022); folds: the
MG-3D release, runs of consecutive case numbers.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from data_prep.command import importer_parser, options_from, run
from data_prep.folds import check_held_out, fold_of_number, read_fold_list, split_of_fold
from data_prep.msd_description import EXTENSION, Description, case_of, read_description
from data_prep.tables import TableError, show
from data_prep.walk import is_left_behind, refuse_misnamed
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
from mg3d.preparation.records import named
from mg3d.volumes.grid import Grid


@dataclass(frozen=True)
class Task:
    """Facts of a task.

    Attributes:
        prefix: of its case names, such as "lung".
        spacing_mm: that MG-3D segments at.
        fold_starts: first case number of the released folds 1 to 4.
    """

    prefix: str
    spacing_mm: float
    fold_starts: tuple[int, int, int, int]


TASKS = {
    "Lung": Task("lung", 1.5, (23, 42, 58, 75)),
    "Colon": Task("colon", 1.0, (45, 98, 136, 172)),
}


def settings_of_task(task: str) -> PrepareSettings:
    """The whole scan at the task's spacing, over the HU window of pre-training."""
    spacing = TASKS[task].spacing_mm
    return PrepareSettings(grid=Grid(None, (spacing, spacing, spacing)))


def prepare_msd(
    source: str | Path,
    output: str | Path,
    options: RunOptions = DEFAULT_OPTIONS,
    *,
    folds: str | Path = "released",
    fold: str = "0",
) -> Prepared:
    """Prepare Task06_Lung or Task10_Colon. Can be interrupted and started again.

    Args:
        source: the task's folder, with dataset.json (the Decathlon's or nnU-Net v2's), imagesTr
            and labelsTr.
        output: the prepared folder.
        options: the prepared form (default: the task's spacing), and how to work.
        folds: "released", or a fold list (JSON, `training: [{fold, image, label}]`).
        fold: held out as split "val".

    Raises:
        FileNotFoundError: if the folder, its dataset.json or the fold list is missing.
        ValueError: if it is another task, a table is damaged, or there is nothing to prepare.
    """
    source = Path(source)
    about = _known_task(source)
    fold_list = None if str(folds) == "released" else read_fold_list(Path(folds))
    known = [str(n) for n in range(5)] if fold_list is None else list(fold_list.values())
    if fold_list is not None:
        fold_list = _by_case(Path(folds), fold_list)
    refused: list[Refusal] = []
    refuse_misnamed(source, ("imagesTr", "labelsTr"), refused)
    records, absent = _records(source, about, fold_list, fold, refused)
    check_held_out(fold, known)
    dataset = DatasetDescription(
        source=f"MSD {about.task}",
        root=source,
        refused=sorted(refused, key=lambda r: (r.by_rule, r.file)),
        masks=MaskMeaning("classes", about.classes),
        facts={
            "folds": {
                "name": "released" if fold_list is None else Path(folds).name,
                "held_out": fold,
            },
            "cases_without_volume": named(absent),
        },
    )
    return prepare(records, output, dataset, options.with_form(settings_of_task(about.task)))


def _known_task(source: Path) -> Description:
    """Read a task's description; only tasks with released folds are accepted."""
    about = read_description(source)
    task = about.task.capitalize()
    if task not in TASKS:
        raise ValueError(
            f"{source / 'dataset.json'}: name is {show(about.task)}, expected {' or '.join(TASKS)}"
        )
    return replace(about, task=task)


def _records(
    source: Path,
    about: Description,
    fold_list: dict[str, str] | None,
    held_out: str,
    refused: list[Refusal],
) -> tuple[list[ScanRecord], list[str]]:
    """One record per case with image and label; and the cases that are listed but missing."""
    task = TASKS[about.task]
    for path in _images(source / "imagesTs"):
        reason = "a test case: its label is not published"
        refused.append(Refusal(path.relative_to(source).as_posix(), reason, by_rule=True))
    there: dict[str, Path] = {}
    for path in _images(source / "imagesTr"):
        if there.setdefault(case_of(path.name), path) != path:
            reason = f"the same case as {there[case_of(path.name)].name}; remove one"
            refused.append(Refusal(f"imagesTr/{path.name}", reason))
    listed = about.listed
    if listed is None:  # nnU-Net v2 lists no cases: all images are taken
        listed = {case: f"{case}.nii.gz" for case in there}
    records = []
    for case, path in sorted(there.items()):
        file, match = f"imagesTr/{path.name}", re.fullmatch(rf"{task.prefix}_(\d+)", case)
        label = _label(source / "labelsTr", listed.get(case, ""), case)
        if case not in listed:
            reason = "not in the training list of dataset.json"
        elif label is None:
            reason = f"its label labelsTr/{listed[case]} is missing; fetch it"
        elif not match:
            reason = f"expected a name like {task.prefix}_001.nii.gz; rename image and label"
        elif fold_list is not None and case not in fold_list:
            reason = "not in the fold list; add it"
        else:
            number = int(match[1])
            fold = fold_list[case] if fold_list else fold_of_number(number, task.fold_starts)
            records.append(
                ScanRecord(
                    volume_id=case,
                    patient_id=case,
                    scan_id=case,
                    split=split_of_fold(fold, held_out),
                    fold=fold,
                    volume=path,
                    masks=label,
                )
            )
            continue
        refused.append(Refusal(file, reason))
    return records, sorted(set(listed) - set(there))


def _by_case(path: Path, fold_list: dict[str, str]) -> dict[str, str]:
    """Case -> fold, of a list by file names; `lung_001_0000` and `lung_001` are one case."""
    folds: dict[str, str] = {}
    for name, fold in fold_list.items():
        if folds.setdefault(case_of(name), fold) != fold:
            raise TableError(f"{path}: {show(name)} is there twice, in different folds; keep one")
    return folds


def _images(folder: Path) -> list[Path]:
    """NIfTI files, without the `._*` files of macOS in the archives."""
    files = (path for path in folder.glob("*") if EXTENSION.search(path.name))
    return sorted(path for path in files if not is_left_behind(path.name))


def _label(folder: Path, name: str, case: str) -> Path | None:
    """The label file, by its listed name or by the name of the case; None if there is none."""
    names = [name, f"{case}.nii.gz", f"{case}.nii"]
    return next((folder / n for n in names if n and (folder / n).is_file()), None)


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = importer_parser(
        "msd",
        "Prepare a task of the Medical Segmentation Decathlon (Lung, Colon).",
        source="such as Task06_Lung",
        form=settings_of_task("Lung"),  # so that --help says that the default form is the source's
    )
    parser.add_argument(
        "--folds", default="released", metavar="released|FILE.json",
        help="the folds of MG-3D, or a list of your own",
    )  # fmt: skip
    parser.add_argument("--fold", default="0", help="the fold that is held out (val)")
    asked = parser.parse_args(arguments)

    def work() -> Prepared:
        task = _known_task(asked.source).task
        return prepare_msd(
            asked.source,
            asked.output,
            options_from(asked, settings_of_task(task)),
            folds=asked.folds,
            fold=asked.fold,
        )

    return run(work)


if __name__ == "__main__":
    raise SystemExit(main())
