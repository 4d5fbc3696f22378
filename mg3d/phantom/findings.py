"""The 18 findings of CT-RATE as visible signs, each with its mask: the table, and how it is used.

A sign is made in two steps. First, once per patient, its places and shapes are drawn, from random
numbers of its own, so that leaving one finding out leaves the others where they are. Then it is
painted on each canvas, and the bit of the finding is set where it shows.
"""

from collections.abc import Callable

import numpy as np

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.phantom import findings_airways as airways
from mg3d.phantom import findings_heart as heart
from mg3d.phantom import findings_lung as lung
from mg3d.phantom import findings_scars as scars
from mg3d.phantom import findings_septa as septa
from mg3d.phantom.patient import Finding, PatientPlan, stream
from mg3d.phantom.patterns import Painter
from mg3d.phantom.thorax import Thorax

Sign = Callable[[Finding, Thorax, np.random.Generator], Painter]

# In the order of painting: fluid first, since it moves the lung; metal and calcium last.
SIGNS: dict[str, Sign] = {
    "Pleural effusion": airways.pleural_effusion,
    "Mosaic attenuation pattern": lung.mosaic_attenuation,
    "Emphysema": lung.emphysema,
    "Lung opacity": lung.lung_opacity,
    "Interlobular septal thickening": septa.septal_thickening,
    "Peribronchial thickening": airways.peribronchial_thickening,
    "Consolidation": lung.consolidation,
    "Pulmonary fibrotic sequela": scars.fibrotic_sequela,
    "Atelectasis": scars.atelectasis,
    "Bronchiectasis": airways.bronchiectasis,
    "Lung nodule": lung.lung_nodule,
    "Cardiomegaly": heart.cardiomegaly,
    "Pericardial effusion": heart.pericardial_effusion,
    "Hiatal hernia": heart.hiatal_hernia,
    "Lymphadenopathy": heart.lymphadenopathy,
    "Arterial wall calcification": heart.arterial_calcification,
    "Coronary artery wall calcification": heart.coronary_calcification,
    "Medical material": heart.medical_material,
}


def prepare_findings(plan: PatientPlan, build: Thorax) -> list[Painter]:
    """Draw places and shapes of the patient's signs; the painters, in the order of painting."""
    present = {finding.name: finding for finding in plan.findings}
    painters = []
    for name, sign in SIGNS.items():
        if name in present:
            rng = stream(plan.seed, plan.patient, "findings", CT_RATE_FINDINGS.index(name))
            painters.append(sign(present[name], build, rng))
    return painters
