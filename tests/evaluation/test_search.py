import numpy as np
import pytest

from mg3d.config import change
from mg3d.evaluation.search import search_volumes, sentence_directions
from mg3d.evaluation.zero_shot import closest_finding
from mg3d.objectives.clip import CLIP
from mg3d.text.prompts import PROMPTS
from mg3d.training.step import build_pretraining


@pytest.fixture(params=["vector", "words"])
def asked(request, config, text_encoder):
    pretraining = build_pretraining(change(config, clip_text=request.param), text_encoder).eval()
    return pretraining.model, pretraining.find(CLIP)


def test_the_volume_that_points_where_the_sentence_points_comes_first(asked):
    model, head = asked
    sentence = "there is a pleural effusion."
    direction = sentence_directions(model, head, [sentence])[0].numpy()
    assert np.linalg.norm(direction) == pytest.approx(1, abs=1e-5)
    away = np.roll(direction, 1)
    away = away - (away @ direction) * direction
    volumes = np.stack([-direction, away / np.linalg.norm(away), direction])
    assert search_volumes(model, head, volumes, sentence) == [2, 1, 0]
    assert search_volumes(model, head, volumes, sentence, best=1) == [2]


def test_each_sentence_has_its_own_direction(asked):
    sentences = ["there is a pleural effusion.", "the heart is enlarged."]
    both = sentence_directions(*asked, sentences)
    assert both.shape[0] == 2 and not both[0].allclose(both[1], atol=0.1)
    assert both[1:].allclose(sentence_directions(*asked, sentences[1:]), atol=1e-5)


def test_a_sentence_speaks_of_the_finding_whose_words_it_shares():
    for finding, (stated, _) in PROMPTS.items():
        assert [closest_finding(prompt) for prompt in stated] == [finding] * len(stated)
    assert closest_finding("There is a pleural effusion.") == "Pleural effusion"
    assert closest_finding("no pericardial effusion is seen") == "Pericardial effusion"
