"""Zero-shot prompts: for every finding a few sentences that assert it and that deny it.

A volume is scored by how much closer it lies to the assertions than to the denials. The wordings
are a report's, not a label's ("the heart is enlarged", not "cardiomegaly: yes"), and name no side,
size or severity, so they fit any patient and any data set.
"""

# Keys are the names in `mg3d.data.labels.CT_RATE_FINDINGS`; (assertions, denials).
PROMPTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Medical material": (
        (
            "a pacemaker is seen in the chest wall.",
            "there is a port catheter with its tip in the superior vena cava.",
            "sternal wires are seen after previous surgery.",
        ),
        ("no medical device was detected.", "there is no foreign material in the thorax."),
    ),
    "Arterial wall calcification": (
        (
            "calcified atheroma plaques are seen in the wall of the aortic arch.",
            "there are calcifications in the thoracic aorta.",
        ),
        (
            "no calcification of the aortic wall was detected.",
            "there is no atherosclerotic plaque in the aorta.",
        ),
    ),
    "Cardiomegaly": (
        ("the heart is enlarged.", "heart size has increased.", "there is cardiomegaly."),
        ("heart size is normal.", "the heart is not enlarged."),
    ),
    "Pericardial effusion": (
        ("there is pericardial effusion.", "fluid is seen in the pericardial space."),
        ("no pericardial effusion was detected.", "there is no fluid in the pericardial space."),
    ),
    "Coronary artery wall calcification": (
        (
            "calcifications are seen in the coronary arteries.",
            "there are calcified plaques in the coronary artery walls.",
        ),
        (
            "no coronary calcification was detected.",
            "the coronary arteries are free of calcification.",
        ),
    ),
    "Hiatal hernia": (
        ("a hiatal hernia is seen.", "part of the stomach herniates into the thorax."),
        ("no hiatal hernia was detected.", "there is no herniation at the esophageal hiatus."),
    ),
    "Lymphadenopathy": (
        (
            "enlarged lymph nodes are seen in the mediastinum.",
            "there is mediastinal lymphadenopathy.",
            "pathological lymph nodes are present in the hilar region.",
        ),
        ("no enlarged lymph nodes were detected.", "there is no mediastinal lymphadenopathy."),
    ),
    "Emphysema": (
        (
            "emphysema is seen in both lungs.",
            "there are emphysematous changes in the upper lobes.",
        ),
        ("no emphysema was detected.", "there is no emphysematous change."),
    ),
    "Atelectasis": (
        ("atelectasis is seen in the lung.", "there are linear atelectatic changes."),
        ("no atelectasis was detected.", "there is no atelectatic change."),
    ),
    "Lung nodule": (
        ("a nodule is seen in the lung.", "there are nodules in the lungs."),
        ("no nodule or mass was detected in the lungs.", "both lungs are free of nodules."),
    ),
    "Lung opacity": (
        (
            "ground-glass opacities are seen in the lungs.",
            "there are patchy ground-glass densities.",
        ),
        ("no ground-glass opacity was detected.", "there is no ground-glass density increase."),
    ),
    "Pulmonary fibrotic sequela": (
        ("fibrotic sequelae are seen in the lungs.", "there are sequela fibrotic bands."),
        ("no fibrotic sequela was detected.", "there is no fibrotic change in the lungs."),
    ),
    "Pleural effusion": (
        ("pleural effusion is seen.", "there is free fluid in the pleural space."),
        ("no pleural effusion was detected.", "there is no fluid in the pleural spaces."),
    ),
    "Mosaic attenuation pattern": (
        (
            "a mosaic attenuation pattern is seen in both lungs.",
            "both lungs show mosaic perfusion.",
        ),
        (
            "no mosaic attenuation was detected.",
            "the attenuation of both lungs is homogeneous.",
        ),
    ),
    "Peribronchial thickening": (
        (
            "peribronchial thickening is seen in both lungs.",
            "there is thickening of the bronchial walls.",
        ),
        ("no peribronchial thickening was detected.", "the bronchial walls are not thickened."),
    ),
    "Consolidation": (
        ("a consolidation is seen in the lung.", "there is consolidation with air bronchograms."),
        ("no consolidation was detected.", "there is no pneumonic consolidation."),
    ),
    "Bronchiectasis": (
        ("bronchiectasis is seen in the lung.", "there are bronchiectatic changes."),
        ("no bronchiectasis was detected.", "there is no dilatation of the bronchi."),
    ),
    "Interlobular septal thickening": (
        (
            "interlobular septal thickening is seen in the lungs.",
            "there is thickening of the interlobular septa.",
        ),
        (
            "no interlobular septal thickening was detected.",
            "the interlobular septa are not thickened.",
        ),
    ),
}
