"""Import ACDC (cardiac MR) from the official folder or from nnU-Net's.

    python -m data_prep.acdc --source ACDC/database --output prepared/acdc

Two volumes per patient, end-diastole and end-systole, with class maps (right ventricle, myocardium,
left ventricle). Folds are made by patient. The folds released with MG-3D were made by frame, so
that nearly every held-out heart is also in the training set; they are available by name.

Source: layout and Info.cfg of the challenge (Bernard et al., IEEE TMI 2018); nnU-Net's raw layout.
"""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from data_prep.acdc_files import GROUPS, Frame, find_frames
from data_prep.acdc_folds import released_fold
from data_prep.command import importer_parser, options_from, run
from data_prep.splits import deal_folds
from data_prep.walk import describe_skipped, refuse_lost_links, walk
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
LABELS = ("group", "end_systole")
FOLDS = {"patient": "", "released-0": "0", "released-1": "1", "released-2": "2"}
NUM_FOLDS, SEED = 5, 0  # of our own folds
# In-plane resampling only: slices are 5 to 10 mm apart, too far to interpolate between them.
SETTINGS = PrepareSettings(grid=Grid(None, (None, 1.5, 1.5)), intensity=Percentiles())


def prepare_acdc(
    source: str | Path,
    output: str | Path,
    options: RunOptions = DEFAULT_OPTIONS,
    *,
    folds: str = "patient",
    fold: str = "0",
    num_folds: int = NUM_FOLDS,
) -> Prepared:
    """Prepare ACDC. Can be interrupted and started again.

    Args:
        source: folder with `training/patient001/Info.cfg`, ... and `testing/`, or with nnU-Net's
            `imagesTr`, `labelsTr` (and `imagesTs`, `labelsTs`).
        output: the prepared folder.
        options: the prepared form (default: 1.5 mm in plane), and how to work. The intensity
            rule is always by percentiles, since MR has no HU.
        folds: "patient" (stratified by group), or "released-0", "released-1", "released-2": those
            of MG-3D, in which most patients are in both training and validation set.
        fold: "0" to "4", held out as split "val"; only for "patient".
        num_folds: number of folds by patient, 2 or more.

    Raises:
        FileNotFoundError: if the source holds neither layout.
        ValueError: if folds or fold are unknown, or there is nothing to prepare.
    """
    if folds not in FOLDS:
        raise ValueError(f"folds are {', '.join(FOLDS)}; got '{folds}'")
    if num_folds < 2:
        raise ValueError(f"num_folds is 2 or more, got {num_folds}")
    if fold not in map(str, range(num_folds)):
        raise ValueError(f"fold is 0 to {num_folds - 1}, got '{fold}'")
    source = Path(source)
    refused: list[Refusal] = []
    tree = walk(source)
    frames = find_frames(source, tree, refused)
    released = folds != "patient"
    held_out = FOLDS[folds] if released else fold
    options = options.with_form(SETTINGS)
    assert options.settings is not None
    if not isinstance(options.settings.intensity, Percentiles):
        options = replace(options, settings=replace(options.settings, intensity=Percentiles()))
    records = _records(source, frames, 0 if released else num_folds, held_out, refused)
    refuse_lost_links(tree, source, records, refused)
    dataset = DatasetDescription(
        source="ACDC",
        root=source,
        refused=sorted(refused, key=lambda r: (r.by_rule, r.file)),
        labels=LABELS,
        label_classes={"group": GROUPS},
        masks=MaskMeaning("classes", CLASSES),
        released_split=f"frame-wise fold {held_out} of MG-3D" if released else "",
        facts={
            "folds": {"name": "released" if released else "patient", "held_out": held_out},
            **describe_skipped(tree, source),
        },
    )
    return prepare(records, output, dataset, options)


def _records(
    source: Path, frames: list[Frame], num_folds: int, held_out: str, refused: list[Refusal]
) -> list[ScanRecord]:
    """One record per frame; `num_folds` 0 means the released folds."""
    numbers, groups = defaultdict(list), {}
    for frame in frames:
        numbers[frame.patient].append(frame.number)
        if not frame.test:
            groups[f"patient{frame.patient:03d}"] = frame.group
    dealt = deal_folds(groups, num_folds, SEED, refused) if num_folds and groups else {}
    records, taken = [], set()
    for frame in sorted(frames, key=lambda f: (f.patient, f.number)):
        patient, file = f"patient{frame.patient:03d}", frame.image.relative_to(source).as_posix()
        fold = ""
        if frame.name in taken:
            refused.append(Refusal(file, "two frames have this name; remove one"))
            continue
        taken.add(frame.name)
        if not frame.test and not num_folds:
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
    parser.add_argument(
        "--num-folds", type=int, default=NUM_FOLDS, help="of --folds patient: how many, 2 or more"
    )
    asked = parser.parse_args(arguments)
    return run(
        lambda: prepare_acdc(
            asked.source,
            asked.output,
            options_from(asked, SETTINGS),
            folds=asked.folds,
            fold=asked.fold,
            num_folds=asked.num_folds,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
