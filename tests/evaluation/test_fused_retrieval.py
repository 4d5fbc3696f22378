import pytest
import torch
from torch import nn

from mg3d.encoders.unet3d import UNet3DEncoder
from mg3d.evaluation import fused_retrieval
from mg3d.evaluation.fused_retrieval import (
    MOST_PAIRS,
    Blocks,
    block_sizes,
    fused_similarity,
    mean_sentence,
)
from mg3d.model import MG3D
from mg3d.objectives.cml import CML
from mg3d.pretrained.released_model import ReleasedMG3D
from mg3d.text.encoder import load_text_encoder

DIM, GRID = 16, (1, 2, 3)


def build(layers=2, attention="gated", dim=DIM):
    """A model whose parameters are all drawn, so that no bias or scale is 0 or 1 by chance."""
    torch.manual_seed(0)
    encoder, text = UNet3DEncoder((4,)), load_text_encoder("embedded")
    model = MG3D(encoder, text, token_grid=GRID, dim=dim, fusion_layers=layers, attention=attention)
    cml = CML(dim)
    for module in (model, cml):
        for parameter in module.parameters():
            nn.init.normal_(
                parameter, std=1 / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else 1
            )
    return model, cml


def draw(reports=7, volumes=5, sentences=4, dim=DIM, dtype=torch.float32):
    numbers = torch.Generator().manual_seed(1)
    visual = torch.randn(volumes, 6, dim, generator=numbers, dtype=dtype)
    tokens = torch.randn(reports, sentences, dim, generator=numbers, dtype=dtype)
    count = torch.randint(1, sentences + 1, (reports,), generator=numbers)
    padding = torch.arange(sentences) >= count[:, None]
    return visual, tokens, padding


def pair_by_pair(model, cml, visual, sentences, padding):
    """The definition: fuse one report with one volume, pool, compare as CML does."""
    rows = []
    for report, hidden in zip(sentences, padding, strict=True):
        row = []
        for volume in visual:
            tokens, text, pad = volume[None], report[None], hidden[None]
            fused_volume, fused_text = model.sentence_fusion(tokens, text, text_padding=pad)
            fused = torch.cat(
                [
                    model.fused_report_pooler(fused_text, pad),
                    model.fused_volume_pooler(fused_volume),
                ],
                dim=-1,
            )
            alone = torch.cat([model.report_pooler(text, pad), model.volume_pooler(tokens)], dim=-1)
            row.append((cml.fused_head(fused) * cml.alone_head(alone)).sum())
        rows.append(torch.stack(row))
    return torch.stack(rows).detach()


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_all_pairs_at_once_equal_the_definition(layers):
    model, cml = build(layers)
    inputs = draw()
    expected = pair_by_pair(model, cml, *inputs)
    assert expected.std(dim=0).min() > 1e-3 and expected.std(dim=1).min() > 1e-3
    torch.testing.assert_close(fused_similarity(model, cml, *inputs), expected, atol=1e-5, rtol=0)


def test_they_are_equal_in_double_precision_to_rounding():
    model, cml = (module.double() for module in build())
    inputs = draw(dtype=torch.float64)
    expected = pair_by_pair(model, cml, *inputs)
    torch.testing.assert_close(fused_similarity(model, cml, *inputs), expected, atol=1e-12, rtol=0)


def test_padding_in_the_middle_and_a_report_without_sentences_are_as_in_the_definition():
    model, cml = build()
    visual, tokens, padding = draw()
    padding[:, 2:] = True  # nobody has more than two
    padding[0] = torch.tensor([False, True, True, False])
    padding[1] = True
    expected = pair_by_pair(model, cml, visual, tokens, padding)
    found = fused_similarity(model, cml, visual, tokens, padding)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sizes", [Blocks(1, 1), Blocks(3, 2), Blocks(100, 100)])
def test_the_size_of_blocks_changes_no_score(sizes, monkeypatch):
    model, cml = build()
    inputs = draw()
    expected = fused_similarity(model, cml, *inputs)
    monkeypatch.setattr(fused_retrieval, "block_sizes", lambda *_: sizes)
    torch.testing.assert_close(fused_similarity(model, cml, *inputs), expected, atol=1e-5, rtol=0)


def test_what_stands_in_padded_sentences_is_not_read():
    model, cml = build()
    visual, tokens, padding = draw()
    expected = fused_similarity(model, cml, visual, tokens, padding)
    changed = tokens.masked_fill(padding[..., None], 1e4)
    assert not torch.equal(changed, tokens)
    torch.testing.assert_close(fused_similarity(model, cml, visual, changed, padding), expected)


def test_the_mean_sentence_is_over_real_sentences():
    tokens = torch.tensor([[[1.0], [3.0], [50.0]], [[7.0], [8.0], [9.0]]])
    padding = torch.tensor([[False, False, True], [True, True, True]])
    mean, empty = mean_sentence(tokens, padding)
    assert mean.tolist() == [[[2.0]], [[0.0]]]
    assert empty.tolist() == [[False], [True]]


def test_the_mode_of_the_model_is_restored():
    model, cml = build()
    fused_similarity(model.train(), cml.eval(), *draw())
    assert model.training and not cml.training


def test_less_memory_gives_smaller_blocks_and_none_for_a_pair_is_refused():
    model, _ = build(dim=64)
    large, small = (block_sizes(model, 2, 4, 4, gb) for gb in (1e-1, 1e-3))
    assert small.reports * small.volumes < large.reports * large.volumes <= MOST_PAIRS
    with pytest.raises(ValueError, match="for one pair of this model"):
        block_sizes(model, 2, 4, 4, 1e-6)


def test_softmax_attention_is_refused_by_name():
    model, cml = build(attention="softmax")
    with pytest.raises(ValueError, match="needs gated attention, got SoftmaxCrossAttention"):
        fused_similarity(model, cml, *draw())


def test_a_model_with_quirks_is_refused_by_name():
    model, cml = build()
    model.forward_pass = ReleasedMG3D.forward_pass
    with pytest.raises(ValueError, match="settings have quirks"):
        fused_similarity(model, cml, *draw())
