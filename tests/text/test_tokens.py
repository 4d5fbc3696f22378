import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mg3d.text.encoder import load_text_encoder
from mg3d.text.tokens import tokenize_report

TOKENIZER = load_text_encoder("embedded").tokenizer
SENTENCES = ["no pleural effusion.", "the heart is enlarged.", "ground-glass nodule of 1.5 cm"]


def words_of(report, sentence):
    tokens = report.tokens[report.sentence == sentence]
    return TOKENIZER.decode(tokens).replace(" ", "")


def test_every_token_knows_its_sentence():
    report = tokenize_report(TOKENIZER, SENTENCES, max_tokens=256)
    assert report.sentences == tuple(SENTENCES)
    for number, sentence in enumerate(SENTENCES):
        assert words_of(report, number) == sentence.replace(" ", "")


def test_every_token_knows_its_whole_word():
    report = tokenize_report(TOKENIZER, ["xqzv effusion. zqx"], max_tokens=256)
    words = [
        "".join(TOKENIZER.convert_ids_to_tokens(report.tokens[report.word == w])).replace("##", "")
        for w in range(int(report.word.max()) + 1)
    ]
    assert words == ["xqzv", "effusion", ".", "zqx"]
    assert len(report.tokens) > len(words) + 2  # some words are in parts


def test_special_tokens_belong_to_no_sentence_and_no_word():
    report = tokenize_report(TOKENIZER, SENTENCES, max_tokens=256)
    outside = report.sentence == -1
    assert torch.equal(outside, report.word == -1)
    assert report.tokens[outside].tolist() == [TOKENIZER.cls_token_id, TOKENIZER.sep_token_id]


def test_the_joint_tokens_are_those_of_the_sentences_one_by_one():
    report = tokenize_report(TOKENIZER, SENTENCES, max_tokens=256)
    alone = [t for s in SENTENCES for t in TOKENIZER(s, add_special_tokens=False)["input_ids"]]
    assert report.tokens[1:-1].tolist() == alone


@pytest.mark.parametrize("max_tokens", [3, 6, 7, 8, 20])
def test_what_lies_behind_the_limit_is_cut(max_tokens):
    whole = tokenize_report(TOKENIZER, SENTENCES, max_tokens=256)
    cut = tokenize_report(TOKENIZER, SENTENCES, max_tokens=max_tokens)
    kept = min(max_tokens, len(whole.tokens)) - 1
    assert torch.equal(cut.tokens[:-1], whole.tokens[:kept])
    assert cut.tokens[-1] == TOKENIZER.sep_token_id
    assert cut.sentences == tuple(SENTENCES[: int(cut.sentence.max()) + 1])


def test_a_sentence_without_a_token_is_dropped_and_leaves_no_gap():
    report = tokenize_report(TOKENIZER, ["heart.", "\u200b", " ", "lungs."], max_tokens=256)
    assert report.sentences == ("heart.", "lungs.")
    assert report.sentence.tolist() == [-1, 0, 0, 1, 1, -1]


def test_an_empty_report_has_special_tokens_only():
    report = tokenize_report(TOKENIZER, [], max_tokens=256)
    assert report.sentences == ()
    assert report.sentence.tolist() == [-1, -1]


@given(st.lists(st.text(alphabet="abz .,-1é肺\u200b", max_size=12), max_size=6), st.integers(3, 30))
@settings(max_examples=100, deadline=None)
def test_indices_run_without_gaps_and_in_order(sentences, max_tokens):
    report = tokenize_report(TOKENIZER, sentences, max_tokens)
    assert len(report.tokens) == len(report.sentence) == len(report.word) <= max_tokens
    for index in (report.sentence, report.word):
        inner = index[1:-1]
        assert (index[0], index[-1]) == (-1, -1)
        assert torch.equal(inner, inner.sort().values)
        assert torch.equal(inner.unique(), torch.arange(len(inner.unique())))
    assert len(report.sentences) == int(report.sentence.max()) + 1
    # A word lies in one sentence only.
    pairs = set(zip(report.word.tolist(), report.sentence.tolist(), strict=True)) - {(-1, -1)}
    assert len(pairs) == int(report.word.max()) + 1


def test_no_room_for_a_word_is_refused():
    with pytest.raises(ValueError, match="at least 3"):
        tokenize_report(TOKENIZER, SENTENCES, max_tokens=2)


def test_a_slow_tokenizer_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="AutoTokenizer"):
        tokenize_report(object(), SENTENCES, max_tokens=8)
