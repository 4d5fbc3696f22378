"""Import LUNA16: its ten subsets, with nodule candidates in voxel coordinates.

    python -m data_prep.luna16 --source luna16 --output prepared/luna16

Whole scans are resampled to 1 mm; `candidates.csv` beside the manifest has the position of each
candidate in the prepared volume, so that cubes are cut at training time and not stored.

Source: layout and tables of the LUNA16 challenge (Setio et al., Med. Image Anal. 2017); subsets of
each split: MG-3D's released configuration.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from data_prep.command import importer_parser, options_from, run
from data_prep.tables import Row, TableError, read_label, read_number, read_table
from data_prep.walk import Tree, describe_skipped, refuse_lost_links, refuse_misnamed, walk
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
from mg3d.volumes.grid import Grid, affine_on_grid
from mg3d.volumes.orientation import to_canonical
from mg3d.volumes.readers.metaimage import MOST_HEADER, read_meta_header
from mg3d.volumes.volume import StoredGrid, Volume

SUBSET = re.compile(r"subset([0-9])")
SPLIT_OF = ("train",) * 5 + ("val",) * 2 + ("test",) * 3  # by subset
POINT_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ")
CANDIDATE_TABLES = ("candidates.csv", "candidates_V2.csv")  # the first existing one is used
ANNOTATIONS = "annotations.csv"
DIGITS = 3  # of a voxel index
OUTSIDE_VOXELS = 2.0  # beyond the edge of its scan, a point is none of it
LOG = logging.getLogger("mg3d.preparation")


def prepare_luna16(
    source: str | Path,
    output: str | Path,
    options: RunOptions = DEFAULT_OPTIONS,
    *,
    candidates: str | Path | None = None,
) -> Prepared:
    """Prepare LUNA16, or those of its subsets that are there. Can be interrupted and restarted.

    Args:
        source: folder with subset0, ..., subset9, candidates.csv and annotations.csv.
        output: the prepared folder.
        options: the prepared form (default: the whole scan at 1 mm, -1000 to 600 HU), and how
            to work.
        candidates: table of candidates; None: `candidates.csv`, else `candidates_V2.csv`.

    Raises:
        FileNotFoundError: if there is no subset, or no table of candidates.
        ValueError: if a table is damaged, or there is nothing to prepare.
    """
    root, options = Path(source), options.with_form(default_settings())
    assert options.settings is not None
    refused: list[Refusal] = []
    tree = Tree()
    records = list(_records(root, tree, refused))
    refuse_lost_links(tree, root, records, refused)
    to_index = {r.volume_id: _to_index(r.volume, options.settings.grid) for r in records}
    path = Path(candidates) if candidates else _find_candidates(root)
    points = read_table(path, (*POINT_COLUMNS, "class"))
    tables = {"candidates.csv": list(_places(path, points, to_index, "class"))}
    if (root / ANNOTATIONS).is_file():
        nodules = read_table(root / ANNOTATIONS, (*POINT_COLUMNS, "diameter_mm"))
        rows = list(_places(root / ANNOTATIONS, nodules, to_index, "diameter_mm"))
        tables["annotations.csv"] = rows
    present = {record.volume_id for record in records}
    without = sum(row["seriesuid"].strip() not in present for row in points)
    placed = len(tables["candidates.csv"])
    unreadable = {name for name, places in to_index.items() if places is None}
    unplaced = sum(row["seriesuid"].strip() in unreadable for row in points)
    dataset = DatasetDescription(
        source="LUNA16",
        root=root,
        refused=refused,
        tables={name: rows for name, rows in tables.items() if rows},
        facts={
            "split": "by subset: 0 to 4 train, 5 and 6 val, 7 to 9 test",
            "patients": "LUNA16 names no patient: a scan counts as one",
            "candidate_table": path.name,
            "candidates": len(points),
            "candidates_without_scan": without,
            "candidates_outside_scan": len(points) - without - unplaced - placed,
            **describe_skipped(tree, root),
            "positive_candidates": sum(row["label"] for row in tables["candidates.csv"]),
        },
    )
    return prepare(records, output, dataset, options)


def default_settings() -> PrepareSettings:
    """The whole scan at 1 mm, over the HU window of the released protocol."""
    return PrepareSettings(grid=Grid(None, (1.0, 1.0, 1.0)), hu_window=(-1000.0, 600.0))


def _records(root: Path, tree: Tree, refused: list[Refusal]) -> Iterator[ScanRecord]:
    """One record per scan; files of the subsets are added to `tree`."""
    folders = [path for path in sorted(root.glob("subset*")) if SUBSET.fullmatch(path.name)]
    if not folders:
        raise FileNotFoundError(
            f"{root} has none of the folders subset0 to subset9; give LUNA16's folder, unpacked"
        )
    refuse_misnamed(root, [f"subset{number}" for number in range(len(SPLIT_OF))], refused)
    first: dict[str, str] = {}
    for folder in folders:
        subset = int(folder.name[-1])
        below = walk(folder)
        tree.add(below)
        for path in below.files:  # archives unpack to subset0/subset0
            if path.suffix.lower() not in (".mhd", ".mha"):
                continue
            file = path.relative_to(root).as_posix()
            if first.setdefault(path.stem, file) != file:
                reason = f"the same scan as {first[path.stem]}; remove one"
                refused.append(Refusal(file, reason))
                continue
            yield ScanRecord(
                volume_id=path.stem,
                patient_id=path.stem,
                scan_id=path.stem,
                split=SPLIT_OF[subset],
                fold=str(subset),
                volume=path,
            )


def _find_candidates(root: Path) -> Path:
    for name in CANDIDATE_TABLES:
        if (root / name).is_file():
            return root / name
    raise FileNotFoundError(
        f"{root} has neither {' nor '.join(CANDIDATE_TABLES)}; fetch one, or name it with "
        "--candidates"
    )


@dataclass(frozen=True)
class _Places:
    """Where points of the world (LPS, as in LUNA16's tables) lie in a scan.

    Attributes:
        prepared: to voxels of the prepared grid.
        stored: to voxels of the file.
        shape: of the file.
    """

    prepared: Float64[np.ndarray, "4 4"]
    stored: Float64[np.ndarray, "4 4"]
    shape: tuple[int, int, int]

    def holds(self, point: np.ndarray) -> bool:
        """Whether the scan reaches a point (x, y, z, 1), up to `OUTSIDE_VOXELS`."""
        index = (self.stored @ point)[:3]
        return bool(
            (index >= -0.5 - OUTSIDE_VOXELS).all()
            and (index <= np.array(self.shape) - 0.5 + OUTSIDE_VOXELS).all()
        )


def _to_index(path: Path, grid: Grid) -> _Places | None:
    """Where points lie in a scan, from its header alone.

    None if the header is damaged; the scan will be refused for it.
    """
    try:
        with path.open("rb") as file:
            header = read_meta_header(path, file.read(MOST_HEADER))
    except (ValueError, OSError):
        return None
    nothing = np.broadcast_to(np.zeros((), np.int16), header.shape)
    view, affine = to_canonical(nothing, header.affine)
    empty = Volume(view, affine, StoredGrid(header.shape, header.affine), path)
    lps_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    return _Places(
        np.linalg.inv(affine_on_grid(empty, grid)) @ lps_to_ras,
        np.linalg.inv(header.affine) @ lps_to_ras,
        header.shape,
    )


def _places(
    path: Path, rows: list[Row], to_index: Mapping[str, _Places | None], kind: str
) -> Iterator[dict[str, Any]]:
    """Rows of the scans in `source`, with positions in voxels of the prepared grid.

    A point outside its scan is left out, with a warning: it may be in voxels, or of another scan.

    Raises:
        TableError: if a coordinate or value is no number, or a diameter not above 0; names file
            and line.
    """
    outside = []
    for row in rows:
        try:
            xyz = [read_number(row[column]) for column in POINT_COLUMNS[1:]]
            value = read_label(row[kind]) if kind == "class" else read_number(row[kind])
        except ValueError as error:
            raise TableError(f"{path}, line {row.line}: {error}; correct it") from error
        if value is None or None in xyz:
            raise TableError(
                f"{path}, line {row.line}: a field is empty, expected three coordinates in mm and "
                f"{kind}; fetch the table again"
            )
        if kind != "class" and value <= 0:
            raise TableError(
                f"{path}, line {row.line}: {kind} {value:g} is not above 0; correct it"
            )
        places, point = to_index.get(row["seriesuid"].strip()), np.array([*xyz, 1.0])
        if places is None:
            continue
        if not places.holds(point):
            outside.append(row.line)
            continue
        h, w, d, _ = (round(float(place), DIGITS) for place in places.prepared @ point)
        yield {
            "volume_id": row["seriesuid"].strip(),
            **{"h": h, "w": w, "d": d},
            "label" if kind == "class" else kind: value,
        }
    if outside:
        LOG.warning(
            "%s: %d points lie outside their scans and were left out, first in line %d; are they "
            "in mm of the world?",
            path.name,
            len(outside),
            outside[0],
        )


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = importer_parser(
        "luna16",
        "Prepare LUNA16 and its nodule candidates. Can be interrupted and restarted.",
        source="folder with subset0, ...",
        form=default_settings(),
    )
    parser.add_argument("--candidates", type=Path, help="table; default: candidates.csv, else V2")
    asked = parser.parse_args(arguments)
    return run(
        lambda: prepare_luna16(
            asked.source,
            asked.output,
            options_from(asked, default_settings()),
            candidates=asked.candidates,
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
