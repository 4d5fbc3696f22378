import math

import pytest
import torch

from mg3d.experiments.hidden_word import HiddenWord, learn_hidden_word


def test_softmax_attention_tells_eight_findings_and_gated_attention_does_not():
    gated, softmax = (learn_hidden_word(a, 8, steps=200) for a in ("gated", "softmax"))
    assert softmax < 0.1 < 0.3 < gated < math.log(8)


def test_the_same_seed_teaches_the_same_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    first = learn_hidden_word("gated", 2, steps=3, seed=1)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.rand(1) == drawn
    assert learn_hidden_word("gated", 2, steps=3, seed=1) == first
    assert learn_hidden_word("gated", 2, steps=3, seed=2) != first


def test_only_the_volume_tells_the_word():
    learner = HiddenWord("softmax", 3)
    logits = learner(torch.tensor([0, 1, 1]))
    assert torch.allclose(logits[1], logits[2]) and not torch.allclose(logits[0], logits[1])


def test_nothing_to_guess_is_refused():
    with pytest.raises(ValueError, match="at least 2 findings and 1 step, got 1 and 300"):
        learn_hidden_word("gated", 1)
