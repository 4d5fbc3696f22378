import pytest
import torch

from mg3d.config import change
from mg3d.explain.gates import sentence_gates
from mg3d.model import build_model

SENTENCES = ["there is a pleural effusion.", "the heart is enlarged."]


def test_one_map_per_sentence_and_layer(config, text_encoder):
    model = build_model(config, text_encoder).train()
    volume = torch.rand(1, 32, 32, 32)
    gates = sentence_gates(model, volume, SENTENCES)
    assert gates.shape == (2, config.network.fusion_layers, *model.token_grid)
    assert gates.min() > 0 and gates.max() < 1 and not gates[0].equal(gates[1])
    assert model.training  # left as it was
    alone = sentence_gates(model, volume, SENTENCES[1:])
    assert torch.allclose(gates[1:], alone, atol=1e-6)  # of its own sentence only


def test_the_first_layers_map_is_the_gate_of_token_and_sentence(config, text_encoder):
    model = build_model(config, text_encoder).eval()
    volume = torch.rand(1, 32, 32, 32)
    heat = sentence_gates(model, volume, SENTENCES[:1])[0, 0]
    with torch.no_grad():
        from mg3d.evaluation.encode import batch_sentences
        from mg3d.model import ForwardPass

        sentence = ForwardPass(model, batch_sentences(model, SENTENCES[:1])).sentence_tokens
        gate = model.sentence_fusion.layers[0].volume.gates(
            model.volume_tokens(volume[None]), sentence
        )
    assert torch.allclose(heat.flatten(), gate[0, :, 0], atol=1e-6)


def test_attention_without_gates_is_refused(config, text_encoder):
    model = build_model(change(config, attention="softmax"), text_encoder)
    with pytest.raises(ValueError, match="setting `attention` is 'gated'"):
        sentence_gates(model, torch.rand(1, 32, 32, 32), SENTENCES)
