import inspect
import re
from dataclasses import dataclass, field, fields
from pathlib import Path

import pytest

from mg3d.config import PRESETS, LossWeights, change, flatten
from mg3d.config.checks import Checked
from mg3d.config.command import errors_in_one_line, read_command

TINY = PRESETS["tiny"]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A folder and a switch."""

    data: Path  # prepared folder
    resume: bool = False  # continue


def read(*words, config=TINY):
    arguments = ["--data", "d", *words]
    return read_command(Call, config, arguments, prog="prog", description="Does it.")


@pytest.fixture
def refused(capsys):
    """Read a wrong command line; its one line on stderr."""

    def run(*words, arguments=None):
        given = ["--data", "d", *words] if arguments is None else arguments
        with pytest.raises(SystemExit) as stopped:
            read_command(Call, TINY, given, prog="prog", description="Does it.")
        assert stopped.value.code == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        assert line.startswith("prog: error: ")
        return line.removeprefix("prog: error: ")

    return run


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ([], {}),
        (["--batch-size", "8", "--learning-rate", "1"], {"batch_size": 8, "learning_rate": 1.0}),
        (["--batch_size=8", "--seed=7"], {"batch_size": 8, "seed": 7}),
        (["--volume-shape", "32", "64", "96"], {"volume_shape": (32, 64, 96)}),
        (["--spacing-mm", "None"], {"spacing_mm": None}),
        (["--spacing-mm", "1", "2", "3.5"], {"spacing_mm": (1.0, 2.0, 3.5)}),
        (["--hu-window", "-1350", "150"], {"hu_window": (-1350.0, 150.0)}),
        (["--text-encoder", "a/b=c"], {"text_encoder": "a/b=c"}),
        (["--precision", "bf16"], {"precision": "bf16"}),
        (["--no-mim-from-mean", "--compile"], {"mim_from_mean": False, "compile": True}),
        (
            ["--weights.clip", "0", "--weights.ssm", "0.2"],
            {"weights": LossWeights(clip=0, ssm=0.2)},
        ),
        (
            ["--encoder-settings", '{"channels": [4, 8]}'],
            {"encoder_settings": {"channels": (4, 8)}},
        ),
    ],
)
def test_an_option_changes_its_setting_and_nothing_else(words, settings):
    call, config = read(*words)
    assert config == change(TINY, **settings)
    assert call == Call(data=Path("d"))


@pytest.mark.parametrize(
    "name", ["mim_from_mean", "compile", "activation_checkpointing", "sfr_learn_target"]
)
@pytest.mark.parametrize("value", ["false", "no", "off", "FALSE", "true", "0"])
def test_14_a_switch_takes_no_value_and_says_how_it_is_turned_off(refused, name, value):
    option = "--" + name.replace("_", "-")
    switch = f"{option} is a switch, {option} or --no-{option[2:]}, got {option} {value}"
    assert refused(f"{option}={value}") == switch
    assert refused(option, value) == switch
    assert refused(f"--{name}={value}") == switch


@pytest.mark.parametrize(
    "name", ["mim_from_mean", "compile", "activation_checkpointing", "sfr_learn_target"]
)
def test_14_false_is_off_and_true_is_on(name):
    option = name.replace("_", "-")
    for start in (True, False):
        config = change(TINY, **{name: start})
        for written, value in ((f"--no-{option}", False), (f"--{option}", True)):
            assert flatten(read(written, config=config)[1])[name] is value


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--total-steps", "2", "--seed", "7", "--total-steps", "4"],
         "--total-steps is given twice (--total-steps 2 and --total-steps 4); give it once"),
        (["--batch-size", "4", "--batch_size=8"],
         "--batch-size is given twice (--batch-size 4 and --batch-size 8); give it once"),
        (["--weights.clip", "0", "--weights.clip", "1"],
         "--weights.clip is given twice (--weights.clip 0 and --weights.clip 1); give it once"),
        (["--compile", "--no-compile"],
         "--compile is given twice (--compile and --no-compile); give it once"),
        (["--data", "e"], "--data is given twice (--data d and --data e); give it once"),
    ],
)  # fmt: skip
def test_14b_an_option_given_twice_is_refused(refused, words, says):
    assert refused(*words) == says


def test_14b_several_weights_and_settings_all_count():
    _, config = read(
        "--weights.clip", "0", "--total-steps", "2", "--weights.ssm", "0", "--seed", "7"
    )
    assert config == change(TINY, total_steps=2, seed=7, weights=LossWeights(ssm=0, clip=0))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--batch-size", "8.5"], "--batch-size is a whole number (at least 1), got 8.5"),
        (["--batch-size", "4.0"], "--batch-size is a whole number (at least 1), got 4.0"),
        (["--batch-size"], "--batch-size is a whole number (at least 1), got no value"),
        (["--learning-rate", "abc"], "--learning-rate is a number (at least 0), got abc"),
        (["--learning-rate", "nan"], "learning_rate is a number (at least 0), got nan"),
        (["--save-every", "0"], "save_every is a whole number (at least 1), got 0"),
        (["--workers", "-1"], "workers is a whole number (at least 0), got -1"),
        (["--weights.clip", "-1"], "weights.clip is a number (at least 0), got -1.0"),
        (["--precision", "half"], "--precision is one of no, fp16, bf16, got half"),
        (["--encoder", "swin"], "encoder is one of swin3d, unet3d, got 'swin'"),
        (["--volume-shape", "32", "32"],
         "--volume-shape is 3 whole numbers (at least 1), got 32 32"),
        (["--volume-shape", "32", "32", "32", "8"],
         "--volume-shape is 3 whole numbers (at least 1), got 32 32 32 8"),
        (["--volume-shape", "33", "32", "32"], "volume_shape (33, 32, 32) must be divisible by "
         "mask_block 8; the nearest that fits is (32, 32, 32)"),
        (["--encoder-settings", "{a: 3}"],
         "--encoder-settings is a mapping of names to JSON values, got {a: 3}"),
        (["--encoder-settings", "3"],
         "encoder_settings is a mapping of names to JSON values, got 3"),
        (["--batchsize", "8"], "there is no option --batchsize; did you mean --batch-size?"),
        (["--set", "batch_size=8"], "there is no option --set; did you mean --seed?"),
        (["--no-seed"], "there is no option --no-seed; did you mean --seed?"),
        (["--zzzzzz"], "there is no option --zzzzzz; --help lists every option"),
    ],
)  # fmt: skip
def test_14c_a_wrong_call_is_one_line_that_names_the_setting(refused, words, says):
    assert refused(*words) == says


def test_what_is_missing_or_belongs_to_no_option_is_named(refused):
    assert refused(arguments=[]) == "--data must be given"
    assert refused(arguments=["--seed", "1"]) == "--data must be given"
    assert refused(arguments=["stray", "--data", "d"]) == "expected an option, got 'stray'"


def test_help_lists_every_setting_with_meaning_type_and_default(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")  # one column
    with pytest.raises(SystemExit) as stopped:
        read("--help")
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    words = " ".join(printed.replace("│", " ").split())
    for name in flatten(TINY):
        assert f"--{name.replace('_', '-')}" in words, name
    assert (
        "--batch-size INT patients, over all processes, per optimiser step (default: 16)" in words
    )
    assert (
        "--weights.clip FLOAT plain report-to-volume InfoNCE; not in the paper (default: 1.0)"
        in words
    )
    assert "--encoder-settings JSON encoder's keyword arguments (default: " in words
    assert '{"channels": [16, 32, 64, 96]}' in words
    assert "--precision {no,fp16,bf16} of products; fp16 needs a GPU (default: no)" in words
    assert "--mim-from-mean, --no-mim-from-mean True: predict the difference" in words
    assert "--data PATH prepared folder (required)" in words


@pytest.mark.parametrize("kind", [type(group) for group in vars(TINY).values()])
def test_every_setting_has_its_meaning_beside_it_where_the_help_finds_it(kind):
    source = inspect.getsource(kind)
    for item in fields(kind):
        assert re.search(rf"^    {item.name}: .+ = .+  # \S+", source, re.MULTILINE), item.name


def test_another_command_needs_no_config():
    call, config = read_command(Call, None, ["--data", "x", "--resume"], prog="p", description="d")
    assert (call, config) == (Call(data=Path("x"), resume=True), None)


@dataclass(frozen=True, kw_only=True)
class Probe(Checked):
    """One group."""

    folds: int = 5  # of the cross-validation


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Another command's settings."""

    probe: Probe = field(default_factory=Probe)


def test_another_command_has_settings_of_its_own():
    _, config = read("--folds", "3", config=Evaluation())
    assert config == Evaluation(probe=Probe(folds=3))


def refuse(error):
    with errors_in_one_line("prog"):
        raise error


@pytest.mark.parametrize(
    "error", [FileNotFoundError("no a.csv;\n give one"), PermissionError(13, "b")]
)
def test_a_file_that_cannot_be_used_is_one_line_and_status_2(capsys, error):
    with pytest.raises(SystemExit) as stopped:
        refuse(error)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"prog: error: {' '.join(str(error).split())}\n"


def test_a_refusal_of_mg3d_is_one_line_and_an_error_of_another_library_a_traceback(capsys):
    with pytest.raises(SystemExit) as stopped, errors_in_one_line("prog"):
        change(TINY, save_every=0)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("prog: error: save_every is a whole number")
    with pytest.raises(ValueError, match="other"):
        refuse(ValueError("other"))
    with pytest.raises(TypeError):
        refuse(TypeError("ours"))
