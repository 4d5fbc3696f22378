"""A small Swin encoder and its weights in the manners of others."""

import pytest

SMALL = {"embed_dim": 12, "num_heads": (1, 2, 4, 8), "window": 4}


@pytest.fixture(scope="session")
def small_swin():
    """Settings of the small encoder."""
    return dict(SMALL)


@pytest.fixture(scope="session")
def swin():
    """An encoder whose weights no seed of a test draws again."""
    import torch

    from mg3d.encoders import build_encoder

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        return build_encoder("swin3d", **SMALL).eval()


@pytest.fixture(scope="session")
def volume():
    import torch

    return torch.rand(1, 1, 32, 64, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def released_file(swin):
    """Its weights as a released MG-3D checkpoint names them, index tables included."""
    return {
        f"vision_encoder.{name}": t.clone() for name, t in swin.transformer.state_dict().items()
    }


@pytest.fixture(scope="session")
def swin_config():
    """Settings of a whole model around the small encoder, with the paper's six objectives."""
    from mg3d.config import PRESETS, change

    return change(
        PRESETS["paper"],
        volume_shape=(32, 64, 32),
        encoder_settings=dict(SMALL),
        text_encoder="embedded",
        max_tokens=128,
        dim=32,
        precision="no",
    )
