import json
import subprocess
import sys

import pytest

from mg3d.config import PRESETS, LossWeights
from mg3d.training import __main__ as command
from mg3d.training.__main__ import main, parse_settings

SMALL = [
    *("--set", "volume_shape=(32,32,32)", "encoder_settings={'channels':(4,8,8,8)}", "dim=32"),
    *("batch_size=4", "total_steps=3", "validate_every=3", "save_every=2", "warmup_steps=1"),
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


def test_settings_are_python_literals_or_text():
    pairs = ["batch_size=8", "learning_rate=1e-3", "volume_shape=(64, 32, 64)", "precision=bf16",
             "spacing_mm=None", "text_encoder=a/b=c"]  # fmt: skip
    assert parse_settings(pairs) == {
        "batch_size": 8,
        "learning_rate": 1e-3,
        "volume_shape": (64, 32, 64),
        "precision": "bf16",
        "spacing_mm": None,
        "text_encoder": "a/b=c",
    }
    with pytest.raises(ValueError, match="a setting is name=value, got 'batch_size'"):
        parse_settings(["batch_size"])


def test_the_preset_is_changed_by_what_is_asked_for(asked, tmp_path):
    main(["--data", "d", "--output", str(tmp_path), "--resume", "--preset", "small",
          "--weights", "ssm=0", "clip=2.5", "--set", "seed=7", "batch_size=8"])  # fmt: skip
    ((config, data, output, options),) = asked
    assert (str(data), output, options) == ("d", tmp_path, {"resume": True})
    assert (config.run.seed, config.optimisation.batch_size) == (7, 8)
    assert config.weights == LossWeights(ssm=0, clip=2.5)
    assert config.grid.volume_shape == PRESETS["small"].grid.volume_shape


def test_without_settings_it_is_the_tiny_preset(asked):
    main(["--data", "d", "--output", "o"])
    assert asked[0][0] == PRESETS["tiny"]


def test_it_prints_one_line_of_json(asked, capsys):
    main(["--data", "d", "--output", "o"])
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"steps": 3, "initial": {"clip": 1.0}, "final": {"clip": 0.5}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "batch=8"], "no setting 'batch'"),
        (["--set", "batch_size=0"], "batch_size must be at least 1"),
        (["--weights", "mam=1"], "objectives are mim, mlm, sfr, cml, dfa, ssm, clip"),
        (["--weights", "mim"], "a setting is name=value"),
        (["--preset", "huge"], "invalid choice: 'huge'"),
    ],
)
def test_a_wrong_call_says_what_is_wrong_and_exits_with_2(asked, capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        main(["--data", "d", "--output", "o", *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not asked


def test_the_module_can_be_run(repository):
    shell = [sys.executable, "-m", "mg3d.training", "--help"]
    printed = subprocess.run(shell, cwd=repository, capture_output=True, text=True, check=True)
    assert "--data DATA --output OUTPUT" in printed.stdout


def test_data_and_output_are_required(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "--data, --output" in capsys.readouterr().err


def test_a_run_leaves_a_run_folder_and_can_be_continued(prepared, tmp_path, capsys):
    arguments = ["--data", str(prepared), "--output", str(tmp_path / "run"), *SMALL]
    main(arguments)
    done = json.loads(capsys.readouterr().out)
    assert done["steps"] == 3
    assert done["initial"].keys() == done["final"].keys() == set(LossWeights.names())
    assert (tmp_path / "run" / "checkpoint" / "state.json").exists()
    with pytest.raises(FileExistsError, match="resume=True"):
        main(arguments)
    main([*arguments, "--resume"])
    assert json.loads(capsys.readouterr().out) == done  # nothing was left to do
