"""Read a task's dataset.json (task, classes, cases) in either of two forms.

The Decathlon's own form numbers its labels (`{"0": "background", "1": "cancer"}`) and lists the
cases. nnU-Net v2's form (`{"background": 0, "cancer": 1}`) lists none: its cases are the files in
the folder, images with `_0000` after the name of the case.

Source: dataset.json of the Decathlon (Antonelli et al., Nat. Commun. 2022); nnU-Net's documentation
of its dataset format.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.tables import TableError, read_json, show

__all__ = ["Description", "case_of", "read_description"]

EXTENSION = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
PREFIX = re.compile(r"(Task|Dataset)\d+_", re.IGNORECASE)  # of the names of folders
CHANNEL = "_0000"  # suffix of nnU-Net's first channel; CT has only one


@dataclass(frozen=True)
class Description:
    """One task.

    Attributes:
        task: its name, such as "Lung".
        classes: names of classes 1, 2, ...
        listed: case -> name of its label file; None if no cases are listed.
    """

    task: str
    classes: tuple[str, ...]
    listed: dict[str, str] | None


def case_of(file: str) -> str:
    """The case of an image or label file: "lung_001" for "lung_001_0000.nii.gz"."""
    return EXTENSION.sub("", Path(file).name).removesuffix(CHANNEL)


def read_description(source: Path) -> Description:
    """Read the dataset.json of a task's folder.

    Raises:
        FileNotFoundError: if there is none.
        TableError: if it is damaged, or has neither form.
    """
    path = source / "dataset.json"
    if not path.is_file():
        inside = sorted(p.parent.name for p in source.glob("*/dataset.json"))
        hint = f"; there are {', '.join(inside)} inside, give one of them" if inside else ""
        raise FileNotFoundError(f"{path} is missing: give the folder of one task{hint}")
    about = read_json(path)
    labels = about.get("labels") if isinstance(about, dict) else None
    if not isinstance(labels, dict):
        raise TableError(
            f"{path}: expected an object with labels, as the Decathlon or nnU-Net v2 writes it; "
            "fetch it again"
        )
    by_number = _by_number(path, labels)
    if by_number is None:
        raise TableError(
            f"{path}: labels are {', '.join(show(name) for name in labels)}, expected 0 "
            "(background), 1, ... with names, or names with these numbers"
        )
    name = PREFIX.sub("", str(about.get("name") or source.name).strip())
    training = about.get("training")
    listed = None if training is None else _listed(path, training)
    if listed is None and "channel_names" not in about and "file_ending" not in about:
        raise TableError(
            f"{path}: expected labels and a list called training, or channel_names and file_ending "
            "as nnU-Net v2 writes them; fetch it again"
        )
    return Description(name, by_number, listed)


def _by_number(path: Path, labels: dict[str, Any]) -> tuple[str, ...] | None:
    """Names of classes 1, 2, ...; None if the numbers are not 0, 1, 2, ..."""
    if any(isinstance(value, list) for value in labels.values()):
        raise TableError(f"{path}: labels are regions of several numbers; give one number each")
    if all(str(key).isdecimal() for key in labels):
        named = {int(key): str(value) for key, value in labels.items()}
    elif all(str(value).isdecimal() for value in labels.values()):
        named = {int(value): str(key) for key, value in labels.items()}
    else:
        return None
    if len(named) != len(labels) or sorted(named) != list(range(len(named))) or len(named) < 2:
        return None
    return tuple(named[number] for number in range(1, len(named)))


def _listed(path: Path, training: Any) -> dict[str, str]:
    if not isinstance(training, list):
        raise TableError(f"{path}: expected labels and a list called training; fetch it again")
    listed = {}
    for number, entry in enumerate(training):
        pair = entry if isinstance(entry, dict) else {}
        image, label = pair.get("image"), pair.get("label")
        if not isinstance(image, str) or not isinstance(label, str):
            raise TableError(
                f"{path}: entry {number} of training, {show(entry)}, has no image and label; "
                "correct it"
            )
        case, name = case_of(image), Path(label).name
        if case_of(label) != case:
            raise TableError(
                f"{path}: entry {number} of training gives {show(case)} the label "
                f"{show(name)}, which is another case's; correct it"
            )
        listed[case] = name
    return listed
