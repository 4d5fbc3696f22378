import pytest

from mg3d.evaluation.text_metrics.tokens import (
    r2gen,
    tokenise,
    truncated,
    vocabulary_of,
    words,
)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A 5.2-cm node, left.", ["a", "5.2", "cm", "node", "left"]),
        ("Ground-glass density (patient's)", ["ground-glass", "density", "patient's"]),
        ("T12 1,5 cm\nHU:-40", ["t", "12", "1,5", "cm", "hu", "40"]),
        ("...", []),
    ],
)
def test_words_keep_numbers_and_drop_punctuation(text, tokens):
    assert words(text) == tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Heart normal. Size 0.8 cm.", ["heart", "normal", ".", "size", "08", "cm", "."]),
        ("1. Node of 1.0cm. 2. Cyst", ["node", "of", "10cm", ".", "cyst", "."]),
        ("A__b..  C\nD", ["ab", ".", "c", "d", "."]),
        ("x:=<>?@[]y ground-glass", ["xy", "ground-glass", "."]),
        ("", []),
    ],
)
def test_r2gen_cleaning_by_hand(text, tokens):
    assert r2gen(text) == tokens


def test_an_unknown_tokenisation_is_refused_with_what_there_is():
    with pytest.raises(ValueError, match="one of words, r2gen; got 'ptb'"):
        tokenise(["a"], "ptb")


def test_the_released_references_are_cut_and_know_only_frequent_words():
    vocabulary = vocabulary_of([["a", "a", "b"], ["a", "b", "c"]], min_count=2)
    assert vocabulary == {"a", "b"}
    assert truncated(["a", "c", "b", "a"], vocabulary, 3) == ["a", "<unk>", "b"]
