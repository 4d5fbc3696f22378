import pytest
import torch

from mg3d.data.masking import blocks_to_voxels, hide_blocks, hide_words

SHAPE, BLOCK = (16, 8, 24), 8  # 2 x 1 x 3 blocks
CLS, SEP, PAD, MASK = 2, 3, 0, 4
SPECIAL = (0, 1, 2, 3, 4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def report(*token_counts):
    """Token ids and word numbers of one report whose words have so many tokens each."""
    word = torch.arange(len(token_counts)).repeat_interleave(torch.tensor(token_counts).long())
    tokens = torch.arange(10, 10 + len(word))
    edge = torch.tensor([-1])
    return (
        torch.cat([torch.tensor([CLS]), tokens, torch.tensor([SEP])]),
        torch.cat([edge, word, edge]),
    )


def stack(*reports):
    def pad(items, value):
        return torch.nn.utils.rnn.pad_sequence(items, batch_first=True, padding_value=value)

    tokens, word = pad([t for t, _ in reports], PAD), pad([w for _, w in reports], -1)
    lengths = torch.tensor([len(t) for t, _ in reports])
    return tokens, word, torch.arange(tokens.shape[1]) >= lengths[:, None]


def hide(tokens, word, padding, ratio=0.15, seed=0, **changed):
    settings = {"mask_token": MASK, "vocabulary_size": 1000, "special_tokens": SPECIAL} | changed
    return hide_words(tokens, word, padding, ratio=ratio, generator=generator(seed), **settings)


def words_hidden(word, word_mask):
    return [set(w[m].tolist()) for w, m in zip(word, word_mask, strict=True)]


def test_blocks_to_voxels_by_hand():
    hidden = torch.tensor([True, False, False, False, False, True]).view(1, 2, 1, 3)
    mask = blocks_to_voxels(hidden, BLOCK)
    assert mask.shape == (1, 1, *SHAPE)
    assert mask[0, 0, :8, :, :8].all()
    assert mask[0, 0, 8:, :, 16:].all()
    assert mask.sum() == 2 * 8**3


@pytest.mark.parametrize(("ratio", "blocks"), [(0.5, 3), (0.2, 1), (0.75, 4), (0.99, 6)])
def test_exactly_the_share_of_blocks_is_hidden_in_every_patient(ratio, blocks):
    mask = hide_blocks(SHAPE, BLOCK, ratio, 5, generator())
    assert mask.shape == (5, 1, *SHAPE)
    assert mask.flatten(1).sum(1).tolist() == [blocks * 8**3] * 5


def test_a_block_is_hidden_whole_or_not_at_all():
    mask = hide_blocks(SHAPE, BLOCK, 0.5, 4, generator())
    share = torch.nn.functional.avg_pool3d(mask.float(), BLOCK)
    assert set(share.unique().tolist()) == {0.0, 1.0}


def test_blocks_are_drawn_per_patient_and_evenly():
    mask = hide_blocks(SHAPE, BLOCK, 0.5, 2000, generator())
    blocks = torch.nn.functional.avg_pool3d(mask.float(), BLOCK).flatten(1)
    assert len(blocks.unique(dim=0)) == 20  # 6 choose 3
    torch.testing.assert_close(blocks.mean(0), torch.full((6,), 0.5), atol=0.05, rtol=0)


def test_the_same_generator_state_hides_the_same():
    first, second = (hide_blocks(SHAPE, BLOCK, 0.5, 3, generator(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, hide_blocks(SHAPE, BLOCK, 0.5, 3, generator(8)))
    batch = stack(report(*[1] * 20), report(*[2] * 20))
    for first, second in zip(hide(*batch, seed=7), hide(*batch, seed=7), strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(hide(*batch, seed=7)[1], hide(*batch, seed=8)[1])


def test_a_volume_that_blocks_do_not_fill_is_refused_with_the_nearest_that_fits():
    with pytest.raises(ValueError, match=r"divisible by .* 8; .*fits is \(16, 8, 24\)"):
        hide_blocks((17, 9, 23), 8, 0.5, 1, generator())


def test_hiding_no_block_is_refused():
    with pytest.raises(ValueError, match="of 6 blocks rounds to none; take smaller blocks"):
        hide_blocks(SHAPE, BLOCK, 0.05, 1, generator())


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, 15.0])
def test_a_ratio_that_is_no_share_is_refused(ratio):
    with pytest.raises(ValueError, match="between 0 and 1"):
        hide_blocks(SHAPE, BLOCK, ratio, 1, generator())
    with pytest.raises(ValueError, match="between 0 and 1"):
        hide(*stack(report(1)), ratio=ratio)


def test_words_are_hidden_whole():
    tokens, word, padding = stack(report(*[3, 1, 2] * 10), report(*[1, 4] * 8))
    _, word_mask = hide(tokens, word, padding, ratio=0.3)
    for row in range(2):
        for number in set(word[row].tolist()) - {-1}:
            assert len(set(word_mask[row, word[row] == number].tolist())) == 1


@pytest.mark.parametrize(
    ("num_words", "num_hidden"), [(1, 1), (2, 1), (6, 1), (10, 2), (20, 3), (100, 15)]
)
def test_15_percent_of_words_are_hidden_but_at_least_one(num_words, num_hidden):
    tokens, word, padding = stack(report(*[2] * num_words), report(*[1] * 40))
    hidden = words_hidden(word, hide(tokens, word, padding)[1])
    assert [len(h) for h in hidden] == [num_hidden, 6]


def test_neither_padding_nor_special_tokens_are_ever_hidden_or_changed():
    tokens, word, padding = stack(report(1), report(*[2] * 50))
    for seed in range(20):
        read, word_mask = hide(tokens, word, padding, ratio=0.9, seed=seed)
        assert not word_mask[word < 0].any()
        assert torch.equal(read[word < 0], tokens[word < 0])
    word_mask = hide(tokens, word.clamp(min=0), padding, ratio=0.9)[1]  # padding alone decides
    assert not word_mask[padding].any()


def test_a_report_without_words_hides_nothing():
    tokens, word, padding = stack(report(), report(1, 1))
    read, word_mask = hide(tokens, word, padding)
    assert not word_mask[0].any()
    assert word_mask[1].sum() == 1
    assert torch.equal(read[0], tokens[0])
    empty = stack(report())
    assert torch.equal(hide(*empty)[0], empty[0])


def test_word_numbers_may_have_gaps():
    tokens, word, padding = stack(*[report(*[1] * 20)] * 50)
    _, word_mask = hide(tokens, torch.where(word >= 0, word * 7, -1), padding)
    assert word_mask.sum(1).tolist() == [3] * 50


def test_every_word_is_hidden_equally_often():
    tokens, word, padding = stack(*[report(*[1] * 10)] * 4000)
    _, word_mask = hide(tokens, word, padding, ratio=0.3)
    often = word_mask[:, 1:-1].float().mean(0)
    torch.testing.assert_close(often, torch.full((10,), 0.3), atol=0.03, rtol=0)


def test_8_in_10_become_mask_1_a_random_word_1_stays_token_by_token():
    tokens, word, padding = stack(*[report(*[2] * 100)] * 100)
    read, word_mask = hide(tokens, word, padding, ratio=0.5)
    hidden, true = read[word_mask], tokens[word_mask]
    n = len(hidden)
    assert n == 100 * 50 * 2
    masked, kept = (hidden == MASK).float().mean(), (hidden == true).float().mean()
    assert masked.item() == pytest.approx(0.8, abs=0.02)
    assert kept.item() == pytest.approx(0.1, abs=0.02)
    by_word = (hidden == MASK).view(-1, 2)
    assert (by_word[:, 0] != by_word[:, 1]).float().mean().item() == pytest.approx(0.32, abs=0.04)
    assert torch.equal(read[~word_mask], tokens[~word_mask])


def test_random_words_are_ordinary_words_of_the_vocabulary():
    tokens, word, padding = stack(*[report(*[1] * 100)] * 200)
    read, word_mask = hide(tokens, word, padding, ratio=0.9, vocabulary_size=12)
    drawn = read[word_mask & (read != MASK) & (read != tokens)]
    assert set(drawn.tolist()) == set(range(5, 12))


def test_a_vocabulary_of_special_tokens_is_refused():
    with pytest.raises(ValueError, match="all 5 are special tokens"):
        hide(*stack(report(1)), vocabulary_size=5)


def test_what_was_given_stays_as_it_was():
    tokens, word, padding = stack(report(1, 2), report(3))
    before = [t.clone() for t in (tokens, word, padding)]
    hide(tokens, word, padding, ratio=0.9)
    for given, copy in zip((tokens, word, padding), before, strict=True):
        assert torch.equal(given, copy)


def test_the_type_of_the_tokens_stays():
    tokens, word, padding = stack(report(1, 2), report(3))
    read, _ = hide(tokens.int(), word.int(), padding)
    assert read.dtype == torch.int32
