"""ACDC cardiac MR: from the official folder, or nnU-Net's, to a prepared one.

    python -m data_prep.acdc --source ACDC/database --output prepared/acdc

Two volumes a patient, end-diastole and end-systole, with class maps (right ventricle, myocardium,
left ventricle). Folds are made by patient. The folds released with MG-3D were made by frame, so
that nearly every heart held out is also trained on; they can be asked for by name.

Source: layout and Info.cfg of the challenge (Bernard et al., IEEE TMI 2018); nnU-Net's raw layout.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from data_prep.acdc_folds import released_fold
from data_prep.command import importer_parser, options_from, run
from data_prep.splits import deal_folds
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
from mg3d.volumes.intensity import Percentiles

CLASSES = ("right ventricle", "myocardium", "left ventricle")  # 1, 2, 3
GROUPS = ("NOR", "MINF", "DCM", "HCM", "RV")
LABELS = ("group", "end_systole")
FOLDS = {"patient": "", "released-0": "0", "released-1": "1", "released-2": "2"}
NUM_FOLDS, SEED = 5, 0  # of our own folds
FRAME = re.compile(r"(patient(\d{3}))_frame(\d{2,3})")
EXTENSION = re.compile(r"\.nii(\.gz)?$", re.IGNORECASE)
# In-plane resampling only: slices are 5 to 10 mm thick, and what lies between was never measured.
SETTINGS = PrepareSettings(grid=Grid(None, (None, 1.5, 1.5)), intensity=Percentiles())


@dataclass(frozen=True)
class _Frame:
    """One labelled frame; `group` and `end_systole` are None where the layout does not say."""

    name: str
    patient: int
    number: int
    image: Path
    masks: Path
    test: bool
    group: int | None = None
    end_systole: int | None = None


def prepare_acdc(
    source: str | Path,
    output: str | Path,
    options: RunOptions = DEFAULT_OPTIONS,
    *,
    folds: str = "patient",
    fold: str = "0",
) -> Prepared:
    """Prepare ACDC. Can be interrupted and started again.

    Args:
        source: folder with `training/patient001/Info.cfg`, ... and `testing/`, or with nnU-Net's
            `imagesTr`, `labelsTr` (and `imagesTs`, `labelsTs`).
        output: the prepared folder.
        options: the prepared form (default: 1.5 mm in plane), and how to work. The intensity
            rule is always by percentiles, MR has no HU.
        folds: "patient" (five of our own, the same share of each group in each), or "released-0",
            "released-1", "released-2": those of MG-3D, with hearts on both sides.
        fold: "0" to "4", held out as split "val"; only for "patient".

    Raises:
        FileNotFoundError: if the source holds neither layout.
        ValueError: if folds or fold are unknown, or there is nothing to prepare.
    """
    if folds not in FOLDS:
        raise ValueError(f"folds are {', '.join(FOLDS)}; got '{folds}'")
    if fold not in map(str, range(NUM_FOLDS)):
        raise ValueError(f"fold is 0 to {NUM_FOLDS - 1}, got '{fold}'")
    source = Path(source)
    refused: list[Refusal] = []
    frames = _frames(source, refused)
    released = folds != "patient"
    held_out = FOLDS[folds] if released else fold
    options = options.with_form(SETTINGS)
    assert options.settings is not None
    if not isinstance(options.settings.intensity, Percentiles):
        options = replace(options, settings=replace(options.settings, intensity=Percentiles()))
    records = _records(source, frames, released, held_out, refused)
    dataset = DatasetDescription(
        source="ACDC",
        root=source,
        refused=sorted(refused, key=lambda r: (r.by_rule, r.file)),
        labels=LABELS,
        label_classes={"group": GROUPS},
        masks=MaskMeaning("classes", CLASSES),
        released_split=f"frame-wise fold {held_out} of MG-3D" if released else "",
        facts={"folds": {"name": "released" if released else "patient", "held_out": held_out}},
    )
    return prepare(records, output, dataset, options)


def _frames(source: Path, refused: list[Refusal]) -> list[_Frame]:
    cards = sorted(p for p in source.rglob("Info.cfg") if not p.parent.name.startswith("."))
    if cards:
        return [frame for card in cards for frame in _official(source, card, refused)]
    if (source / "imagesTr").is_dir():
        return list(_nnunet(source, refused))
    raise FileNotFoundError(
        f"{source} has neither patient folders with Info.cfg nor imagesTr; give the folder of ACDC "
        "that holds training and testing, or nnU-Net's raw folder"
    )


def _official(source: Path, card: Path, refused: list[Refusal]) -> Iterator[_Frame]:
    """The two labelled frames of a patient's folder; the cine is left out by rule."""
    folder, patient = card.parent, card.parent.name
    file = card.relative_to(source).as_posix()
    for cine in sorted(folder.glob(f"{patient}_4d.nii*")):
        reason = "the whole cine: only its labelled frames are taken"
        refused.append(Refusal(cine.relative_to(source).as_posix(), reason, by_rule=True))
    match = re.fullmatch(r"patient(\d{3})", patient)
    try:
        if not match:
            raise ValueError(f"expected a folder like patient001, got {patient}; rename it")
        facts = read_card(card)
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
        yield _Frame(
            name=name,
            patient=int(match[1]),
            number=number,
            image=image,
            masks=masks,
            test="testing" in card.relative_to(source).parts or int(match[1]) > 100,
            group=GROUPS.index(facts["Group"]) if "Group" in facts else None,
            end_systole=int(phase == "ES"),
        )


def read_card(path: Path) -> dict[str, str]:
    """An Info.cfg, "key: value" a line: ED and ES are frame numbers, Group may be missing.

    Raises:
        ValueError: if ED or ES is missing or no number, or the group is none of `GROUPS`.
    """
    lines = path.read_text("utf-8", errors="replace").splitlines()
    facts = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines) if v}
    for phase in ("ED", "ES"):
        if not facts.get(phase, "").isdigit():
            raise ValueError(
                f"{phase} is '{facts.get(phase, 'missing')}', expected the number of a frame; "
                "correct the line"
            )
    if facts["ED"] == facts["ES"]:
        raise ValueError(f"ED and ES are both frame {facts['ED']}; correct one")
    if facts.get("Group", GROUPS[0]) not in GROUPS:
        raise ValueError(f"Group is '{facts['Group']}', expected one of {', '.join(GROUPS)}")
    return facts


def _nnunet(source: Path, refused: list[Refusal]) -> Iterator[_Frame]:
    """Frames by name; which of the two is end-systole, and the group, are not told."""
    for part in ("Tr", "Ts"):
        for image in sorted((source / f"images{part}").glob("*.nii*")):
            file = image.relative_to(source).as_posix()
            case = EXTENSION.sub("", image.name).removesuffix("_0000")
            match = FRAME.fullmatch(case)
            masks = _existing(source / f"labels{part}", case)
            if image.name.startswith("."):
                continue
            if not match:
                reason = "expected a name like patient001_frame01_0000.nii.gz; rename or remove it"
                refused.append(Refusal(file, reason))
            elif masks is None and part == "Ts":
                refused.append(Refusal(file, "a test frame without a label", by_rule=True))
            elif masks is None:
                refused.append(Refusal(file, f"its label labelsTr/{case} is missing; fetch it"))
            else:
                yield _Frame(case, int(match[2]), int(match[3]), image, masks, part == "Ts")


def _records(
    source: Path, frames: list[_Frame], released: bool, held_out: str, refused: list[Refusal]
) -> list[ScanRecord]:
    numbers, groups = defaultdict(list), {}
    for frame in frames:
        numbers[frame.patient].append(frame.number)
        if not frame.test:
            groups[f"patient{frame.patient:03d}"] = frame.group
    dealt = {} if released else deal_folds(groups, NUM_FOLDS, SEED)
    records, taken = [], set()
    for frame in sorted(frames, key=lambda f: (f.patient, f.number)):
        patient, file = f"patient{frame.patient:03d}", frame.image.relative_to(source).as_posix()
        fold = ""
        if frame.name in taken:
            refused.append(Refusal(file, "a frame of this name is there twice; remove one"))
            continue
        taken.add(frame.name)
        if not frame.test and released:
            if len(numbers[frame.patient]) != 2:
                reason = "the released folds need both frames of a patient; fetch the other"
                refused.append(Refusal(file, reason))
                continue
            fold = released_fold(frame.patient, frame.number == max(numbers[frame.patient]))
        elif not frame.test:
            fold = str(dealt[patient])
        records.append(
            ScanRecord(
                volume_id=frame.name,
                patient_id=patient,
                scan_id=patient,
                reconstruction=frame.number,
                split="test" if frame.test else "val" if fold == held_out else "train",
                fold=fold,
                volume=frame.image,
                masks=frame.masks,
                labels={"group": frame.group, "end_systole": frame.end_systole},
            )
        )
    return records


def _existing(folder: Path, name: str) -> Path | None:
    paths = (folder / f"{name}{end}" for end in (".nii.gz", ".nii"))
    return next((path for path in paths if path.is_file()), None)


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = importer_parser(
        "acdc",
        "Prepare ACDC (official or nnU-Net's layout).",
        source="with training, or imagesTr",
        form=SETTINGS,
    )
    parser.add_argument(
        "--folds", default="patient", choices=FOLDS,
        help="by patient; or as released with MG-3D, with hearts on both sides",
    )  # fmt: skip
    parser.add_argument("--fold", default="0", help="of --folds patient: 0 to 4, held out (val)")
    asked = parser.parse_args(arguments)
    return run(
        lambda: prepare_acdc(
            asked.source,
            asked.output,
            options_from(asked, SETTINGS),
            folds=asked.folds,
            fold=asked.fold,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
