"""The words by which the 18 findings are told, and the normal statements that deny them.

A phrase is a regular expression on a lower-case sentence. What is *not* here is as telling as what
is: "pneumonia" is no consolidation, "fibroatelectatic" is a sequela, a lymph node counts whatever
its size, because CT-RATE's manual labels are given so.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phrase:
    """One way to tell a finding.

    Attributes:
        words: what is looked for; negation and doubt are judged around it.
        beside: must stand in the same sentence too, in any order; "" for nothing.
        unless: must not stand in the same clause; "" for nothing.
    """

    words: str
    beside: str = ""
    unless: str = ""


CALCIUM = r"\b(?:calcif\w*|athero\w*|plaques?)\b"
CORONARY = r"coronar|\blad\b|\brca\b|circumflex|left anterior descending|left main"
# Arteries other than the coronaries; the aortic valve and the aortopulmonary window are none.
ARTERIES = (
    r"\baort(?:a\b|ic (?!valv)|as\b)|\barcus|(?<!coronary )(?<!pulmonary )\barter(?:y|ies|ial)\b"
    r"|vascular struct|\bvessels?\b|supra-?aortic|carotid|iliac|subclavian"
)
ORGANS = (
    r"thyroid|goit|adrenal|surrenal|breast|areol|liver|hepat|spleen|splen|kidney|renal|pancrea"
    r"|lymph|subcutan|cutaneous|skin|\bnodular goiter|uter|prostat|gland|vertebra|bone|muscle"
)
BONES = r"fracture|\brib|costa|vertebra|bone|humer|clavic|sternum|kidney|renal|hepat|liver|lymph"
THICK = r"(?:thick\w*|cuffing|clarif\w*|prominen\w*|increase\w*)"

PHRASES: dict[str, tuple[Phrase, ...]] = {
    "Medical material": (
        Phrase(
            r"\b(?:catheters?|stents?|pacemakers?|pacing|sutur\w*|prosthe\w*|clips?|clipping)\b"
        ),
        Phrase(
            r"\b(?:endotracheal|nasogastric|tracheostomy|drainage|chest|thorax)"
            r" (?:tubes?|drains?)\b"
        ),
        Phrase(r"\b(?:tubes?|cannulas?|electrodes?|wires?|screws?|implants?|icd|devices?)\b"),
        Phrase(r"\bport\b|\bmetallic\b|\bmedical materials?\b|\bforeign (?:material|bod)"),
        Phrase(r"\bsternotomy\b", unless=r"\bno\b"),
    ),
    "Arterial wall calcification": (
        Phrase(CALCIUM, beside=ARTERIES, unless=r"pleura|lymph|nodul|^(?!.*\baort).*coronar"),
        Phrase(r"\baortic calcif\w*|\batherosclero\w*", unless=CORONARY),
    ),
    "Cardiomegaly": (
        Phrase(r"\bcardiomegaly\b|\benlarge\w* (?:of the )?heart\b"),
        Phrase(r"\bheart\b[^,;]{0,40}\b(?:enlarge\w*|increase\w*|larger)\b"),
        Phrase(
            r"\bcardio-?thoracic (?:ratio|index)\b[^;]{0,40}\bincrease\w*|\bctr\b[^;]{0,20}increas"
        ),
        Phrase(r"\bincrease\w* (?:in|of) (?:the )?(?:heart|cardiac|cardio-?thoracic)\b"),
    ),
    "Pericardial effusion": (
        Phrase(
            r"\bpericard\w*[^;]{0,50}?(?:effusion|fluid)\w*|(?:effusion|fluid)\b[^;]{0,80}?pericard"
        ),
    ),
    "Coronary artery wall calcification": (Phrase(CALCIUM, beside=CORONARY),),
    "Hiatal hernia": (
        Phrase(r"\bhiat\w* herni\w*|\bsliding (?:type )?herni\w*"),
        Phrase(r"\bherni\w*\b", beside=r"hiat|esophag"),
    ),
    "Lymphadenopathy": (
        Phrase(r"\blymph ?-?nod\w*(?! stations?)|\b(?:lymph)?adenopath\w*|\blaps?\b"),
    ),
    "Emphysema": (Phrase(r"\b(?:pan)?emphysem\w*", unless=r"subcutan|skin"),),
    "Atelectasis": (
        Phrase(r"(?<!fibro)(?<!fibro-)\batele[ck]ta\w*|\bvolume loss\b|\bloss of volume\b"),
    ),
    "Lung nodule": (
        Phrase(
            r"\b(?:micro)?nodules?\b|\bnodular (?:lesion|formation|structure|appear|image|mass)\w*",
            unless=rf"{ORGANS}|\bbud",
        ),
    ),
    "Lung opacity": (
        Phrase(
            r"\b(?:ground|frosted)[ -]?glass\w*(?! nodul)|\bopacit\w*|\bopacification\w*"
            r"|\bcrazy paving"
        ),
        Phrase(r"\binfiltrat\w*", unless=r"muscle|bone|fat\b"),
        Phrase(
            r"\bdensity increase\w*|\bincrease\w* (?:in )?densit\w*",
            unless=rf"{ORGANS}|sequel|fibro|reticul|parenchymal|linear|band|fat\b|soft tissue",
        ),
    ),
    "Pulmonary fibrotic sequela": (
        Phrase(
            r"\bsequela\w*|\bfibro-?atelecta\w*|\bfibrotic\b|\bfibros[ie]s\b|\bscar\w*",
            unless=BONES,
        ),
        Phrase(r"\bpleuro?-?parenchymal (?:band|density|line)\w*"),
    ),
    "Pleural effusion": (
        Phrase(r"\bpleura\w*\b[^;]{0,40}?\b(?:effusion|fluid)\w*|\bhydrothorax"),
        Phrase(r"\b(?:effusion|fluid)s?\b[^;]{0,80}?\b(?:pleura\w*|hemithora\w*)"),
        Phrase(r"\beffusions?\b", unless=r"pericard|periton|abdom|perihep|perisplen|joint|bursa"),
    ),
    "Mosaic attenuation pattern": (Phrase(r"\bmosaic\b"),),
    "Peribronchial thickening": (
        Phrase(rf"\bperibronch\w*[^;]{{0,40}}?\b{THICK}"),
        Phrase(r"\bbronch(?:i|us|ial)\b(?: \w+)? walls?\b[^;]{0,30}?\bthicken\w*"),
        Phrase(r"\bbronch(?:i|us|ial)\b wall thickness\b[^;]{0,40}?\bincrease\w*"),
        Phrase(r"\bincrease\w* in (?:the )?(?:peri)?bronch\w* wall"),
        Phrase(r"\bthick\w* (?:of|in) (?:the )?(?:peri)?bronch\w*"),
    ),
    "Consolidation": (Phrase(r"\bconsolidat\w*"),),
    "Bronchiectasis": (
        Phrase(r"\bbronchi?o?ectas\w*|\bbronchi?ectat\w*|\bbronchiolectas\w*"),
        Phrase(r"\bectatic bronch\w*|\b(?:dilat\w*|ectas\w*) (?:of|in) (?:the )?bronch\w*"),
    ),
    "Interlobular septal thickening": (
        Phrase(rf"\b(?:inter|intra)-?lobular\b[^;]{{0,40}}?\b{THICK}"),
        Phrase(
            rf"\bsept(?:al|a|ae|um)\b[^;]{{0,30}}?\b{THICK}"
            r"|\bthick\w*[^;]{0,40}?\bsept(?:a|ae|al)\b"
        ),
    ),
}

# Sentences that deny a finding without naming it.
NORMAL: dict[str, tuple[str, ...]] = {
    "Cardiomegaly": (
        r"\bheart\b[^;]{0,60}\b(?:normal|natural)\b",
        r"\bcardio-?thoracic (?:ratio|index)\b[^;]{0,30}\bnormal\b",
    ),
    "Arterial wall calcification": (r"\bwall of the (?:thoracic )?aorta is smooth\b",),
    "Peribronchial thickening": (r"\bbronchial wall thickness is normal\b",),
    "Bronchiectasis": (r"\bbronch\w* cali(?:b|bre|ber)\w* (?:is|are) (?:normal|natural)\b",),
    "Pleural effusion": (r"\bpleural spaces are free\b",),
    "Mosaic attenuation pattern": (r"\battenuation of both lungs is homogeneous\b",),
}
