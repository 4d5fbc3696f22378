import re

import pytest

from mg3d.evaluation.labeller.certainty import Certainty, certainty

PRESENT, ABSENT = Certainty.PRESENT, Certainty.ABSENT
UNCERTAIN, PAST = Certainty.UNCERTAIN, Certainty.PAST


@pytest.mark.parametrize(
    ("sentence", "judged"),
    [
        ("a [node] is seen.", PRESENT),
        ("[node] of 8 mm on the left", PRESENT),
        # denied
        ("no [node] is seen.", ABSENT),
        ("no cyst, mass or [node] was detected.", ABSENT),
        ("there is neither cyst nor [node].", ABSENT),
        ("lungs without [node].", ABSENT),
        ("both sides are free of [node].", ABSENT),
        ("a [node] was not observed.", ABSENT),
        ("[node] and cyst are not clearly seen.", ABSENT),
        ("cyst and [node] are absent.", ABSENT),
        ("the [node] is not enlarged.", ABSENT),
        ("the [node] has resolved.", ABSENT),
        ("the [node] has completely regressed.", ABSENT),
        ("[node] - no cyst was detected.", ABSENT),
        # a cue reaches as far as its own statement
        ("no cyst was detected, a [node] is seen.", PRESENT),
        ("no cyst, but a [node] in the apex.", PRESENT),
        ("there is no cyst; [node] in the apex.", PRESENT),
        ("a [node] is seen, a cyst was not observed.", PRESENT),
        ("apart from the [node], no cyst is seen.", PRESENT),
        # not a denial
        ("no change in the size of the [node].", PRESENT),
        ("the [node] has not significantly changed.", PRESENT),
        ("the [node] is not only seen on the left.", PRESENT),
        # doubted
        ("appearance suspicious for a [node].", UNCERTAIN),
        ("this may be a [node].", UNCERTAIN),
        ("a [node] cannot be excluded.", UNCERTAIN),
        ("density in the apex ([node]?)", UNCERTAIN),
        ("[node] in the apex?", UNCERTAIN),
        ("[node] in the apex (metastasis?)", PRESENT),
        ("[node] in the apex, metastasis?", PRESENT),
        # earlier examinations and history
        ("a [node] not seen in the previous examination is present.", PRESENT),
        ("not seen in the previous examination, a [node] has appeared.", PRESENT),
        ("a [node] which was not observed in the prior ct.", PRESENT),
        ("the [node] observed in the previous examination is stable.", PRESENT),
        ("the [node] observed in the previous examination was not detected.", ABSENT),
        ("a [node] was seen in the previous examination.", PAST),
        ("in the previous examination there is a [node].", PAST),
        ("patient with a history of [node].", PAST),
        ("compared with the previous examination, the [node] has grown.", PRESENT),
    ],
)
def test_what_a_sentence_says_of_its_mention(sentence, judged):
    start = sentence.index("[")
    end = sentence.index("]") - 1
    assert certainty(re.sub(r"[\[\]]", "", sentence), start, end) == judged


def test_time_grows_gently_with_the_length_of_a_sentence():
    sentence = "no " * 2_000 + "node " + "was not " * 2_000
    assert certainty(sentence, 6_000, 6_004) == ABSENT
