"""The report a radiologist would write about a phantom patient: findings, then impression.

Words and picture are made from the same `PatientPlan`, so they agree: what is asserted is there,
and what is denied is not. As in real reports a few findings go unsaid, most normal things too, and
some sentences are about what the picture does not decide (technique, thyroid, vertebrae).

Source: manner and format of CT-RATE's `Findings_EN` and `Impressions_EN`; the wordings are our own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mg3d.phantom.patient import Finding, PatientPlan, stream
from mg3d.phantom.wordings import (
    ALWAYS,
    IMPRESSION,
    MENTIONED,
    NEGATIVE,
    NORMAL_IMPRESSION,
    POSITIVE,
    SYSTEMS,
    TECHNIQUE,
    UNIMPORTANT_IMPRESSION,
)

# Chance that a finding which is there is told at all.
SAID = 0.95
# Chance that a told finding is repeated in the impression.
REPEATED = {"mild": 0.35, "moderate": 0.8, "severe": 1.0}
IMPORTANT = ("Lymphadenopathy", "Lung nodule", "Lung opacity", "Pleural effusion", "Consolidation")
MAX_IMPRESSION_ITEMS = 4
SENTENCES = (11, 16)  # in all, where the findings alone do not need more

ADJECTIVES = {
    "mild": ("mild", "minimal", "slight"),
    "moderate": ("moderate",),
    "severe": ("severe", "marked", "pronounced"),
}
# What is measured is small or large, not mild or severe.
SIZE_ADJECTIVES = {"mild": ("small",), "moderate": ("moderate",), "severe": ("large",)}
MEASURED = ("Pericardial effusion", "Pleural effusion", "Hiatal hernia")
# Fluid from this thickness on presses the lung beside it: nobody then calls it clear, or denies
# atelectasis.
PRESSING_MM = 25.0
ADVERBS = {
    "mild": ("mildly", "minimally", "slightly"),
    "moderate": ("moderately",),
    "severe": ("severely", "markedly", "considerably"),
}
NUMBERS = ("no", "a", "two", "three", "four")
# Real impressions come as sentences, as items parted by a lone quotation mark, and as bullets.
IMPRESSION_FORMS = {" ": 0.6, ' " ': 0.25, " • ": 0.15}


@dataclass(frozen=True)
class PhantomReport:
    """What is written about one patient, in CT-RATE's two parts."""

    findings: str
    impression: str


def write_report(plan: PatientPlan) -> PhantomReport:
    """Write the report of one patient. Equal plans give equal reports."""
    rng = stream(plan.seed, plan.patient, "report")
    told = [finding for finding in plan.findings if rng.random() < SAID]
    impression = _impression(plan, told, rng)

    sentences = [(_system(finding), _tell(finding, POSITIVE, rng)) for finding in told]
    wanted = int(rng.integers(SENTENCES[0], SENTENCES[1] + 1)) - len(impression) - len(sentences)
    sentences += _fill(plan, max(wanted, 1), rng)

    systems = ["technique", *rng.permutation(list(SYSTEMS))]
    places = rng.permutation(len(sentences))  # order within a system
    order = sorted(range(len(sentences)), key=lambda i: (systems.index(sentences[i][0]), places[i]))
    findings = " ".join(sentences[i][1] for i in order)

    form = str(rng.choice(list(IMPRESSION_FORMS), p=list(IMPRESSION_FORMS.values())))
    return PhantomReport(findings, form.lstrip() * (form != " ") + form.join(impression))


def _impression(plan: PatientPlan, told: Sequence[Finding], rng: np.random.Generator) -> list[str]:
    """One to four items, the most severe findings first."""
    chosen = [
        finding
        for finding in told
        if rng.random() < (1.0 if finding.name in IMPORTANT else REPEATED[finding.severity])
    ]
    chosen.sort(key=lambda f: (f.name not in IMPORTANT, -list(REPEATED).index(f.severity)))
    if chosen:
        return [_tell(finding, IMPRESSION, rng) for finding in chosen[:MAX_IMPRESSION_ITEMS]]
    return [str(rng.choice(UNIMPORTANT_IMPRESSION if plan.findings else NORMAL_IMPRESSION))]


def _fill(plan: PatientPlan, wanted: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Denials of what is absent, and sentences that are true of everyone, about two to one."""
    present = {finding.name for finding in plan.findings}
    if any(finding.kind == "ground-glass" for finding in plan.findings):  # a nodule can be that
        present.add("Lung opacity")
    if any(f.name == "Pleural effusion" and f.size_mm and f.size_mm >= PRESSING_MM
           for f in plan.findings):  # fmt: skip
        present.add("Atelectasis")
    denials = [entry for entry in NEGATIVE if not present.intersection(entry[1])]
    denials = [denials[i] for i in rng.permutation(len(denials))]
    told = [entry for entry in ALWAYS if not set(entry[1]).intersection(plan.incidental)]
    told.append(TECHNIQUE[plan.contrast])
    told += [MENTIONED[name] for name in plan.incidental]
    always = [told[i] for i in rng.permutation(len(told))]
    filled: list[tuple[str, str]] = []
    denied: set[str] = set()
    while len(filled) < wanted and (denials or always):
        if always and (not denials or rng.random() < 1 / 3):
            system, _, wordings = always.pop()
        else:
            system, absent, wordings = denials.pop()
            if denied.intersection(absent):  # nothing is denied twice
                continue
            denied.update(absent)
        filled.append((system, str(rng.choice(wordings))))
    return filled


def _system(finding: Finding) -> str:
    return next(system for system, names in SYSTEMS.items() if finding.name in names)


def _tell(finding: Finding, table: dict[str, tuple[str, ...]], rng: np.random.Generator) -> str:
    """One of the finding's wordings, filled in with what is known about it."""
    by_kind = f"{finding.name}: {finding.kind}"
    wordings = table[by_kind] if by_kind in table else table[finding.name]
    sentence = str(rng.choice(wordings)).format_map(_words(finding, rng))
    sentence = " ".join(sentence.split()).replace(" ,", ",").replace(" .", ".")
    return sentence[0].upper() + sentence[1:]


def _words(finding: Finding, rng: np.random.Generator) -> dict[str, str]:
    """The fields a wording may use. All are filled, "" where the finding has no such attribute."""
    several = finding.count > 1
    article = NUMBERS[finding.count] if finding.count < len(NUMBERS) else "multiple"
    if finding.count > 2 and rng.random() < 0.5:
        article = str(rng.choice(["multiple", "several"]))
    node = finding.name == "Lymphadenopathy"
    side = {"left": "left", "right": "right", "both": "bilateral", None: ""}[finding.side]
    noun = ("lymph node" if node else "nodule") + "s" * several
    kind = (
        ("enlarged" if several else str(rng.choice(["enlarged", "pathological"]))) if node else ""
    )
    adjectives = SIZE_ADJECTIVES if finding.name in MEASURED else ADJECTIVES
    described = f"{article} {kind or finding.kind} {noun}"
    return {
        "sev": str(rng.choice(adjectives[finding.severity])),
        "sevly": str(rng.choice(ADVERBS[finding.severity])),
        "side": side,
        "pleural": side,
        "onside": {"both": "on both sides", None: ""}.get(finding.side, f"on the {side}"),
        "where": _where(finding, rng),
        "size": _size(finding.size_mm, rng),
        "station": f"{side} {finding.kind}" if node else "",
        "nodes": described.replace("a enlarged", "an enlarged"),
        "nodules": described,
        "nodenoun": "nodes" if several else "node",
        "nodulenoun": "nodules" if several else "nodule",
        "is": "are" if several else "is",
        "was": "were" if several else "was",
    }


def _where(finding: Finding, rng: np.random.Generator) -> str:
    """The place in the lungs, in one of the usual turns of phrase."""
    side, lobe = finding.side, finding.lobe
    if side is None:
        return f"in the {lobe}s" if lobe else "in the lungs"
    if side == "both":
        choices = [
            f"in both {lobe}s",
            f"in the {lobe}s of both lungs",
            f"in the {lobe}s bilaterally",
        ]
        if lobe is None:
            choices = ["in both lungs", "diffusely in both lungs", "bilaterally"]
    elif lobe is None:
        choices = [
            f"in the {side} lung",
            f"throughout the {side} lung",
            f"in the {side} hemithorax",
        ]
    else:
        choices = [
            f"in the {side} {lobe}",
            f"in the {lobe} of the {side} lung",
            f"in the {side} lung {lobe}",
        ]
    return str(rng.choice(choices))


def _size(size_mm: float | None, rng: np.random.Generator) -> str:
    if size_mm is None:
        return ""
    return f"{size_mm / 10:.1f} cm" if rng.random() < 0.25 else f"{round(size_mm)} mm"
