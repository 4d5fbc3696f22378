"""Saved predictions and ledger rows of yes/no labels as tables, for figures and for own scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mg3d.evaluation.tasks.predictions import folder_of, read_predictions

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LabelTables:
    """Predictions of a run on one split, patients in the order of their names.

    Attributes:
        scores: (cases, labels), larger means more likely.
        labels: likewise, 1, 0 or NaN where unknown.
        case_ids: of the rows.
        patient_ids: of the rows.
    """

    scores: "pd.DataFrame"
    labels: "pd.DataFrame"
    case_ids: Sequence[str]
    patient_ids: Sequence[str]


def read_label_tables(run: Path, split: str) -> LabelTables:
    """Scores and labels that a task with several yes/no labels has saved.

    Args:
        run: folder of the run.
        split: that was predicted, such as "val".

    Raises:
        FileNotFoundError: if there are no predictions of this split.
    """
    import pandas as pd

    saved = read_predictions(folder_of(run, split))
    labels = pd.DataFrame([one.truth for one in saved], dtype=float)
    scores = pd.DataFrame([one.output["output"] for one in saved], columns=labels.columns)
    return LabelTables(
        scores, labels, [one.case_id for one in saved], [one.patient_id for one in saved]
    )


def finding_rows(rows: Sequence[dict[str, Any]], model: str) -> list[dict[str, Any]]:
    """AUROCs of a run as `mg3d.viz.curves.show_scores` draws them: the mean, then each label.

    Args:
        rows: of the ledger; those of trivial baselines are left out.
        model: name that the run has in the figure.
    """
    found = []
    for row in rows:
        metric, _, label = str(row["metric"]).partition(": ")
        if row["baseline"] and metric in ("auroc", "auroc_macro"):
            own = {"finding": label or "macro", "model": model}
            found.append(own | {end: row[end] for end in ("value", "low", "high")})
    return found
