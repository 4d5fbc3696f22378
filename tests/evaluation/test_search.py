import numpy as np
import pytest

from mg3d.config import change
from mg3d.evaluation.encode import project_sentences
from mg3d.evaluation.search import search_volumes
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
    direction = project_sentences(model, head, [sentence])[0]
    assert np.linalg.norm(direction) == pytest.approx(1, abs=1e-5)
    away = np.roll(direction, 1)
    away = away - (away @ direction) * direction
    volumes = np.stack([-direction, away / np.linalg.norm(away), direction])
    assert search_volumes(model, head, volumes, sentence) == [2, 1, 0]
    assert search_volumes(model, head, volumes, sentence, best=1) == [2]


def test_a_sentence_is_projected_alike_alone_and_among_others(asked):
    sentences = ["there is a pleural effusion.", "the heart is enlarged."]
    both = project_sentences(*asked, sentences)
    assert both.shape[0] == 2 and not np.allclose(both[0], both[1])
    assert np.allclose(both[1:], project_sentences(*asked, sentences[1:]), atol=1e-5)


def test_a_sentence_speaks_of_the_finding_whose_prompt_it_is(asked):
    for finding, (stated, _) in PROMPTS.items():
        assert closest_finding(asked[0], stated[0]) == finding
    assert closest_finding(asked[0], "no pleural effusion is seen.") == "Pleural effusion"
