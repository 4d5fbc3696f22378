"""Clinical efficacy: does a generated report state the findings that the patient's report states?

Both texts go through the same labeller, and the labels are compared; where the patient has labels
of another kind (manual, or the phantom's own), those can be the truth instead. The labeller errs
too (macro F1 0.94 [0.93, 0.95] against manual labels of 435 CT-RATE reports that took no part in
writing the rules), so small differences mean little.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.evaluation.classification_metrics import Decisions
from mg3d.evaluation.labeller.label import label_matrix
from mg3d.evaluation.metrics import Score
from mg3d.evaluation.per_patient import bootstrap_cases

AVERAGES = tuple(
    f"{score}_{average}"
    for score in ("precision", "recall", "f1")
    for average in ("macro", "micro")
)


@dataclass(frozen=True)
class Efficacy:
    """Agreement of stated findings, positive = 1; "not mentioned" is 0."""

    scores: dict[str, Score]  # "f1_macro", ..., also "f1_sample"
    per_finding: dict[str, dict[str, float]]  # finding -> n (positives), precision, recall, f1
    uncertain_as: str  # to stand beside every score


def clinical_efficacy(
    generated: Sequence[str],
    references: Sequence[str],
    patient_ids: Sequence[str],
    *,
    labels: Float[np.ndarray, "P 18"] | None = None,
    uncertain_as: str = "positive",
    seed: int = 0,
    draws: int = 1_000,
) -> Efficacy:
    """Precision, recall and F1 of the findings stated by generated reports.

    Args:
        generated: one text a case; "" states nothing.
        references: the case's own report.
        patient_ids: the case's patient; intervals are over patients.
        labels: the truth, 1, 0 or NaN, instead of the references' labels.
        uncertain_as: how "uncertain" counts on both sides: "positive", "negative", "left out".
        seed: of the bootstrap.
        draws: of the bootstrap.

    Raises:
        ValueError: if the numbers of texts, patients and labels differ.
    """
    truth = label_matrix(references, uncertain_as) if labels is None else labels
    if not len(generated) == len(references) == len(patient_ids) == len(truth):
        raise ValueError(
            f"expected as many references, patients and labels as generated reports, got "
            f"{len(references)}, {len(patient_ids)} and {len(truth)} for {len(generated)}"
        )
    stated = label_matrix(generated, uncertain_as)

    def summary(cases: Int[np.ndarray, " N"]) -> dict[str, float]:
        return Decisions(truth[cases], stated[cases]).summary()

    scores = {
        name: bootstrap_cases(
            lambda cases, name=name: summary(cases)[name],  # type: ignore[misc]
            patient_ids,
            seed=seed,
            draws=draws,
        )
        for name in (*AVERAGES, "f1_sample")
    }
    agreed = Decisions(truth, stated)
    columns = zip(agreed.precision(), agreed.recall(), agreed.f1(), strict=True)
    per_finding = {
        name: {
            "n": float((truth[:, i] == 1).sum()),
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
        }
        for i, (name, (precision, recall, f1)) in enumerate(
            zip(CT_RATE_FINDINGS, columns, strict=True)
        )
    }
    return Efficacy(scores, per_finding, uncertain_as)
