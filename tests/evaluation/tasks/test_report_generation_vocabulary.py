"""Reports to ids and back, by both vocabularies."""

import pytest

from mg3d.evaluation.tasks.report_generation_vocabulary import build_vocabulary
from mg3d.text.encoder import load_text_encoder

TEXT = "A 0.8 cm ground-glass nodule is seen. No effusion."


@pytest.fixture(scope="module")
def pieces():
    return build_vocabulary("tokenizer", [], tokenizer=load_text_encoder().tokenizer)


def test_numbers_and_hyphens_come_back_from_the_tokenizer(pieces):
    ids = pieces.encode(TEXT, 192)
    assert (ids[0], ids[-1]) == (pieces.begin, pieces.end)
    assert len({pieces.begin, pieces.end, pieces.padding}) == 3
    assert pieces.decode([*ids, pieces.padding]) == TEXT.lower()


def test_a_cut_report_has_no_end(pieces):
    ids = pieces.encode(TEXT, 5)
    assert len(ids) == 5
    assert pieces.end not in ids
    assert pieces.decode(ids) == "a 0.8"


def test_the_released_words_lose_the_point_and_rare_words():
    vocabulary = build_vocabulary("released", ["0.8 cm. Node."] * 3 + ["Rare."] * 2)
    assert vocabulary.words == ["", ".", "08", "cm", "node", "<unk>"]
    assert vocabulary.encode("Rare 0.8 cm.", 150) == [0, 5, 2, 3, 1, 0]
    assert vocabulary.decode([0, 5, 2, 3, 1, 0, 0]) == "<unk> 08 cm ."


def test_an_unknown_vocabulary_is_refused_by_name():
    with pytest.raises(ValueError, match=r"one of tokenizer, released; got 'words'"):
        build_vocabulary("words", [])
