"""ACDC's labelled frames on disk: in the official folders, or in nnU-Net's raw folder.

Source: layout and Info.cfg of the challenge (Bernard et al., IEEE TMI 2018); nnU-Net's raw layout.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep.fields import show
from data_prep.walk import Tree, is_left_behind
from mg3d.preparation.records import Refusal

__all__ = ["GROUPS", "Frame", "find_frames", "read_info"]

GROUPS = ("NOR", "MINF", "DCM", "HCM", "RV")
CARD = "Info.cfg"
PATIENT = re.compile(r"patient\d{3}", re.IGNORECASE)
FRAME = re.compile(r"(patient(\d{3}))_frame(\d{2,3})")
EXTENSION = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Frame:
    """One labelled frame; `group` and `end_systole` are None if the layout does not give them."""

    name: str
    patient: int
    number: int
    image: Path
    masks: Path
    test: bool
    group: int | None = None
    end_systole: int | None = None


def find_frames(source: Path, tree: Tree, refused: list[Refusal]) -> list[Frame]:
    """The labelled frames of either layout.

    Args:
        source: the folder.
        tree: all files below it.
        refused: patients and frames that cannot be taken are appended here.

    Raises:
        FileNotFoundError: if the source holds neither layout.
    """
    cards = [path for path in tree.files if path.name.lower() == CARD.lower()]
    if cards:
        described = {card.parent for card in cards}
        for folder in tree.folders:
            if PATIENT.fullmatch(folder.name) and folder not in described:
                file = f"{folder.relative_to(source).as_posix()}/{CARD}"
                reason = "is missing, so which frames are labelled is unknown; fetch it"
                refused.append(Refusal(file, reason))
        return [frame for card in cards for frame in _official(source, card, refused)]
    if (source / "imagesTr").is_dir():
        return list(_nnunet(source, refused))
    raise FileNotFoundError(
        f"{source} has neither patient folders with Info.cfg nor imagesTr; give the folder of ACDC "
        "that holds training and testing, or nnU-Net's raw folder"
    )


def _official(source: Path, card: Path, refused: list[Refusal]) -> Iterator[Frame]:
    """The two labelled frames of a patient's folder; the 4-D cine is left out by rule."""
    folder, patient = card.parent, card.parent.name
    file = card.relative_to(source).as_posix()
    for cine in sorted(folder.glob(f"{patient}_4d.nii*")):
        reason = "the whole cine: only its labelled frames are taken"
        refused.append(Refusal(cine.relative_to(source).as_posix(), reason, by_rule=True))
    match = re.fullmatch(r"patient(\d{3})", patient)
    try:
        if not match:
            raise ValueError(f"expected a folder like patient001, got {patient}; rename it")
        facts = read_info(card)
    except ValueError as error:
        refused.append(Refusal(file, str(error)))
        return
    for phase in ("ED", "ES"):
        number = int(facts[phase])
        name = f"{patient}_frame{number:02d}"
        image, masks = (_existing(folder, name + end) for end in ("", "_gt"))
        if image is None or masks is None:
            by_rule = image is not None and int(match[1]) > 100  # the test set's came later
            reason = f"{phase} is frame {number}, but {name}{'' if not image else '_gt'} is missing"
            refused.append(Refusal(f"{Path(file).parent}/{name}", reason, by_rule))
            continue
        yield Frame(
            name=name,
            patient=int(match[1]),
            number=number,
            image=image,
            masks=masks,
            test="testing" in card.relative_to(source).parts or int(match[1]) > 100,
            group=GROUPS.index(facts["Group"]) if "Group" in facts else None,
            end_systole=int(phase == "ES"),
        )


def read_info(path: Path) -> dict[str, str]:
    """Read an Info.cfg of "key: value" lines: ED and ES are frame numbers, Group may be missing.

    Raises:
        ValueError: if ED or ES is missing or not a number, or the group is not one of `GROUPS`.
    """
    lines = path.read_text("utf-8", errors="replace").splitlines()
    facts = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines) if v}
    for phase in ("ED", "ES"):
        if not re.fullmatch(r"[0-9]+", facts.get(phase, "")):
            raise ValueError(
                f"{phase} is {show(facts.get(phase, 'missing'))}, expected the number of a frame; "
                "correct the line"
            )
    if int(facts["ED"]) == int(facts["ES"]):
        raise ValueError(f"ED and ES are both frame {facts['ED']}; correct one")
    if facts.get("Group", GROUPS[0]) not in GROUPS:
        raise ValueError(f"Group is {show(facts['Group'])}, expected one of {', '.join(GROUPS)}")
    return facts


def _nnunet(source: Path, refused: list[Refusal]) -> Iterator[Frame]:
    """Frames by name; this layout says neither the group nor which frame is end-systole."""
    for part in ("Tr", "Ts"):
        for image in sorted((source / f"images{part}").glob("*.nii*")):
            file = image.relative_to(source).as_posix()
            case = EXTENSION.sub("", image.name).removesuffix("_0000")
            match = FRAME.fullmatch(case)
            masks = _existing(source / f"labels{part}", case)
            if is_left_behind(image.name):
                continue
            if not match:
                reason = "expected a name like patient001_frame01_0000.nii.gz; rename or remove it"
                refused.append(Refusal(file, reason))
            elif masks is None and part == "Ts":
                refused.append(Refusal(file, "a test frame without a label", by_rule=True))
            elif masks is None:
                refused.append(Refusal(file, f"its label labelsTr/{case} is missing; fetch it"))
            else:
                yield Frame(case, int(match[2]), int(match[3]), image, masks, part == "Ts")


def _existing(folder: Path, name: str) -> Path | None:
    paths = (folder / f"{name}{end}" for end in (".nii.gz", ".nii"))
    return next((path for path in paths if path.is_file()), None)
