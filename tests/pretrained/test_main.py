import subprocess
import sys

import pytest
import torch

from mg3d.pretrained.__main__ import main


@pytest.fixture
def official(tmp_path):
    """A released checkpoint of Swin-B."""
    from mg3d.encoders.swin.swin3d import Swin3DEncoder
    from mg3d.pretrained.export import to_released

    torch.save(to_released(Swin3DEncoder()), tmp_path / "official.pt")
    return tmp_path / "official.pt"


def test_a_good_file_is_reported_and_exits_with_0(official, capsys):
    assert main([str(official)]) == 0
    printed = capsys.readouterr().out
    assert "released MG-3D" in printed
    assert printed.splitlines()[-1] == "verdict     accepted"


def test_every_name_can_be_listed(official, capsys):
    assert main([str(official), "--names"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = torch.load(official, weights_only=True)
    listed = [line.split()[1].rstrip(":") for line in lines[lines.index("verdict     accepted") :]]
    assert set(names) <= set(listed)


def test_a_bad_file_is_reported_and_exits_with_3(official, capsys):
    tensors = torch.load(official, weights_only=True)
    torch.save({n: t for n, t in tensors.items() if "layers4" not in n}, official)
    assert main([str(official), "--names"]) == 3
    printed = capsys.readouterr().out
    assert "are filled, at least 95.0% are asked for" in printed
    assert "missing     transformer.layers4.0.blocks.0.norm1.weight" in printed


def test_a_file_that_is_no_weights_exits_with_3(tmp_path, capsys):
    (tmp_path / "a.pt").write_text("<html>")
    assert main([str(tmp_path / "a.pt")]) == 3
    assert "is a web page" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.pt"], "gone.pt is no file or folder"),
        (["a", "--part", "decoder"], "invalid choice: 'decoder'"),
        (["a", "--min-share", "2"], "share between 0 and 1, got 2.0"),
        ([], "PATH"),
    ],
)
def test_a_wrong_call_exits_with_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_the_module_can_be_run(repository, tmp_path):
    shell = [sys.executable, "-m", "mg3d.pretrained", str(tmp_path)]
    done = subprocess.run(shell, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "holds no weights" in done.stderr
