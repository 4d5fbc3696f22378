"""Initial weights of a downstream run: fresh ones, shipped ones, a run's, a released checkpoint."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from mg3d.config import find_preset
from mg3d.encoders import Encoder
from mg3d.model import build_model
from mg3d.pretrained.find import find_weights
from mg3d.pretrained.load import load_pretrained
from mg3d.training.checkpoint import STATE
from mg3d.training.step import Pretraining, build_pretraining

SCRATCH = "scratch"


@dataclass(frozen=True)
class Start:
    """A module with its initial weights, and where they are from.

    Attributes:
        module: an encoder, or a whole `Pretraining` where the task needs the fusion.
        name: "scratch", or the weights as they were named in the call.
        digest: SHA-256 of all its weights, the first 12 digits.
        share: of its parameters that the weights filled, 0 to 1; 0 from scratch.
        data: fingerprint of the data it was pre-trained on; "": not recorded.
        layout: what the file of weights was recognised as.
        skip_blocks: of a released SwinUNETR, by MONAI's names, where the file had them.
    """

    module: nn.Module
    name: str
    digest: str
    share: float
    data: str = ""
    layout: str = ""
    skip_blocks: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def encoder(self) -> Encoder:
        """The vision encoder."""
        if isinstance(self.module, Pretraining):
            return self.module.model.encoder
        assert isinstance(self.module, Encoder)
        return self.module

    @property
    def pretraining(self) -> Pretraining:
        """Model and objectives, for tasks that need the fusion."""
        assert isinstance(self.module, Pretraining), "the task asked for an encoder only"
        return self.module


def start_from(
    weights: str,
    *,
    part: str = "encoder",
    preset: str = "tiny",
    seed: int = 0,
    log: Callable[[str], object] = print,
) -> Start:
    """Initial weights by name.

    Args:
        weights: "scratch"; "tiny" and other names of shipped weights; a file or folder; or
            "someone/model" on the hub.
        part: "encoder" or "pretraining".
        preset: of the network from scratch.
        seed: of fresh weights.
        log: receives what became of every tensor of a checkpoint.

    Raises:
        FileNotFoundError: if there are no such weights.
        ValueError: if they are refused; names the reason.
    """
    if weights == SCRATCH:
        module = _fresh(part, preset, seed)
        return Start(module, SCRATCH, digest_of(module), 0.0)
    loaded = load_pretrained(weights, part=part, log=log)
    data = _pretrained_on(weights)
    layout = loaded.report.layout
    module = loaded.module
    return Start(
        module, weights, digest_of(module), loaded.report.share, data, layout, loaded.skip_blocks
    )


def digest_of(module: nn.Module) -> str:
    """Hash of all parameters and buffers, by name."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:12]


def _fresh(part: str, preset: str, seed: int) -> nn.Module:
    from mg3d.config import change

    config = change(find_preset(preset), seed=seed)
    if part == "pretraining":
        return build_pretraining(config).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_model(config).encoder.eval()


def _pretrained_on(weights: str) -> str:
    """Fingerprint of the data that a run of ours was made with; "" where none is recorded."""
    path = Path(weights).expanduser()
    if not path.exists():
        return ""
    state = find_weights(path).weights.parent / STATE
    return str(json.loads(state.read_text()).get("data", "")) if state.is_file() else ""
