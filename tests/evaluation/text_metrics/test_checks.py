import pytest

from mg3d.evaluation.text_metrics.bleu import bleu_counts
from mg3d.evaluation.text_metrics.cider import cider
from mg3d.evaluation.text_metrics.meteor import meteor
from mg3d.evaluation.text_metrics.rouge import rouge_l

SCORES = pytest.mark.parametrize("score", [bleu_counts, rouge_l, cider, meteor])


@SCORES
@pytest.mark.parametrize(
    ("generated", "references", "message"),
    [
        ([["a"]], [["a"], ["b"]], "1 generated and 2 references"),
        ([], [], "at least one report"),
        ([["a"], ["a"]], [["b"], []], "1 of 2 references have no token, first number 1"),
        (["a b"], [["a"]], "report 0 is a string"),
    ],
)
def test_what_cannot_be_scored_is_refused(score, generated, references, message):
    with pytest.raises(ValueError, match=message):
        score(generated, references)
