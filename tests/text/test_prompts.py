import pytest

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.text.encoder import load_text_encoder
from mg3d.text.prompts import PROMPTS

TOKENIZER = load_text_encoder("embedded").tokenizer


def test_every_finding_can_be_asked_for():
    assert tuple(PROMPTS) == CT_RATE_FINDINGS


@pytest.mark.parametrize("finding", PROMPTS)
def test_prompts_are_known_words_said_in_several_ways(finding):
    asserted, denied = PROMPTS[finding]
    assert len(set(asserted)) >= 2
    assert len(set(denied)) >= 2
    assert not set(asserted) & set(denied)
    for prompt in (*asserted, *denied):
        assert prompt == prompt.lower()
        pieces = TOKENIZER.tokenize(prompt)
        assert "[UNK]" not in pieces
        in_parts = sum(piece.startswith("##") for piece in pieces)
        assert in_parts <= 1, pieces  # words the embedded encoder was trained on
