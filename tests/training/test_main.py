import json
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open

from mg3d.config import PRESETS, LossWeights, change, write_config
from mg3d.training import __main__ as command
from mg3d.training.__main__ import main, say

SMALL = [
    *("--volume-shape", "32", "32", "32", "--encoder-settings", '{"channels": [4, 8, 8, 8]}'),
    *("--dim", "32", "--batch-size", "4", "--total-steps", "3", "--validate-every", "3"),
    *("--save-every", "2", "--warmup-steps", "1"),
]


@pytest.fixture
def asked(monkeypatch):
    """What `pretrain` would have been called with."""
    calls = []

    class Done:
        steps, initial, final = 3, {"clip": 1.0}, {"clip": 0.5}

    def instead(config, data, output, **options):
        calls.append((config, data, output, options))
        return Done

    monkeypatch.setattr(command, "pretrain", instead)
    return calls


def refusal(capsys, arguments):
    """The one line that a wrong call leaves on stderr."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m mg3d.training: error: ")
    return line


def test_the_preset_is_changed_by_what_is_asked_for(asked, tmp_path):
    asks = ["--preset", "small", "--weights.ssm", "0", "--weights.clip=2.5", "--seed", "7"]
    main(["--data", "d", "--output", str(tmp_path), "--resume", "--batch-size=8", *asks])
    ((config, data, output, options),) = asked
    assert (str(data), output, options) == ("d", tmp_path, {"resume": True, "log": say})
    weights = LossWeights(ssm=0, clip=2.5)
    assert config == change(PRESETS["small"], seed=7, batch_size=8, weights=weights)


def test_without_settings_it_is_the_tiny_preset(asked):
    main(["--data", "d", "--output", "o"])
    assert asked[0][0] == PRESETS["tiny"]


def test_a_run_can_start_from_the_settings_of_another(asked, tmp_path):
    config = change(PRESETS["small"], seed=3, dim=64)
    write_config(config, tmp_path / "config.json")
    main(["--data", "d", "--output", "o", f"--config={tmp_path / 'config.json'}", "--dim", "32"])
    assert asked[0][0] == change(config, dim=32)


def test_it_prints_one_line_of_json(asked, capsys):
    main(["--data", "d", "--output", "o"])
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"steps": 3, "initial": {"clip": 1.0}, "final": {"clip": 0.5}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "8"], "there is no option --batch; did you mean --batch-size"),
        (["--batch-size", "0"], "batch_size is a whole number (at least 1), got 0"),
        (["--weights.mam", "1"], "no option --weights.mam; did you mean --weights.m"),
        (["--preset", "huge"], "preset is one of tiny, small, unet, swin_b, swin_l, paper; got"),
        (["--preset", "tiny", "--config", "c.json"], "give one of them"),
        (["--config", "c.json"], "c.json is no file; give the config.json of a run"),
    ],
)
def test_14c_a_wrong_call_says_what_is_wrong_and_exits_with_2(asked, capsys, arguments, message):
    assert message in refusal(capsys, ["--data", "d", "--output", "o", *arguments])
    assert not asked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing/manifest.csv is missing: this is no prepared folder"),
        (["--encoder-settings", '{"chanels": [4]}'], "encoder_settings of unet3d are channels, "),
        (["--encoder", "swin3d"], "encoder_settings of swin3d are "),
        (["--text-encoder", "no/folder/here"], "no/folder/here"),
    ],
)
def test_14c_what_a_run_refuses_at_its_start_is_one_line_too(capsys, tmp_path, arguments, message):
    call = ["--data", "nothing", "--output", str(tmp_path / "run"), *arguments]
    assert message in refusal(capsys, call)
    assert not (tmp_path / "run" / "config.json").exists()


def test_14c_fp16_without_a_gpu_is_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    call = ["--data", "nothing", "--output", str(tmp_path), "--precision", "fp16"]
    assert "precision 'fp16' needs a GPU" in refusal(capsys, call)


def test_the_module_can_be_run(repository):
    shell = [sys.executable, "-m", "mg3d.training", "--help", "--preset", "small"]
    printed = subprocess.run(shell, cwd=repository, capture_output=True, text=True, check=True)
    words = " ".join(printed.stdout.replace("│", " ").split())
    assert "--data PATH prepared folder (required)" in words
    assert "--total-steps INT the learning rate reaches 0 here (default: 10000)" in words


def test_data_and_output_are_required(capsys):
    assert refusal(capsys, []).endswith("--data and --output must be given")


def test_a_run_leaves_a_run_folder_and_can_be_continued(prepared, tmp_path, capsys):
    arguments = ["--data", str(prepared), "--output", str(tmp_path / "run"), *SMALL]
    main(arguments)
    done = json.loads(capsys.readouterr().out)
    assert done["steps"] == 3
    assert done["initial"].keys() == done["final"].keys() == set(LossWeights.names())
    assert (tmp_path / "run" / "checkpoint" / "state.json").exists()
    assert "resume=True" in refusal(capsys, arguments)
    main([*arguments, "--resume"])
    assert json.loads(capsys.readouterr().out) == done  # nothing was left to do


def test_14_false_is_off_in_the_run_and_moves_its_loss(prepared, tmp_path, capsys):
    initial = []
    for name, switch in (("on", []), ("off", ["--no-mim-from-mean"])):
        output = tmp_path / name
        main(["--data", str(prepared), "--output", str(output), *SMALL, *switch])
        initial.append(json.loads(capsys.readouterr().out.splitlines()[-1])["initial"]["mim"])
        settings = json.loads((output / "config.json").read_text())["objectives"]
        assert settings["mim_from_mean"] is (name == "on")
        with safe_open(output / "checkpoint" / "model.safetensors", "pt") as file:
            assert ("objectives.mim.mean" in file.keys()) is (name == "on")  # noqa: SIM118
    assert abs(initial[1] - initial[0]) > 0.01  # the loss of another starting point
