import math

import pytest
import torch

from mg3d.attention.informed import SentenceInformedFeatures


def tokens(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_one_layer_by_hand():
    informed = SentenceInformedFeatures(dim=1, num_layers=1)
    with torch.no_grad():
        for parameter in informed.parameters():
            parameter.fill_(1.0 if parameter.ndim == 2 else 0.0)
    volume, sentences = torch.tensor([[2.0]]), torch.tensor([[[1.0], [-1.0]]])
    features, aggregate = informed(volume, sentences, torch.zeros(1, 2).bool())
    expected = [sigmoid(2.0) * 1.0, sigmoid(-2.0) * -1.0]
    assert features.flatten().tolist() == pytest.approx(expected)
    assert aggregate.item() == pytest.approx(math.tanh(sum(expected) / 2))


def test_equals_the_definition_written_as_loops():
    informed = SentenceInformedFeatures(dim=8)
    vectors, sentences = tokens(2, 8), tokens(2, 4, 8, seed=1)
    padding = torch.tensor([[False] * 4, [False, False, True, True]])
    features, aggregate = informed(vectors, sentences, padding)
    for b, length in enumerate([4, 2]):
        volume, asked = vectors[b], [sentences[b, i] for i in range(length)]
        for layer in informed.layers:
            query = layer.gates.query(volume)
            asked = [
                torch.sigmoid(query @ layer.gates.key(s) / 8**0.5) * layer.value(s) for s in asked
            ]
            volume = torch.tanh(informed.pooler(sum(asked) / length))
        torch.testing.assert_close(features[b, :length], torch.stack(asked))
        torch.testing.assert_close(aggregate[b], volume)


def test_padded_sentences_are_0_and_change_nothing():
    informed, vectors, sentences = SentenceInformedFeatures(8), tokens(1, 8), tokens(1, 4, 8)
    padding = torch.tensor([[False, False, True, True]])
    features, aggregate = informed(vectors, sentences, padding)
    filled = sentences.masked_fill(padding[..., None], 1e3)
    torch.testing.assert_close(informed(vectors, filled, padding)[1], aggregate)
    assert (features[:, 2:] == 0).all()


def test_permuting_sentences_permutes_features_and_keeps_the_aggregate():
    informed, vectors, sentences = SentenceInformedFeatures(8), tokens(1, 8), tokens(1, 4, 8)
    padding = torch.zeros(1, 4).bool()
    features, aggregate = informed(vectors, sentences, padding)
    order = [2, 0, 3, 1]
    shuffled, same = informed(vectors, sentences[:, order], padding)
    torch.testing.assert_close(shuffled, features[:, order])
    torch.testing.assert_close(same, aggregate)


def test_gradient_reaches_the_volume_through_the_gates():
    informed = SentenceInformedFeatures(8)
    volume = tokens(1, 8).requires_grad_()
    features, _ = informed(volume, tokens(1, 4, 8), torch.zeros(1, 4).bool())
    features.square().sum().backward()
    assert volume.grad.abs().sum() > 0


def test_no_layer_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        SentenceInformedFeatures(8, num_layers=0)
