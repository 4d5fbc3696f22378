import math

import pytest
import torch

from mg3d.attention.pooling import (
    SentenceAttentionPool,
    TokenWeightingPooler,
    masked_mean,
    mean_by_index,
)


def tokens(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_token_weighting_by_hand():
    pooler = TokenWeightingPooler(num_tokens=2, dim=2)
    with torch.no_grad():
        pooler.weighting.weight.copy_(torch.tensor([[1.0, -2.0]]))
        pooler.weighting.bias.fill_(0.5)
        pooler.output.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        pooler.output.bias.copy_(torch.tensor([0.0, -1.0]))
    # 1 * (1, 0) - 2 * (0.5, 0.25) + 0.5 = (0.5, 0); then (0.5, 0.5 + 0 - 1).
    vector = pooler(torch.tensor([[[1.0, 0.0], [0.5, 0.25]]]))
    torch.testing.assert_close(vector, torch.tensor([[math.tanh(0.5), math.tanh(-0.5)]]))


def test_another_number_of_tokens_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"each of 4 visual tokens, got 3;.*num_tokens=3"):
        TokenWeightingPooler(num_tokens=4, dim=8)(tokens(1, 3, 8))


def test_sentence_pool_equals_torch_multi_head_attention():
    pool, sentences = SentenceAttentionPool(16, num_heads=4), tokens(2, 5, 16)
    padding = torch.tensor([[False] * 5, [False, False, False, True, True]])
    reference = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    maps = (pool.query, pool.key, pool.value)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([m.weight for m in maps]))
        reference.in_proj_bias.copy_(torch.cat([m.bias for m in maps]))
        reference.out_proj.weight.copy_(pool.output.weight)
        reference.out_proj.bias.copy_(pool.output.bias)
    for b, length in enumerate([5, 3]):
        real = sentences[b, :length]
        with_mean = torch.cat([real.mean(0, keepdim=True), real])[None]
        expected = reference(with_mean, with_mean, with_mean)[0][0, 0]
        torch.testing.assert_close(pool(sentences, padding)[b], expected)


def test_the_order_of_sentences_changes_nothing():
    pool, sentences = SentenceAttentionPool(16), tokens(1, 4, 16)
    torch.testing.assert_close(pool(sentences[:, [2, 0, 3, 1]]), pool(sentences))


def test_what_stands_in_padded_sentences_changes_nothing():
    pool, sentences = SentenceAttentionPool(16), tokens(1, 4, 16)
    padding = torch.tensor([[False, False, True, True]])
    filled = sentences.masked_fill(padding[..., None], 1e3)
    torch.testing.assert_close(pool(filled, padding), pool(sentences[:, :2]))


def test_a_report_without_sentences_gives_a_finite_vector_and_gradient():
    pool = SentenceAttentionPool(16)
    vector = pool(tokens(1, 3, 16), torch.ones(1, 3).bool())
    torch.testing.assert_close(vector, pool.output(pool.value.bias)[None])
    vector.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in pool.parameters())


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="divisible by num_heads 8; the nearest that fits is 16"):
        SentenceAttentionPool(20)


def test_mean_by_index_by_hand():
    words = torch.tensor([[[9.0], [1.0], [3.0], [5.0], [9.0]]])
    index = torch.tensor([[-1, 0, 0, 2, -1]])
    means, padding = mean_by_index(words, index, 4)
    torch.testing.assert_close(means, torch.tensor([[[2.0], [0.0], [5.0], [0.0]]]))
    assert padding.tolist() == [[False, True, False, True]]


def test_mean_by_index_equals_the_definition_written_as_loops():
    words = tokens(3, 11, 4)
    index = torch.randint(-1, 5, (3, 11), generator=torch.Generator().manual_seed(1))
    means, padding = mean_by_index(words, index, 5)
    for b in range(3):
        for k in range(5):
            members = [words[b, t] for t in range(11) if index[b, t] == k]
            expected = sum(members) / len(members) if members else torch.zeros(4)
            torch.testing.assert_close(means[b, k], expected)
            assert padding[b, k] == (not members)


def test_mean_by_index_sends_each_word_its_share_of_the_gradient():
    words = tokens(1, 4, 2).requires_grad_()
    mean_by_index(words, torch.tensor([[0, 0, 1, -1]]), 2)[0].sum().backward()
    assert words.grad[0, :, 0].tolist() == [0.5, 0.5, 1.0, 0.0]


def test_mean_by_index_is_taken_in_float32_under_mixed_precision():
    words = tokens(1, 64, 8)
    index = torch.zeros(1, 64, dtype=torch.long)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        means, _ = mean_by_index(words, index, 1)
    torch.testing.assert_close(means[:, 0], words.mean(1))


def test_masked_mean_of_nothing_is_0():
    padding = torch.tensor([[False, True, False], [True, True, True]])
    values = torch.tensor([[[1.0], [9.0], [3.0]], [[9.0], [9.0], [9.0]]])
    assert masked_mean(values, padding).tolist() == [[2.0], [0.0]]
