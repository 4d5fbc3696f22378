import pytest
import torch

from mg3d.attention import ATTENTIONS
from mg3d.attention.fusion import Fusion
from mg3d.config import settings


def tokens(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_settings_name_every_attention():
    assert sorted(ATTENTIONS) == sorted(settings.ATTENTIONS)


@pytest.mark.parametrize("attention", list(ATTENTIONS))
def test_both_sides_read_the_input_of_the_other_not_its_output(attention):
    fusion = Fusion(8, num_layers=2, attention=attention)
    volume, text = tokens(2, 3, 8), tokens(2, 5, 8, seed=1)
    expected_volume, expected_text = volume, text
    for layer in fusion.layers:
        expected_volume, expected_text = (
            layer.volume(expected_volume, expected_text),
            layer.text(expected_text, expected_volume),
        )
    fused_volume, fused_text = fusion(volume, text)
    torch.testing.assert_close(fused_volume, expected_volume)
    torch.testing.assert_close(fused_text, expected_text)


@pytest.mark.parametrize("attention", list(ATTENTIONS))
def test_what_stands_in_padded_tokens_changes_nothing(attention):
    fusion = Fusion(8, attention=attention)
    volume, text = tokens(2, 3, 8), tokens(2, 5, 8, seed=1)
    padding = torch.tensor([[False] * 5, [False, False, False, True, True]])
    other_text = text.masked_fill(padding[..., None], 7.0)
    for one, two in zip(
        fusion(volume, text, text_padding=padding),
        fusion(volume, other_text, text_padding=padding),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("attention", list(ATTENTIONS))
def test_a_padded_report_equals_the_report_alone(attention):
    fusion = Fusion(8, attention=attention)
    volume, text = tokens(1, 3, 8), tokens(1, 5, 8, seed=1)
    padding = torch.tensor([[False, False, False, True, True]])
    padded = fusion(volume, text, text_padding=padding)
    alone = fusion(volume, text[:, :3])
    torch.testing.assert_close(padded[0], alone[0])
    torch.testing.assert_close(padded[1][:, :3], alone[1])
    assert (padded[1][:, 3:] == 0).all()


def test_patients_do_not_see_each_other():
    fusion = Fusion(8)
    volume, text = tokens(2, 3, 8), tokens(2, 5, 8, seed=1)
    together = fusion(volume, text)[0][1]
    torch.testing.assert_close(together, fusion(volume[1:], text[1:])[0][0])


def test_every_parameter_of_a_layer_learns_and_no_two_are_shared():
    fusion = Fusion(8, num_layers=2)
    volume, text = fusion(tokens(1, 3, 8), tokens(1, 5, 8, seed=1))
    (volume.square().sum() + text.square().sum()).backward()
    parameters = list(fusion.parameters())
    assert len(parameters) == 2 * 6 * 2  # layers, linear maps, weight and bias
    assert all(p.grad.abs().sum() > 0 for p in parameters)


def test_an_unknown_attention_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="gated, softmax; got 'linear'"):
        Fusion(8, attention="linear")


def test_a_stack_without_layers_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Fusion(8, num_layers=0)
