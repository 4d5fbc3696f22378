"""Scores of generated reports from saved texts, each beside what a model that sees nothing reaches.

Rows under every score: one training report for everybody (the most frequent one, the medoid), a
random training report for each, and the same model given another patient's volume. A model has
learned to look only as far as it is above all four.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mg3d.evaluation.labeller.efficacy import clinical_efficacy
from mg3d.evaluation.labeller.label import Label, label_report
from mg3d.evaluation.metrics import Score
from mg3d.evaluation.per_patient import bootstrap_cases
from mg3d.evaluation.tasks.task import Measure, Predicted
from mg3d.evaluation.text_metrics.bleu import MAX_N, bleu_counts
from mg3d.evaluation.text_metrics.cider import cider
from mg3d.evaluation.text_metrics.report_scores import score_reports
from mg3d.evaluation.text_metrics.rouge import rouge_l
from mg3d.evaluation.text_metrics.tokens import r2gen, truncated, vocabulary_of
from mg3d.evaluation.text_metrics.trivial_reports import medoid, most_frequent, random_training

OTHER = "same model, another patient's volume"
FREQUENT, RANDOM, MEDOID = (
    f"trivial: {kind} training report" for kind in ("most frequent", "random", "medoid")
)
DRAWS = 500  # of the bootstrap


@dataclass(frozen=True)
class Compared:
    """Findings of two reports on one patient, by the labeller."""

    found: tuple[str, ...]  # stated by both
    missed: tuple[str, ...]  # stated by the true report only
    invented: tuple[str, ...]  # stated by the generated report only


def compare_findings(generated: str, reference: str) -> Compared:
    """Which findings a generated report found, missed and invented; doubt counts as stated."""
    said, true = (_stated(text) for text in (generated, reference))
    return Compared(
        tuple(name for name in true if name in said),
        tuple(name for name in true if name not in said),
        tuple(name for name in said if name not in true),
    )


def _stated(report: str) -> list[str]:
    positive = (Label.PRESENT, Label.UNCERTAIN)
    return [name for name, verdict in label_report(report).items() if verdict.label in positive]


def generation_measures(predicted: Predicted) -> list[Measure]:
    """All scores of the model and of what it has to beat; clinical efficacy first."""
    cases = predicted.evaluation
    references = [str(case.truth["report"]) for case in cases]
    patients = [case.patient_id for case in cases]
    note = str(predicted.known.get("note", ""))
    found = []
    for model, texts in rivals(predicted).items():
        for name, (score, protocol) in scores_of(
            texts, references, patients, predicted.known["train_reports"], predicted.seed
        ).items():
            about = "; ".join(text for text in (protocol, note) if text)
            found.append(Measure(name, score, len(cases), model, about))
    return found


def rivals(predicted: Predicted) -> dict[str, list[str]]:
    """One text a case, by who wrote it; "" is the model. Without another patient: no such row."""
    cases, train = predicted.evaluation, list(predicted.known["train_reports"])
    texts = {"": [str(case.output["report"]) for case in cases]}
    if all(case.output.get("other_volume") is not None for case in cases):
        texts[OTHER] = [str(case.output["other_volume"]) for case in cases]
    texts[FREQUENT] = most_frequent(train, len(cases))
    texts[RANDOM] = random_training(train, len(cases), seed=predicted.seed)
    texts[MEDOID] = medoid(train, len(cases), seed=predicted.seed)
    return texts


def scores_of(
    texts: Sequence[str],
    references: Sequence[str],
    patients: Sequence[str],
    train: Sequence[str],
    seed: int = 0,
) -> Mapping[str, tuple[Score, str]]:
    """Scores with their protocol, by name.

    Args:
        texts: one a case.
        references: the cases' own reports.
        patients: of the cases.
        train: training reports, whose words the released references keep.
        seed: of the bootstrap.
    """
    clinical = clinical_efficacy(texts, references, patients, seed=seed, draws=DRAWS)
    how = f"18 findings by the labeller, uncertain as {clinical.uncertain_as}"
    first = {"clinical_f1_micro": (clinical.scores["f1_micro"], how)}
    found = first | {f"clinical_{name}": (s, how) for name, s in clinical.scores.items()}
    for name, one in score_reports(texts, references, patients, seed=seed, draws=DRAWS).items():
        key = name.lower().replace("-", "_").replace(" ", "_")
        found[key] = (one.score, one.protocol)
    return found | _as_released(texts, references, patients, train, seed)


def _as_released(
    texts: Sequence[str],
    references: Sequence[str],
    patients: Sequence[str],
    train: Sequence[str],
    seed: int,
) -> dict[str, tuple[Score, str]]:
    """BLEU, ROUGE-L and CIDEr against references that are cut and have no rare words."""
    words = vocabulary_of(r2gen(report) for report in train)
    own = [r2gen(text) for text in texts]
    theirs = [truncated(r2gen(text), words) for text in references]
    how = "as released: r2gen tokens, references cut after 149 and without rare words"
    counts = bleu_counts(own, theirs)
    rows = {
        f"bleu_{n}_released": bootstrap_cases(
            lambda chosen, n=n: counts.bleu(n, chosen),  # type: ignore[misc]
            patients,
            seed=seed,
            draws=DRAWS,
        )
        for n in range(1, MAX_N + 1)
    }
    each: dict[str, Float[np.ndarray, " P"]] = {
        "rouge_l_released": rouge_l(own, theirs),
        "cider_released": cider(own, theirs),
    }
    for name, values in each.items():
        rows[name] = bootstrap_cases(
            lambda chosen, values=values: float(values[chosen].mean()),  # type: ignore[misc]
            patients,
            seed=seed,
            draws=DRAWS,
        )
    return {name: (score, how) for name, score in rows.items()}
