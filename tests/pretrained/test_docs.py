"""The commands of docs/checkpoints.md, as printed."""

import json
import re

import pytest
import torch

from mg3d.encoders import build_encoder
from mg3d.pretrained.export import to_released


@pytest.fixture(scope="module")
def page(request):
    return (request.getfixturevalue("repository") / "docs/checkpoints.md").read_text()


def test_what_the_page_prints_runs_from_top_to_bottom(page, tmp_path):
    torch.save(to_released(build_encoder("swin3d")), tmp_path / "official.pt")
    (tmp_path / "metrics.json").write_text(json.dumps({"probe_macro_auroc": 0.7}))
    (tmp_path / "dataset.json").write_text(json.dumps({"source": "phantom", "counts": {"a": 1}}))
    names = {
        "path": tmp_path / "official.pt",
        "volume": torch.rand(1, 1, 32, 32, 32),
        "prepared": tmp_path,
        "look": lambda layer, inputs, output: None,
        "metrics_json": tmp_path / "metrics.json",
        "folder": tmp_path / "saved",
    }
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, names)
    expected = names["loaded"].encoder.eval()(names["volume"])
    assert all(map(torch.equal, names["again"](names["volume"]), expected))
    assert "phantom" in (tmp_path / "saved" / "README.md").read_text()


def test_the_command_of_the_page_is_the_modules(page, tmp_path):
    from mg3d.pretrained.__main__ import main

    (command,) = re.findall(r"```bash\n(.*?)\n```", page, re.S)
    assert command == "python -m mg3d.pretrained PATH"
    torch.save(to_released(build_encoder("swin3d")), tmp_path / "official.pt")
    assert main([str(tmp_path / "official.pt")]) == 0
