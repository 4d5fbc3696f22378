"""CT-RATE's layout with tiny made-up chests, for tests of what reads it."""

import numpy as np

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.volumes.volume import write_nifti

AFFINE = np.diag([-2.0, -2.0, 2.0, 1.0])
REPORT = "VolumeName,ClinicalInformation_EN,Technique_EN,Findings_EN,Impressions_EN"
METADATA = "VolumeName,RescaleSlope,RescaleIntercept,XYSpacing,ZSpacing"


def chest(seed):
    rng = np.random.default_rng(seed)
    hu = np.full((24, 22, 20), -1000) + rng.integers(-20, 20, (24, 22, 20))
    hu[4:20, 4:18] = 40 + rng.integers(-20, 20, (16, 14, 20))
    return hu.astype(np.int16)


class Tree:
    """CT-RATE's layout, one volume and one line at a time."""

    def __init__(self, root):
        self.root = root
        self.lines = {}

    def volume(self, name, *, folder=None, offset=0, seed=0):
        word, patient, scan, _ = name.split("_")
        place = self.root / (folder or f"{word}_fixed") / f"{word}_{patient}"
        path = place / f"{word}_{patient}_{scan}" / f"{name}.nii.gz"
        dtype = np.uint16 if offset else np.int16
        write_nifti(path, (chest(seed) + offset).astype(dtype), AFFINE)
        return path

    def line(self, table, header, line):
        self.lines.setdefault(table, [header]).append(line)
        path = self.root / table
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(self.lines[table]) + "\n", encoding="utf-8")

    def report(self, name, findings="Heart is normal.", impression="Not given.", table="train"):
        text = f'{name},Not given.,Not given.,"{findings}","{impression}"'
        self.line(f"radiology_text_reports/{table}_reports.csv", REPORT, text)

    def labels(self, name, values, word="train"):
        path = f"multi_abnormality_labels/{word}_predicted_labels.csv"
        self.line(path, ",".join(("VolumeName", *CT_RATE_FINDINGS)), f"{name},{values}")

    def metadata(self, name, intercept, xy="[2.0, 2.0]", z="2", table="train"):
        text = f'{name},1,{intercept},"{xy}",{z}'
        self.line(f"metadata/{table}_metadata.csv", METADATA, text)

    def full(self, name, **how):
        self.volume(name, **how)
        table = "train" if name.startswith("train") else "validation"
        self.report(f"{name}.nii.gz", table=table)
