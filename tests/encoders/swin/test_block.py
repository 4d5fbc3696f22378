import pytest
import torch
from torch import nn

from mg3d.encoders.swin.block import Block
from mg3d.encoders.swin.swin3d import Swin3DEncoder

CALLED = (
    *("norm1", "attn", "attn.qkv", "attn.softmax", "attn.proj"),
    *("norm2", "mlp", "mlp.linear1", "mlp.act", "mlp.linear2"),
)


def swin(**settings):
    torch.manual_seed(0)
    encoder = Swin3DEncoder(embed_dim=12, num_heads=(1, 2, 4, 8), window=4, **settings)
    for name, parameter in encoder.named_parameters():
        if parameter.ndim == 1 or name.endswith("bias_table"):
            nn.init.normal_(parameter, mean=float(name.endswith("weight")), std=0.3)
    return encoder


@pytest.fixture
def volume():
    return torch.rand(2, 1, 32, 64, 32, generator=torch.Generator().manual_seed(0))


def test_every_named_layer_of_the_default_encoder_is_called_as_a_module(volume):
    encoder = swin()
    heard = set()
    for name, part in encoder.transformer.named_modules():
        if name and not isinstance(part, nn.ModuleList):
            part.register_forward_hook(lambda *_, name=name: heard.add(name))
    encoder(volume)
    blocks = [f"layers{stage}.0.blocks.{number}" for stage in (1, 2, 3, 4) for number in (0, 1)]
    merging = [f"layers{stage}.0.downsample" for stage in (1, 2, 3, 4)]
    assert heard == {
        *("patch_embed", "patch_embed.proj", "layers1.0", "layers2.0", "layers3.0", "layers4.0"),
        *(name + part for name in merging for part in ("", ".norm", ".reduction")),
        *blocks,
        *(f"{block}.{layer}" for block in blocks for layer in CALLED),
    }


def test_a_hook_that_changes_a_layer_s_output_changes_the_maps(volume):
    encoder = swin()
    before = encoder(volume)
    hook = (
        encoder.transformer.layers4[0]
        .blocks[1]
        .attn.qkv.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    )
    changed = encoder(volume)
    assert [torch.equal(a, b) for a, b in zip(before, changed, strict=True)] == [True] * 4 + [False]
    hook.remove()
    assert torch.equal(encoder(volume)[-1], before[-1])


def test_lora_on_qkv_changes_the_maps_and_alone_gets_gradients(volume):
    peft = pytest.importorskip("peft")
    encoder = swin()
    with torch.no_grad():
        before = encoder(volume)[-1]
    peft.inject_adapter_in_model(peft.LoraConfig(r=2, target_modules=["qkv"]), encoder)
    assert torch.equal(encoder(volume)[-1], before)  # LoRA starts at zero
    adapters = {n: p for n, p in encoder.named_parameters() if "lora_" in n}
    assert len(adapters) == 2 * 8
    for name, parameter in adapters.items():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    changed = encoder(volume)[-1]
    assert (changed - before).abs().max() > 0.1
    weights = torch.randn(changed.shape, generator=torch.Generator().manual_seed(1))
    (changed * weights).sum().backward()
    with_gradient = {n for n, p in encoder.named_parameters() if p.grad is not None}
    assert with_gradient == set(adapters)
    assert all(p.grad.abs().max() > 0 for p in adapters.values())


@pytest.mark.parametrize("checkpointing", [False, True])
def test_window_recompute_changes_neither_maps_nor_gradients(volume, checkpointing):
    results = []
    for window_recompute in (False, True):
        encoder = swin(window_recompute=window_recompute, checkpointing=checkpointing).double()
        seen = volume.double().requires_grad_()
        maps = encoder(seen)
        weights = [torch.linspace(-1, 1, m.numel()).view(m.shape).cos() for m in maps]
        loss = sum((m * w).sum() for m, w in zip(maps, weights, strict=True))
        gradients = torch.autograd.grad(loss, [seen, *encoder.parameters()])
        results.append([*maps, *gradients])
    for plain, recomputed in zip(*results, strict=True):
        assert plain.abs().max() > 0
        assert (plain - recomputed).abs().max() <= 1e-5 * plain.abs().max().clamp(min=1)


def test_window_recompute_can_be_switched_at_any_time(volume):
    encoder = swin(window_recompute=True)
    assert encoder.window_recompute
    kept = {}
    for setting in (True, False):
        encoder.window_recompute = setting
        sizes = kept.setdefault(setting, [])
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, sizes=sizes: sizes.append(tensor.numel()) or tensor, lambda t: t
        ):
            encoder(volume)
    assert not encoder.window_recompute
    assert sum(kept[True]) < sum(kept[False]) / 4


def hooked(block, name):
    block.get_submodule(name).register_forward_hook(lambda *_: None)


def hooked_backward(block, name):
    block.get_submodule(name).register_full_backward_hook(lambda *_: None)


def replaced(block, name):
    parent, _, child = name.rpartition(".")
    setattr(block.get_submodule(parent), child, nn.Identity())


def patched(block, name):
    block.get_submodule(name).forward = lambda tokens: tokens


def normalised(block, name):
    layer = block.get_submodule(name)
    parameter = next((n for n, _ in layer.named_parameters(recurse=False)), None)
    if parameter is None:
        return hooked(block, name)
    nn.utils.parametrize.register_parametrization(layer, parameter, nn.Identity())


@pytest.mark.parametrize("change", [hooked, hooked_backward, replaced, patched, normalised])
@pytest.mark.parametrize("name", [name for name in CALLED if name != "attn.proj"])
def test_window_recompute_refuses_what_it_would_skip(change, name):
    block = Block(4, 2, (2, 2, 2), shifted=True, window_recompute=True)
    tokens = torch.randn(1, 2, 3, 2, 4)
    block(tokens)
    change(block, name)
    with pytest.raises(ValueError, match=rf"'{name}' by hand.*window_recompute = False"):
        block(tokens)


def test_window_recompute_refuses_lora(volume):
    peft = pytest.importorskip("peft")
    encoder = swin(window_recompute=True)
    peft.inject_adapter_in_model(peft.LoraConfig(r=2, target_modules=["qkv"]), encoder)
    with pytest.raises(ValueError, match=r"'attn\.qkv' by hand, but it is a Linear instead"):
        encoder(volume)
    encoder.window_recompute = False
    encoder(volume)


def test_the_output_projection_is_called_as_a_module_also_with_window_recompute():
    block = Block(4, 2, (2, 2, 2), shifted=True, window_recompute=True)
    block.attn.proj.register_forward_hook(lambda module, inputs, output: output * 0)
    tokens = torch.randn(1, 2, 3, 2, 4)
    torch.testing.assert_close(block(tokens), tokens + block.mlp(block.norm2(tokens)))
