"""What a phantom's radiologist can say: several wordings for every finding and its absence.

The wordings are this project's own, in the manner of CT-RATE's translated reports. A wording is a
format string whose fields, such as {sev} and {where}, `mg3d.phantom.report` fills in. Each names
another subset of them, so that two reports on one patient differ in what they tell.
"""

# Where in a report a finding is told. Medical material is told where it lies.
SYSTEMS: dict[str, tuple[str, ...]] = {
    "airways": ("Peribronchial thickening", "Bronchiectasis"),
    "lungs": (
        "Emphysema",
        "Atelectasis",
        "Lung nodule",
        "Lung opacity",
        "Pulmonary fibrotic sequela",
        "Mosaic attenuation pattern",
        "Consolidation",
        "Interlobular septal thickening",
    ),
    "pleura": ("Pleural effusion",),
    "heart": ("Cardiomegaly", "Pericardial effusion", "Coronary artery wall calcification"),
    "vessels": ("Arterial wall calcification", "Medical material"),
    "mediastinum": ("Lymphadenopathy", "Hiatal hernia"),
    "abdomen": (),
    "bones": (),
}

# A key is a finding, or "finding: kind" where the kinds are told in different words.
POSITIVE: dict[str, tuple[str, ...]] = {
    "Medical material: pacemaker": (
        "A pacemaker is seen in the {side} chest wall.",
        "Pacemaker generator on the {side} anterior chest wall, its leads reach the heart.",
        "There is a cardiac pacemaker on the {side} with electrodes in the right heart chambers.",
        "A pacemaker device with leads was noted on the {side}.",
    ),
    "Medical material: port": (
        "A port catheter is seen on the {side} anterior chest wall.",
        "The tip of a {side} sided port catheter ends in the superior vena cava.",
        "There is a port chamber under the skin of the {side} chest wall "
        "with its central catheter.",
        "A central venous port was noted on the {side}.",
    ),
    "Medical material: sternal wires": (
        "Sternal wires are seen after previous surgery.",
        "There are metallic sutures of a median sternotomy.",
        "Sternotomy wires were noted in the midline.",
        "Postoperative metallic suture material is present in the sternum.",
    ),
    "Arterial wall calcification": (
        "{sev} calcified atheroma plaques are seen in the wall of the aortic arch.",
        "There are {sev} calcifications in the thoracic aorta.",
        "{sev} atherosclerotic wall calcification was noted in the aortic arch "
        "and descending aorta.",
        "Calcific plaques are present on the walls of the aorta.",
        "The aortic wall shows {sev} calcific atherosclerotic changes.",
    ),
    "Cardiomegaly": (
        "The heart is {sevly} enlarged.",
        "Heart size has {sevly} increased.",
        "The cardiothoracic ratio is {sevly} increased.",
        "There is {sev} cardiomegaly.",
        "Heart dimensions are larger than normal.",
    ),
    "Pericardial effusion": (
        "A pericardial effusion with a thickness of {size} is seen.",
        "There is a {sev} pericardial effusion.",
        "Fluid measuring {size} was noted in the pericardial space.",
        "A {sev} pericardial effusion is present, thickest part {size}.",
    ),
    "Coronary artery wall calcification": (
        "{sev} calcifications are seen in the coronary arteries.",
        "There are calcified plaques in the coronary artery walls.",
        "{sev} coronary artery calcification was noted.",
        "The walls of the coronary arteries show {sev} calcific atheroma plaques.",
    ),
    "Hiatal hernia": (
        "A {sev} hiatal hernia is seen.",
        "There is a sliding type hiatal hernia of {size} at the lower end of the esophagus.",
        "Part of the stomach herniates {size} into the thorax through the hiatus.",
        "A {sev} hiatal hernia was noted at the esophagogastric junction.",
    ),
    "Lymphadenopathy": (
        "{nodes} with a short axis of {size} {is} seen in the {station} region.",
        "There {is} {nodes} in the {station} area, short diameter {size}.",
        "{station} lymphadenopathy measuring {size} was noted.",
        "Pathologically enlarged {station} lymph {nodenoun} up to {size} {is} present.",
        "{nodes} {was} noted at the {station} station.",
    ),
    "Emphysema: centrilobular": (
        "{sev} centrilobular emphysema is seen {where}.",
        "There are {sev} centrilobular emphysematous changes {where}.",
        "{sev} emphysematous changes were noted {where}.",
        "Centrilobular emphysema areas are present {where}.",
    ),
    "Emphysema: paraseptal": (
        "{sev} paraseptal emphysema is seen {where}.",
        "There are {sev} paraseptal emphysematous changes {where}.",
        "Subpleural air cysts of {sev} paraseptal emphysema were noted {where}.",
        "Paraseptal emphysema areas are present {where}.",
    ),
    "Atelectasis: linear": (
        "Linear atelectasis is seen {where}.",
        "There is band-like atelectasis {where}.",
        "Linear atelectatic changes were noted {where}.",
        "Plate-like atelectasis is present {where}.",
    ),
    "Atelectasis: subsegmental": (
        "Subsegmental atelectasis is seen {where}.",
        "There is subsegmental atelectasis {where}.",
        "Subsegmental volume loss with atelectasis was noted {where}.",
        "Subsegmental atelectatic changes are present {where}.",
    ),
    "Atelectasis: volume loss": (
        "Atelectasis with {sev} volume loss is seen {where}.",
        "There is {sev} volume loss with atelectasis {where}.",
        "{sev} atelectasis was noted {where}, volume loss is present.",
        "Atelectatic changes with {sev} volume loss are present {where}.",
    ),
    "Lung nodule": (
        "{nodules} {is} seen {where}, measuring {size}.",
        "There {is} {nodules} with a diameter of {size} {where}.",
        "{nodules} up to {size} {was} noted {where}.",
        "{where}, {nodules} of approximately {size} {is} present.",
        "{nodules} {is} observed {where}.",
    ),
    "Lung opacity": (
        "{sev} ground-glass opacity is seen {where}.",
        "There are {sev} patchy ground-glass densities {where}.",
        "Areas of ground-glass density increase were noted {where}.",
        "{where}, {sev} ground-glass opacities are present.",
        "Ground-glass infiltrates of {sev} extent are observed {where}.",
    ),
    "Pulmonary fibrotic sequela": (
        "Fibrotic sequelae are seen {where}.",
        "There are {sev} pleuroparenchymal sequela changes {where}.",
        "{sev} sequela fibrotic bands were noted {where}.",
        "{where}, fibrotic recessions and {sev} sequelae are present.",
    ),
    "Pleural effusion": (
        "A {sev} {pleural} pleural effusion is seen.",
        "There is a {pleural} pleural effusion with a thickness of {size}.",
        "Free fluid measuring {size} was noted in the {pleural} pleural space.",
        "{pleural} pleural effusion is present, thickest part {size}.",
        "Pleural fluid of {sev} amount is observed {onside}.",
    ),
    "Mosaic attenuation pattern": (
        "A mosaic attenuation pattern is seen in both lungs.",
        "There is {sev} mosaic attenuation of the lung parenchyma.",
        "{sev} mosaic perfusion was noted in both lungs.",
        "Both lungs show {sev} mosaic pattern of attenuation, small airway disease?",
    ),
    "Peribronchial thickening": (
        "{sev} peribronchial thickening is seen in both lungs.",
        "There is {sev} thickening of the bronchial walls bilaterally.",
        "Peribronchial wall thickness is {sevly} increased in both lungs.",
        "{sev} diffuse peribronchial cuffing was noted.",
    ),
    "Consolidation": (
        "A consolidation with air bronchograms is seen {where}.",
        "There is {sev} consolidation {where}.",
        "A {sev} consolidated area was noted {where}.",
        "{where}, {sev} consolidation is present, compatible with pneumonia.",
    ),
    "Bronchiectasis": (
        "{sev} bronchiectasis is seen {where}.",
        "There are {sev} bronchiectatic changes {where}.",
        "{sev} dilatation of the bronchi, bronchiectasis, was noted {where}.",
        "Ectatic bronchi of {sev} degree are present {where}.",
    ),
    "Interlobular septal thickening": (
        "{sev} interlobular septal thickening is seen {where}.",
        "There is {sev} thickening of the interlobular septa {where}.",
        "Interlobular septa are {sevly} thickened {where}.",
        "{sev} septal thickening was noted {where}.",
    ),
}

IMPRESSION: dict[str, tuple[str, ...]] = {
    "Medical material: pacemaker": ("Pacemaker.", "Pacemaker on the {side}."),
    "Medical material: port": ("Port catheter.", "{side} sided port catheter."),
    "Medical material: sternal wires": ("Sternal wires.", "Previous sternotomy."),
    "Arterial wall calcification": (
        "Atherosclerotic calcification of the aorta.",
        "{sev} aortic calcification.",
        "Calcific plaques in the aorta.",
    ),
    "Cardiomegaly": ("Cardiomegaly.", "{sev} cardiomegaly.", "Enlarged heart."),
    "Pericardial effusion": (
        "Pericardial effusion.",
        "{sev} pericardial effusion.",
        "Pericardial effusion of {size}.",
    ),
    "Coronary artery wall calcification": (
        "Coronary artery calcification.",
        "{sev} coronary calcification.",
        "Calcific plaques in the coronary arteries.",
    ),
    "Hiatal hernia": ("Hiatal hernia.", "{sev} hiatal hernia.", "Sliding hiatal hernia."),
    "Lymphadenopathy": (
        "{station} lymphadenopathy.",
        "Enlarged {station} lymph {nodenoun}.",
        "Pathological lymph {nodenoun}, {station}, {size}.",
    ),
    "Emphysema": ("Emphysema.", "{sev} emphysema.", "Emphysematous changes {where}."),
    "Atelectasis: linear": ("Linear atelectasis {where}.", "Atelectatic changes {where}."),
    "Atelectasis: subsegmental": ("Subsegmental atelectasis {where}.", "Atelectasis {where}."),
    "Atelectasis: volume loss": (
        "Atelectasis with volume loss {where}.",
        "{sev} atelectasis {where}.",
    ),
    "Lung nodule": (
        "{nodules} {where}.",
        "Pulmonary {nodulenoun} {where}, {size}.",
        "{nodules} of {size}, follow-up is recommended.",
    ),
    "Lung opacity": (
        "Ground-glass opacities {where}.",
        "{sev} ground-glass densities, viral pneumonia?",
        "Ground-glass infiltrates {where}, clinical correlation is recommended.",
    ),
    "Pulmonary fibrotic sequela": (
        "Fibrotic sequelae {where}.",
        "Sequela changes {where}.",
        "{sev} pleuroparenchymal sequelae.",
    ),
    "Pleural effusion": (
        "{pleural} pleural effusion.",
        "{sev} {pleural} pleural effusion.",
        "Pleural effusion {onside}.",
    ),
    "Mosaic attenuation pattern": (
        "Mosaic attenuation pattern.",
        "Mosaic attenuation in both lungs, small airway disease?",
        "{sev} mosaic pattern.",
    ),
    "Peribronchial thickening": (
        "Peribronchial thickening.",
        "{sev} peribronchial thickening in both lungs.",
        "Bronchial wall thickening.",
    ),
    "Consolidation": (
        "Consolidation {where}.",
        "Consolidation {where}, pneumonia?",
        "{sev} pneumonic consolidation {where}.",
    ),
    "Bronchiectasis": (
        "Bronchiectasis {where}.",
        "{sev} bronchiectasis.",
        "Bronchiectatic changes.",
    ),
    "Interlobular septal thickening": (
        "Interlobular septal thickening.",
        "{sev} interlobular septal thickening {where}.",
        "Thickened interlobular septa, congestion?",
    ),
}

LUNG_FINDINGS = (*SYSTEMS["airways"], *SYSTEMS["lungs"])

# (system, the findings that must all be absent, wordings).
NEGATIVE: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("airways", ("Bronchiectasis",), (
        "No bronchiectasis was detected.",
        "There is no dilatation of the bronchi.",
        "Bronchial calibres are normal.",
    )),
    ("airways", ("Peribronchial thickening",), (
        "No peribronchial thickening was detected.",
        "The bronchial walls are not thickened.",
        "Bronchial wall thickness is normal.",
    )),
    ("lungs", LUNG_FINDINGS, (
        "Both lungs are clear.",
        "Aeration of both lungs is normal.",
        "The lung parenchyma is normal on both sides.",
        "No active pathology was detected in the lung parenchyma.",
    )),
    ("lungs", ("Lung nodule",), (
        "No nodule or mass was detected in the lungs.",
        "There is no suspicious pulmonary nodule.",
        "Both lungs are free of nodules.",
    )),
    ("lungs", ("Consolidation",), (
        "No consolidation was detected.",
        "There is no pneumonic consolidation.",
        "No consolidated area is seen in the lungs.",
    )),
    ("lungs", ("Lung opacity",), (
        "No ground-glass opacity was detected.",
        "There is no ground-glass density increase.",
        "No ground-glass area is seen in either lung.",
    )),
    ("lungs", ("Lung opacity", "Consolidation"), (
        "No infiltrate was detected in either lung.",
        "There is no active infiltration in the lung parenchyma.",
        "No sign of pneumonia is seen.",
    )),
    ("lungs", ("Emphysema",), (
        "No emphysema was detected.",
        "There is no emphysematous change.",
        "No emphysematous area is seen in the lungs.",
    )),
    ("lungs", ("Atelectasis",), (
        "No atelectasis was detected.",
        "There is no atelectatic change.",
        "No volume loss is seen in the lungs.",
    )),
    ("lungs", ("Pulmonary fibrotic sequela",), (
        "No fibrotic sequela was detected.",
        "There is no fibrotic change in the lungs.",
        "No sequela is seen in the lung apices.",
    )),
    ("lungs", ("Mosaic attenuation pattern",), (
        "No mosaic attenuation was detected.",
        "The attenuation of both lungs is homogeneous.",
        "There is no mosaic pattern.",
    )),
    ("lungs", ("Interlobular septal thickening",), (
        "No interlobular septal thickening was detected.",
        "The interlobular septa are not thickened.",
        "There is no septal thickening.",
    )),
    ("pleura", ("Pleural effusion",), (
        "No pleural effusion was detected.",
        "There is no fluid in the pleural spaces.",
        "Pleural effusion is not seen on either side.",
        "Both pleural spaces are free.",
    )),
    ("pleura", ("Pleural effusion", "Pericardial effusion"), (
        "No pleural or pericardial effusion was detected.",
        "There is neither pleural nor pericardial effusion.",
        "Pleural and pericardial effusion are absent.",
    )),
    ("heart", ("Cardiomegaly",), (
        "Heart size is normal.",
        "The heart is not enlarged.",
        "The cardiothoracic ratio is within normal limits.",
        "Heart contours and dimensions are natural.",
    )),
    ("heart", ("Pericardial effusion",), (
        "No pericardial effusion was detected.",
        "There is no fluid in the pericardial space.",
        "Pericardial effusion is not seen.",
    )),
    ("heart", ("Coronary artery wall calcification",), (
        "No coronary calcification was detected.",
        "The coronary arteries are free of calcification.",
        "There is no calcific plaque in the coronary arteries.",
    )),
    ("vessels", ("Arterial wall calcification",), (
        "No calcification of the aortic wall was detected.",
        "The wall of the thoracic aorta is smooth.",
        "There is no atherosclerotic plaque in the aorta.",
    )),
    ("mediastinum", ("Lymphadenopathy",), (
        "No enlarged lymph nodes were detected in the mediastinum or hila.",
        "There is no mediastinal lymphadenopathy.",
        "Mediastinal and hilar lymph nodes are not enlarged.",
        "No pathological lymph node is seen.",
    )),
    ("mediastinum", ("Hiatal hernia",), (
        "No hiatal hernia was detected.",
        "The esophagus has a normal course and no hernia is seen.",
        "There is no herniation at the esophageal hiatus.",
    )),
    ("vessels", ("Medical material",), (
        "No catheter or other device is seen.",
        "There is no foreign material in the thorax.",
        "No medical device was detected.",
    )),
)  # fmt: skip

# True of every phantom without the incidental things named, or not decided by its picture: nothing
# here is about the 18 findings. (system, what must be absent, wordings).
Statement = tuple[str, tuple[str, ...], tuple[str, ...]]
ALWAYS: tuple[Statement, ...] = (
    ("airways", (), (
        "The trachea is in the midline and open.",
        "Trachea and main bronchi are patent.",
        "The lumen of the trachea and of both main bronchi is clear.",
    )),
    ("vessels", (), (
        "The diameter of the thoracic aorta is normal.",
        "Mediastinal main vessels are of natural width.",
        "The pulmonary trunk is not dilated.",
    )),
    ("mediastinum", ("thyroid lesion",), (
        "Thyroid gland sections have a natural appearance.",
        "The thyroid gland is natural.",
    )),
    ("abdomen", ("fatty liver", "kidney cyst"), (
        "Upper abdominal organs are unremarkable as far as included.",
    )),
    ("abdomen", (), (
        "Both adrenal glands are natural.",
        "The gallbladder was operated on.",
    )),
    ("bones", ("degenerative spine",), (
        "Bony structures are natural for the age.",
    )),
    ("bones", (), (
        "Vertebral body heights are preserved.",
        "No destructive bone lesion was detected.",
    )),
)  # fmt: skip

# What is said of the examination, without and with contrast material.
TECHNIQUE: dict[bool, Statement] = {
    False: ("technique", (), (
        "The examination was performed without contrast material.",
        "Sections were obtained without intravenous contrast.",
        "Mediastinal structures are evaluated suboptimally in the unenhanced examination.",
    )),
    True: ("technique", (), (
        "The examination was performed with intravenous contrast material.",
        "Sections were obtained after intravenous contrast.",
    )),
}  # fmt: skip

# What is said where a patient has it; a key of `patient.INCIDENTAL`.
MENTIONED: dict[str, Statement] = {
    "fatty liver": ("abdomen", (), (
        "The liver parenchyma is slightly low in density, fatty liver.",
    )),
    "kidney cyst": ("abdomen", (), (
        "A simple cortical cyst is seen in the upper pole of the left kidney.",
    )),
    "thyroid lesion": ("mediastinum", (), (
        "A hypodense lesion is seen in the left thyroid lobe.",
        "The thyroid gland is heterogeneous.",
    )),
    "old granuloma": ("abdomen", (), (
        "A few calcified granulomas are seen in the liver and beside the carina.",
        "There are small calcified granulomas in the liver and below the carina.",
    )),
    "degenerative spine": ("bones", (), (
        "There are degenerative changes in the vertebrae.",
        "Osteophytes are seen at the corners of the thoracic vertebrae.",
    )),
}  # fmt: skip

NORMAL_IMPRESSION: tuple[str, ...] = (
    "No acute finding in the thorax.",
    "Thorax CT within normal limits.",
    "No significant pathology was detected.",
    "Normal findings.",
)
UNIMPORTANT_IMPRESSION: tuple[str, ...] = (
    "No acute finding.",
    "No acute pathology in the thorax.",
    "No sign of acute disease.",
)
