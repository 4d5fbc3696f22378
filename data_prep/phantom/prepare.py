"""The phantom: made-up patients in CT-RATE's own layout and formats, and through its importer.

    python -m data_prep.phantom --output prepared/phantom --patients 1024 --val-patients 256

The raw files are NIfTI (int16 HU, some orientation, anisotropic) on a grid a little finer than the
one that is prepared, with CT-RATE's report, label and metadata tables and, which the real data set
does not have, a folder `masks` with the findings as a bit field. Equal arguments give equal bytes,
with any number of workers.
"""

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import mg3d.phantom
from data_prep.ct_rate import prepare_ct_rate
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.phantom.patient import PatientPlan, draw_patient
from mg3d.phantom.report import write_report
from mg3d.phantom.scanner import Acquisition, acquisition, draw_scan
from mg3d.preparation.options import settings_of
from mg3d.preparation.parallel import WorkerDied, work_in_parallel
from mg3d.preparation.prepare import Prepared, PrepareSettings, RunOptions, describe_settings
from mg3d.volumes.grid import Grid
from mg3d.volumes.orientation import WORLD_AXIS, from_canonical
from mg3d.volumes.volume import remove_unfinished, replace_file, write_nifti

NAME = "phantom, in the layout of CT-RATE"
NOT_GIVEN = "Not given."
IN_PLANE, BETWEEN_SLICES = 0.86, 0.8  # raw spacing over prepared spacing; see `_raw_grid`
SPEC_NAME = "phantom.json"
FOLDERS = ("train_fixed", "valid_fixed", "masks", "radiology_text_reports",
           "multi_abnormality_labels", "metadata")  # fmt: skip
REPORT_HEADER = ("VolumeName", "ClinicalInformation_EN", "Technique_EN", "Findings_EN",
                 "Impressions_EN")  # fmt: skip
METADATA_HEADER = (
    "VolumeName", "Manufacturer", "SeriesDescription", "ManufacturerModelName", "PatientSex",
    "PatientAge", "ReconstructionDiameter", "DistanceSourceToDetector", "DistanceSourceToPatient",
    "GantryDetectorTilt", "TableHeight", "RotationDirection", "ExposureTime", "XRayTubeCurrent",
    "Exposure", "FilterType", "GeneratorPower", "FocalSpots", "ConvolutionKernel",
    "PatientPosition", "RevolutionTime", "SingleCollimationWidth", "TotalCollimationWidth",
    "TableSpeed", "TableFeedPerRotation", "SpiralPitchFactor", "DataCollectionCenterPatient",
    "ReconstructionTargetCenterPatient", "ExposureModulationType", "CTDIvol",
    "ImagePositionPatient", "ImageOrientationPatient", "SliceLocation", "SamplesPerPixel",
    "PhotometricInterpretation", "Rows", "Columns", "XYSpacing", "RescaleIntercept",
    "RescaleSlope", "RescaleType", "NumberofSlices", "ZSpacing", "StudyDate",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PhantomSpec:
    """Which phantom data set; equal specs have equal files.

    Attributes:
        patients: number of training patients: 0 to patients - 1 of the seed.
        val_patients: number of held-out patients, the next ones of the seed.
        seed: of all patients.
        reconstructions: most volumes a scan has; a patient's scanner makes 1 to 3.
        grid: that the raw grid is chosen for.
        coarseness: raw spacing over a clinical one (1: 512 x 512 matrix); None: chosen for `grid`.
    """

    patients: int = 1024
    val_patients: int = 256
    seed: int = 0
    reconstructions: int = 1
    grid: Grid
    coarseness: float | None = None

    def __post_init__(self) -> None:
        if min(self.patients, self.val_patients, self.seed) < 0 or not self.names():
            raise ValueError(
                f"a phantom has patients and a seed of 0 or more, got patients {self.patients}, "
                f"val_patients {self.val_patients}, seed {self.seed}; ask for 1 patient or more"
            )
        if not 1 <= self.reconstructions <= 3:
            raise ValueError(f"reconstructions is 1 to 3, got {self.reconstructions}")
        if self.coarseness is not None and not 1 <= self.coarseness <= 20:
            raise ValueError(f"coarseness is 1 to 20, got {self.coarseness}")
        spacing = self.grid.spacing_mm
        open_ended = self.grid.shape is None if spacing is None else None in spacing
        if self.coarseness is None and open_ended:
            raise ValueError(
                f"raw files are chosen for a grid, but got {self.grid}, which follows the raw "
                "files; give a shape or spacing, or coarseness"
            )

    def names(self) -> list[tuple[str, int]]:
        """CT-RATE's name of every scan, and the number of its patient."""
        train = [(f"train_{n + 1}_a", n) for n in range(self.patients)]
        held_out = [(f"valid_{n + 1}_a", self.patients + n) for n in range(self.val_patients)]
        return train + held_out


def prepare_phantom(
    output: str | Path,
    *,
    patients: int = 1024,
    val_patients: int = 256,
    seed: int = 0,
    preset: str = "tiny",
    settings: PrepareSettings | None = None,
    reconstructions: int = 1,
    coarseness: float | None = None,
    keep_raw: bool = False,
    workers: int | None = None,
    progress: bool | None = None,
) -> Prepared:
    """Make a phantom data set and prepare it. One that is there already is kept as it is.

    Args:
        output: the prepared folder; raw files go to `raw` below it.
        patients: training patients; 1,024 of the tiny preset take well under a minute on 2 cores.
        val_patients: held-out patients.
        seed: another one gives other patients.
        preset: model preset whose grid is made.
        settings: the prepared form, instead of the preset's.
        reconstructions: most volumes a scan has, 1 to 3.
        coarseness: of the raw files; see `PhantomSpec`.
        keep_raw: keep the raw files; they are removed otherwise.
        workers: processes; None: one per core.
        progress: show a progress bar; None: in a terminal.
    """
    output, settings = Path(output), settings or settings_of(preset)
    spec = PhantomSpec(
        patients=patients,
        val_patients=val_patients,
        seed=seed,
        reconstructions=reconstructions,
        grid=settings.grid,
        coarseness=coarseness,
    )
    raw, facts = output / "raw", {"phantom": _describe(spec)}
    if not (keep_raw and not raw.is_dir()):
        done = _finished(output, settings, facts)
        if done:
            return done
    write_phantom(raw, spec, workers=workers, progress=progress)
    prepared = prepare_ct_rate(
        raw,
        output,
        RunOptions(settings=settings, workers=workers, progress=progress),
        name=NAME,
        facts=facts,
    )
    if not keep_raw and not prepared.refused:
        shutil.rmtree(raw)
    return prepared


def write_phantom(
    folder: str | Path,
    spec: PhantomSpec,
    *,
    workers: int | None = None,
    progress: bool | None = None,
) -> None:
    """Write the raw files in CT-RATE's layout; those of an interrupted run are kept.

    Args:
        folder: gets `train_fixed`, `radiology_text_reports` and so on.
        spec: which data set.
        workers: processes; None: one per core.
        progress: show a progress bar; None: in a terminal.

    Raises:
        ValueError: if the folder holds something that is not a phantom.
    """
    folder, described = Path(folder), _json(_describe(spec))
    mark = folder / SPEC_NAME
    if folder.is_dir() and any(folder.iterdir()) and not mark.is_file():
        raise ValueError(f"{folder} holds files that are no phantom; give another folder")
    if mark.is_file() and mark.read_bytes() != described:
        for name in FOLDERS:  # another phantom's
            shutil.rmtree(folder / name, ignore_errors=True)
    remove_unfinished(folder)
    replace_file(mark, described)
    results = work_in_parallel(
        partial(_write_patient, folder=folder, spec=spec),
        spec.names(),
        workers=workers,
        progress=progress,
        label="draw phantom",
    )
    rows: list[_Rows] = []
    for (name, _), result in zip(spec.names(), results, strict=True):
        if isinstance(result, WorkerDied):
            raise MemoryError(f"the process that drew {name} was killed; use fewer workers")
        rows += result
    _write_tables(folder, rows)


@dataclass(frozen=True)
class _Rows:
    """What the tables say about one volume."""

    report: tuple[Any, ...]
    labels: tuple[Any, ...]
    metadata: tuple[Any, ...]


def _write_patient(item: tuple[str, int], folder: Path, spec: PhantomSpec) -> list[_Rows]:
    """Draw one patient and write the volumes and masks; runs in a worker process."""
    scan, patient = item
    plan = draw_patient(spec.seed, patient)
    report = write_report(plan)
    findings, impression = report.findings or NOT_GIVEN, report.impression or NOT_GIVEN
    rows = []
    for number in range(min(spec.reconstructions, acquisition(plan).reconstructions)):
        name = f"{scan}_{number + 1}.nii.gz"
        facts, shape, spacing_mm = _raw_grid(plan, number, spec)
        word, person, _ = scan.split("_")
        volume_path = folder / f"{word}_fixed" / f"{word}_{person}" / scan / name
        if not volume_path.is_file():
            drawn = draw_scan(plan, shape, spacing_mm, reconstruction=number)
            affine = _stored_affine(drawn.affine, shape, facts)
            masks = from_canonical(drawn.masks.astype(np.int32), affine)
            write_nifti(folder / "masks" / name, masks, affine)
            # Last: a volume that is there says that all is there.
            write_nifti(volume_path, from_canonical(drawn.hu, affine), affine)
        rows.append(
            _Rows(
                (name, NOT_GIVEN, NOT_GIVEN, findings, impression),
                (name, *plan.labels().tolist()),
                _metadata(name, plan, facts, shape, spacing_mm),
            )
        )
    return rows


def _raw_grid(
    plan: PatientPlan, reconstruction: int, spec: PhantomSpec
) -> tuple[Acquisition, tuple[int, int, int], tuple[float, float, float]]:
    """The patient's scanner, and the grid of the raw file: shape and spacing, canonical axes."""
    if spec.coarseness is not None:
        facts = acquisition(plan, reconstruction, coarseness=spec.coarseness)
        return facts, facts.shape, facts.spacing_mm
    facts = acquisition(plan, reconstruction)
    extent = [n * s for n, s in zip(facts.shape, facts.spacing_mm, strict=True)]
    grid = spec.grid
    if grid.spacing_mm is not None:
        aim = [float(s) for s in grid.spacing_mm if s is not None]
    else:
        assert grid.shape is not None  # PhantomSpec sees to it
        aim = [s * e / n for s, e, n in zip(grid.crop, extent, grid.shape, strict=True)]
    # Slices of 0.75 to 5 mm become 0.95 to 1.2 times the prepared spacing; pixels are square.
    slices = aim[0] * (BETWEEN_SLICES + min(0.15 + 0.05 * facts.spacing_mm[0], 0.4))
    pixel = IN_PLANE * min(aim[1], aim[2])
    wanted = (slices, pixel, pixel)
    spacing = tuple(max(round(w, 3), s) for w, s in zip(wanted, facts.spacing_mm, strict=True))
    shape = tuple(max(8, round(e / s)) for e, s in zip(extent, spacing, strict=True))
    return facts, shape, spacing  # type: ignore[return-value]


def _stored_affine(
    canonical: np.ndarray, shape: tuple[int, int, int], facts: Acquisition
) -> np.ndarray:
    """Affine of the file whose axes run as the scanner's orientation says."""
    affine = np.eye(4)
    origin = canonical[:3, 3] + facts.centre_mm
    for axis, letter in enumerate(facts.orientation):
        world = max("RAS".find(letter), "LPI".find(letter))
        source = WORLD_AXIS.index(world)
        step = canonical[:3, source]
        if letter in "LPI":
            origin = origin + step * (shape[source] - 1)
            step = -step
        affine[:3, axis] = step
    affine[:3, 3] = origin
    return affine


def _metadata(
    name: str,
    plan: PatientPlan,
    facts: Acquisition,
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
) -> tuple[Any, ...]:
    """One row of the metadata table, most fields empty, as in many rows of the real one.

    RescaleIntercept is -1024 although the file holds HU: also as in the real one.
    """
    pixel = [spacing_mm[1], spacing_mm[2]]
    known = {
        "VolumeName": name,
        "Manufacturer": "MG-3D phantom",
        "PatientSex": plan.sex,
        "PatientAge": f"{plan.age:03d}Y",
        "ConvolutionKernel": facts.kernel.name,
        "PatientPosition": "HFS",
        "ImageOrientationPatient": "[1, 0, 0, 0, 1, 0]",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": shape[1],
        "Columns": shape[2],
        "XYSpacing": str(pixel),
        "RescaleIntercept": -1024,
        "RescaleSlope": 1,
        "NumberofSlices": shape[0],
        "ZSpacing": spacing_mm[0],
    }
    return tuple(known.get(column, "") for column in METADATA_HEADER)


def _write_tables(folder: Path, rows: list[_Rows]) -> None:
    for word, other in (("train", "train"), ("valid", "validation")):
        own = [row for row in rows if row.report[0].startswith(word)]
        if not own:
            continue
        reports = folder / "radiology_text_reports" / f"{other}_reports.csv"
        _write_table(reports, REPORT_HEADER, (row.report for row in own))
        labels = folder / "multi_abnormality_labels" / f"{word}_predicted_labels.csv"
        _write_table(labels, ("VolumeName", *CT_RATE_FINDINGS), (row.labels for row in own))
        metadata = folder / "metadata" / f"{other}_metadata.csv"
        _write_table(metadata, METADATA_HEADER, (row.metadata for row in own))
        replace_file(folder / "metadata" / f"no_chest_{word}.txt", b"")


def _write_table(path: Path, header: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    replace_file(path, table.getvalue().encode("utf-8"))


def _describe(spec: PhantomSpec) -> dict[str, Any]:
    """The spec and the code that draws it, so that no old phantom is taken for a new one."""
    code = hashlib.sha256()
    for path in [*sorted(Path(mg3d.phantom.__path__[0]).glob("*.py")), Path(__file__)]:
        code.update(path.read_bytes())
    return json.loads(json.dumps({**asdict(spec), "code": code.hexdigest()[:16]}))


def _finished(output: Path, settings: PrepareSettings, facts: dict[str, Any]) -> Prepared | None:
    """A complete run of the same spec and settings, if the folder holds one."""
    from mg3d.data.manifest import FACTS_NAME, read_manifest  # brings torch, which workers spare

    if not (output / FACTS_NAME).is_file():
        return None
    try:
        manifest = read_manifest(output)
    except (FileNotFoundError, ValueError):
        return None
    found, rows = manifest.facts, manifest.rows
    same = found.get("settings") == describe_settings(settings)
    if not same or any(found.get(key) != value for key, value in facts.items()):
        return None
    if found["counts"]["refused"] or found["counts"]["volumes"] != len(rows):
        return None
    files = [*rows["volume"], *filter(None, rows["masks"])]
    if not all((output / file).is_file() for file in files):
        return None
    return Prepared(output, len(rows), len(rows), (), ())


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
