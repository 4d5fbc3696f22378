"""Medical Segmentation Decathlon, lung and colon cancer: from a task's folder to a prepared one.

    python -m data_prep.msd --source Task06_Lung --output prepared/msd_lung

Masks are class maps (1: tumour). The whole scan is kept, at one spacing. One scan a patient.

Source: layout and dataset.json of the Decathlon (Antonelli et al., Nat. Commun. 2022); folds: the
MG-3D release, runs of consecutive case numbers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.command import importer_parser, options_from, run
from data_prep.folds import check_held_out, fold_of_number, read_fold_list, split_of_fold
from data_prep.tables import TableError, read_json
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

EXTENSION = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Task:
    """What is special to a task.

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
        source: the task's folder, with dataset.json, imagesTr and labelsTr.
        output: the prepared folder.
        options: the prepared form (default: the task's spacing), and how to work.
        folds: "released", or a fold list (JSON, `training: [{fold, image, label}]`).
        fold: that is held out as split "val".

    Raises:
        FileNotFoundError: if the folder, its dataset.json or the fold list is missing.
        ValueError: if it is another task, a table is damaged, or there is nothing to prepare.
    """
    source = Path(source)
    about = _read_description(source)
    task, classes = _task_of(source, about)
    fold_list = None if str(folds) == "released" else read_fold_list(Path(folds))
    refused: list[Refusal] = []
    records = list(_records(source, about, TASKS[task], fold_list, fold, refused))
    known = [str(n) for n in range(5)] if fold_list is None else list(fold_list.values())
    check_held_out(fold, known)
    dataset = DatasetDescription(
        source=f"MSD {task}",
        root=source,
        refused=sorted(refused, key=lambda r: (r.by_rule, r.file)),
        masks=MaskMeaning("classes", classes),
        facts={
            "folds": {
                "name": "released" if fold_list is None else Path(folds).name,
                "held_out": fold,
            }
        },
    )
    return prepare(records, output, dataset, options.with_form(settings_of_task(task)))


def _read_description(source: Path) -> dict[str, Any]:
    path = source / "dataset.json"
    if not path.is_file():
        inside = sorted(p.parent.name for p in source.glob("*/dataset.json"))
        hint = f"; there are {', '.join(inside)} inside, give one of them" if inside else ""
        raise FileNotFoundError(f"{path} is missing: give the folder of one task{hint}")
    about = read_json(path)
    form = isinstance(about, dict) and isinstance(about.get("labels"), dict)
    if not form or not isinstance(about.get("training"), list):
        raise TableError(f"{path}: expected labels and a list called training; fetch it again")
    return about


def _task_of(source: Path, about: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The task's name, and the names of classes 1, 2, ..."""
    path, name = source / "dataset.json", str(about.get("name", "")).strip().capitalize()
    if name not in TASKS:
        raise ValueError(f"{path}: name is '{name}', expected {' or '.join(TASKS)}")
    labels = about["labels"]
    numbers = sorted(int(n) for n in labels if str(n).isdigit())
    if len(numbers) != len(labels) or numbers != list(range(len(numbers))) or len(numbers) < 2:
        raise TableError(f"{path}: labels are {labels}, expected 0 (background), 1, ...")
    return name, tuple(str(labels[str(n)]) for n in numbers[1:])


def _records(
    source: Path,
    about: dict[str, Any],
    task: Task,
    fold_list: dict[str, str] | None,
    held_out: str,
    refused: list[Refusal],
) -> Iterator[ScanRecord]:
    """One record per listed case with image and label; all else is refused by name."""
    listed = {}
    for number, entry in enumerate(about["training"]):
        if not isinstance(entry, dict) or not {"image", "label"} <= entry.keys():
            raise TableError(f"{source / 'dataset.json'}: entry {number} of training: {entry}")
        listed[Path(entry["image"]).name] = Path(entry["label"]).name
    for path in _images(source / "imagesTs"):
        reason = "a test case: its label is not published"
        refused.append(Refusal(path.relative_to(source).as_posix(), reason, by_rule=True))
    there = {path.name: path for path in _images(source / "imagesTr")}
    for name in sorted(set(there) - set(listed)):
        refused.append(Refusal(f"imagesTr/{name}", "not in the training list of dataset.json"))
    for name in sorted(listed):
        label = source / "labelsTr" / listed[name]
        case = EXTENSION.sub("", name)
        match = re.fullmatch(rf"{task.prefix}_(\d+)", case)
        if name not in there:
            reason = "listed in dataset.json, but there is no such file; fetch it"
        elif not label.is_file():
            reason = f"its label labelsTr/{listed[name]} is missing; fetch it"
        elif not match:
            reason = f"expected a name like {task.prefix}_001.nii.gz; rename image and label"
        elif fold_list is not None and name not in fold_list:
            reason = "not in the fold list; add it"
        else:
            fold = fold_list[name] if fold_list else fold_of_number(int(match[1]), task.fold_starts)
            yield ScanRecord(
                volume_id=case,
                patient_id=case,
                scan_id=case,
                split=split_of_fold(fold, held_out),
                fold=fold,
                volume=there[name],
                masks=label,
            )
            continue
        refused.append(Refusal(f"imagesTr/{name}", reason))


def _images(folder: Path) -> list[Path]:
    """NIfTI files, without the hidden `._*` twins that come with the archives."""
    files = (path for path in folder.glob("*") if EXTENSION.search(path.name))
    return sorted(path for path in files if not path.name.startswith("."))


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = importer_parser(
        "msd",
        "Prepare a task of the Medical Segmentation Decathlon (Lung, Colon).",
        source="such as Task06_Lung",
        form=settings_of_task("Lung"),  # shows in --help that it has its own
    )
    parser.add_argument(
        "--folds", default="released", metavar="released|FILE.json",
        help="the folds of MG-3D, or a list of your own",
    )  # fmt: skip
    parser.add_argument("--fold", default="0", help="the fold that is held out (val)")
    asked = parser.parse_args(arguments)

    def work() -> Prepared:
        task, _ = _task_of(asked.source, _read_description(asked.source))
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
