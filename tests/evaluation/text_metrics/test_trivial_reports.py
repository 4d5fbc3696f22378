import json

import pytest

from mg3d.evaluation.text_metrics.bleu import bleu_counts
from mg3d.evaluation.text_metrics.rouge import rouge_l
from mg3d.evaluation.text_metrics.tokens import tokenise
from mg3d.evaluation.text_metrics.trivial_reports import medoid, most_frequent, random_training

TRAIN = ["No node.", "No node.", "A node in the left lung.", "A node in the right lung, small."]


def test_everybody_gets_the_most_frequent_report():
    assert most_frequent(TRAIN, 3) == ["No node."] * 3


def test_random_reports_are_training_reports_and_repeat_with_the_seed():
    drawn = random_training(TRAIN, 50, seed=1)
    assert set(drawn) == set(TRAIN)
    assert drawn == random_training(TRAIN, 50, seed=1) != random_training(TRAIN, 50, seed=2)


def test_the_medoid_is_most_like_the_others():
    train = ["b c d", "a b c d", "a b c", "x y z"]
    assert medoid(train, 2) == ["a b c d"] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trivial", "expected"),  # BLEU-1, BLEU-4, ROUGE-L in %, counted on all 360 test reports
    [
        (most_frequent, (27.0, 19.9, 49.4)),
        (random_training, (53.2, 29.2, 42.6)),
    ],
)
def test_trivial_rows_of_ctrg_chest_are_those_counted_by_others(shared_data, trivial, expected):
    path = shared_data / "reports" / "ctrg_chest" / "chest_ctrg_nitfy_ori_split.json"
    chest = json.loads(path.read_text())
    train, test = ([r["report"] for r in chest[split]] for split in ("train", "test"))
    own = tokenise(trivial(train, len(test)), "r2gen")
    references = tokenise(test, "r2gen")
    counts = bleu_counts(own, references)
    found = [counts.bleu(1), counts.bleu(4), rouge_l(own, references).mean()]
    # 335 of the 360 reports are in the folder; over ten seeds the random row has standard
    # deviations of 0.6, 0.4 and 0.4.
    assert [100 * value for value in found] == pytest.approx(expected, abs=1.5)
