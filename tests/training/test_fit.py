"""A student's own training, repeated: the smallest caller of `fit`."""

import json
import math
import os
import signal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mg3d.training import run_folder
from mg3d.training.devices import start_devices
from mg3d.training.fit import fit
from mg3d.training.run_folder import RunFolder
from mg3d.training.run_log import RunLog

STEPS = 6
QUIET = RunLog(line=lambda _: None, progress=False)


def step(model, batch):
    numbers, target = batch
    return {"mse": F.mse_loss(model(numbers), target)}


def batches(steps):
    for number in steps:
        drawn = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
        yield drawn, drawn.sum(dim=1, keepdim=True)


def learner():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    return module, torch.optim.AdamW(module.parameters(), lr=0.1)


def train(**options):
    """A fresh learner, trained; the learner and what `fit` gave back."""
    module, optimiser = learner()
    given = {"steps": STEPS, "log": QUIET} | options
    fitted = fit(module, given.pop("step", step), given.pop("batches", batches), optimiser, **given)
    return module, fitted


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(a.equal(b) for a, b in pairs)


def column(fitted, name="mse"):
    return fitted.history.column(name)[1]


def test_it_repeats_forward_backward_and_step():
    module, optimiser = learner()
    module.eval()  # without dropout this loop is the whole definition
    losses = []
    for batch in batches(range(STEPS)):
        loss = step(module, batch)["mse"]
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 0.5)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())

    other, optimiser = learner()
    other[1].eval()
    fitted = fit(other, step, batches, optimiser, steps=STEPS, max_grad_norm=0.5, log=QUIET)
    assert column(fitted) == losses
    assert same(module, other)
    assert fitted.steps == STEPS


@pytest.mark.parametrize("stop", [1, 3])
def test_a_stopped_and_continued_run_equals_the_uninterrupted_one(tmp_path, stop):
    module, whole = train()
    train(folder=RunFolder(tmp_path / "run"), stop_after=stop)
    other, rest = train(folder=RunFolder(tmp_path / "run", resume=True))
    assert same(module, other)
    assert column(whole) == column(rest)
    assert rest.steps == STEPS


def test_dropout_is_a_function_of_the_seed_and_the_step():
    (one, _), (again, _), (other, _) = train(), train(), train(seed=1)
    assert same(one, again)
    assert not same(one, other)


def test_micro_batches_are_one_step_on_their_mean():
    def halves(steps):
        for numbers, target in batches(steps):
            yield numbers[:2], target[:2]
            yield numbers[2:], target[2:]

    devices = start_devices(accumulation=2)
    one, two = learner(), learner()
    for module, _ in (one, two):
        module[1].eval()
    whole = fit(one[0], step, batches, one[1], steps=STEPS, log=QUIET)
    split = fit(two[0], step, halves, two[1], steps=STEPS, devices=devices, log=QUIET)
    assert column(split) == pytest.approx(column(whole), rel=1e-4)
    assert two[1].state_dict()["state"][0]["step"] == STEPS


def test_26_steps_run_are_optimiser_steps_taken_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    module, optimiser = learner()
    with pytest.raises(ValueError, match=r"accumulation is 1, but .*GRADIENT_ACCUMULATION_STEPS"):
        fit(module, step, batches, optimiser, steps=STEPS, log=QUIET)
    monkeypatch.delenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS")
    fitted = fit(module, step, batches, optimiser, steps=STEPS, log=QUIET)
    assert optimiser.state_dict()["state"][0]["step"] == fitted.steps == STEPS


def test_the_learning_rate_follows_what_is_done():
    optimiser = torch.optim.SGD(
        [
            {"params": (module := learner()[0])[0].parameters()},
            {"params": module[2].parameters(), "factor": 5.0},
        ]
    )
    fitted = fit(
        module,
        step,
        batches,
        optimiser,
        steps=3,
        learning_rate=lambda progress: 0.1 / (1 + progress.step),
        log=QUIET,
    )
    assert column(fitted, "learning_rate") == [0.1, 0.05, 0.1 / 3]
    assert [group["lr"] for group in optimiser.param_groups] == [0.1 / 3, 0.5 / 3]


def test_without_a_learning_rate_the_optimiser_keeps_its_own():
    _, fitted = train()
    assert column(fitted, "learning_rate") == [0.1] * STEPS


def test_a_loss_without_weight_is_recorded_and_does_not_teach():
    def two(model, batch):
        return {**step(model, batch), "other": model[0].weight.square().sum()}

    plain, _ = train()
    module, fitted = train(step=two, weights={"mse": 1.0})
    assert same(plain, module)
    assert len(column(fitted, "other")) == STEPS
    assert column(fitted, "total") == column(fitted)
    assert not same(plain, train(step=two)[0])  # without weights, each counts as 1


def test_held_out_numbers_are_taken_before_the_first_step_every_so_often_and_at_the_end():
    module, optimiser = learner()
    measured = []

    def measure():
        measured.append(float(module[0].weight.detach().sum()))
        return {"weight": measured[-1]}

    options = {"measure": measure, "measure_every": 4, "log": QUIET}
    fitted = fit(module, step, batches, optimiser, steps=STEPS, **options)
    assert fitted.history.column("val_weight") == ([0, 4, 6], measured)
    assert fitted.initial == {"weight": measured[0]}
    assert fitted.final == {"weight": measured[-1]}


def test_what_was_measured_first_is_known_to_a_continued_run(tmp_path):
    def run(**options):
        module, optimiser = learner()
        options |= {"measure": lambda: {"weight": float(module[0].weight.detach().sum())}}
        return fit(module, step, batches, optimiser, steps=STEPS, log=QUIET, **options)

    first = run(folder=RunFolder(tmp_path / "run"), stop_after=2)
    rest = run(folder=RunFolder(tmp_path / "run", resume=True))
    assert rest.initial == first.initial
    assert rest.history.column("val_weight")[0] == [0, 2, 6]


def test_a_finished_run_that_is_asked_to_go_on_takes_no_step(tmp_path):
    module, _ = train(folder=RunFolder(tmp_path / "run"))
    other, fitted = train(folder=RunFolder(tmp_path / "run", resume=True))
    assert same(module, other)
    assert fitted.steps == STEPS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_after_the_step_and_the_run_can_go_on(tmp_path, number):
    whole, _ = train()
    said, got = [], []

    def interrupted(model, batch):
        if interrupted.at == 2:
            os.kill(os.getpid(), number)
        interrupted.at += 1
        return step(model, batch)

    interrupted.at = 0
    before = signal.signal(number, lambda came, _: got.append(came))
    try:
        _, fitted = train(
            step=interrupted,
            folder=RunFolder(tmp_path / "run"),
            log=RunLog(line=said.append, progress=False),
        )
    finally:
        signal.signal(number, before)
    assert (fitted.steps, got) == (3, [number])
    assert f"stopped by {number.name} after step 3: the checkpoint of step 3 is kept" in said[-1]
    other, rest = train(folder=RunFolder(tmp_path / "run", resume=True))
    assert same(whole, other)
    assert rest.history.column("mse")[0] == list(range(1, STEPS + 1))


def test_a_run_in_the_same_folder_at_the_same_time_is_refused(tmp_path):
    refused = []

    def step_and_start_another(model, batch):
        if not refused:
            with pytest.raises(FileExistsError, match="being written by another run") as error:
                train(folder=RunFolder(tmp_path / "run", overwrite=True))
            refused.append(error)
        return step(model, batch)

    plain, _ = train()
    module, _ = train(step=step_and_start_another, folder=RunFolder(tmp_path / "run"))
    assert refused and same(plain, module)
    train(folder=RunFolder(tmp_path / "run", overwrite=True))  # the lock is free again


def test_a_disk_full_at_a_checkpoint_says_what_is_kept(tmp_path, monkeypatch):
    from safetensors import SafetensorError

    whole, _ = train()
    saved = run_folder.save_checkpoint

    def fails_at_4(folder, module, optimiser, settings, progress, *, data):
        if progress.step == 4:
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        saved(folder, module, optimiser, settings, progress, data=data)

    monkeypatch.setattr(run_folder, "save_checkpoint", fails_at_4)
    with pytest.raises(OSError, match="could not be written") as caught:
        train(folder=RunFolder(tmp_path / "run", save_every=2))
    message = str(caught.value)
    assert message.startswith(f"the checkpoint of step 4 could not be written to {tmp_path}")
    assert "No space left on device" in message
    assert f"the checkpoint of step 2 is kept in {tmp_path / 'run' / 'checkpoint'}" in message
    assert "\n" not in message
    monkeypatch.undo()
    other, _ = train(folder=RunFolder(tmp_path / "run", resume=True))
    assert same(whole, other)


def test_a_loss_that_is_nan_stops_the_run_and_leaves_the_checkpoint(tmp_path):
    def breaks(model, batch):
        breaks.at += 1
        return {"mse": step(model, batch)["mse"] * (float("nan") if breaks.at == 4 else 1.0)}

    breaks.at = 0
    with pytest.raises(FloatingPointError, match=r"mse = nan in step 4.*checkpoint of step 2 is"):
        train(step=breaks, folder=RunFolder(tmp_path / "run", save_every=2))
    assert train(folder=RunFolder(tmp_path / "run", resume=True))[1].steps == STEPS


def test_time_that_is_over_ends_the_run_after_a_whole_step(tmp_path, monkeypatch):
    ticks = iter(range(1_000))
    monkeypatch.setattr("mg3d.training.fit.time.perf_counter", lambda: float(next(ticks)))
    _, fitted = train(steps=10**6, max_seconds=4.0, folder=RunFolder(tmp_path / "run"))
    assert fitted.steps == 4
    assert column(fitted, "seconds") == [1.0, 2.0, 3.0, 4.0]
    _, more = train(steps=10**6, max_seconds=4.0, folder=RunFolder(tmp_path / "run", resume=True))
    assert more.steps == 4


def test_trackers_get_every_row_and_lines_come_first():
    rows, lines = [], []
    log = RunLog(line=lines.append, notes=["a note"], progress=False, trackers=[rows.append])
    _, fitted = train(log=log, batch_size=4)
    assert rows == fitted.history.rows
    assert "4 patients per process, 4 per step, writes nothing" in lines[0]
    assert lines[1:] == ["a note"]


def test_batches_that_end_early_are_named():
    with pytest.raises(ValueError, match="the batches ended before step 3;"):
        train(batches=lambda _: iter(list(batches(range(2)))))


def test_the_module_learns_in_training_mode_and_a_frozen_layer_stays_in_its_own():
    modes = []

    def looking(model, batch):
        modes.append([layer.training for layer in model])
        return step(model, batch)

    for prepare in (lambda m: m.eval(), lambda m: m[1].eval()):
        module, optimiser = learner()
        prepare(module)
        fit(module, looking, batches, optimiser, steps=1, log=QUIET)
    assert modes == [[True, True, True], [True, False, True]]


def test_the_module_comes_back_in_its_own_precision():
    module, optimiser = learner()
    devices = start_devices(precision="bf16")
    seen = []

    def looking(model, batch):
        seen.append(model[0](batch[0]).dtype)
        return step(model, batch)

    fit(module, looking, batches, optimiser, steps=1, devices=devices, log=QUIET)
    assert seen == [torch.bfloat16]
    numbers, _ = next(iter(batches(range(1))))
    plain = nn.Sequential(*module)
    module.eval()
    assert module(numbers).equal(plain(numbers))


def detached(model, batch):
    return {"mse": step(model, batch)["mse"].detach()}


def with_a_row_each(model, batch):
    return {"mse": F.mse_loss(model(batch[0]), batch[1], reduction="none")}


MSE = {"mse": 1.0}


@pytest.mark.parametrize(
    ("given", "weights", "message"),
    [
        (step, {"mse": 1.0, "dcie": 0.5}, r"weight for dcie, but the losses of this step are mse"),
        (with_a_row_each, None, r"loss mse has the shape \(4, 1\), expected one number"),
        (lambda m, b: {**step(m, b), "hits": 0.5}, MSE, "loss hits is a float, expected a tensor"),
        (lambda m, b: step(m, b)["mse"], None, r"losses by name, such as .*got Tensor"),
        (lambda m, b: {"total": step(m, b)["mse"]}, None, "'total' is a column of the history"),
        (detached, None, "nothing learns from mse: no parameter that requires a gradient"),
    ],
)
def test_a_step_from_which_not_all_is_learned_that_was_asked_for_is_refused(
    given, weights, message
):
    with pytest.raises(ValueError, match=message):
        train(step=given, weights=weights)


def test_a_module_that_is_all_frozen_is_refused():
    module, optimiser = learner()
    module.requires_grad_(False)
    with pytest.raises(ValueError, match="leave some parameters trainable"):
        fit(module, step, batches, optimiser, steps=2, log=QUIET)


def test_a_number_that_is_only_recorded_may_be_nan():
    module, fitted = train(
        step=lambda m, b: {**step(m, b), "auroc": torch.tensor(float("nan"))}, weights=MSE
    )
    assert np.isnan(column(fitted, "auroc")).all()
    assert same(module, train()[0])


def test_weights_spoilt_by_the_gradient_of_a_finite_loss_are_not_saved(tmp_path):
    def root_of_0(model, batch):
        return {"mse": step(model, batch)["mse"] + (model(batch[0]) * 0).abs().sum().sqrt()}

    with pytest.raises(FloatingPointError, match=r"NaN or infinity in 0\.weight after step 1"):
        train(step=root_of_0, steps=1, folder=RunFolder(tmp_path))
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize("number", [np.float32(0.5), torch.tensor(0.5), torch.tensor([0.5])])
def test_held_out_numbers_may_be_of_numpy_or_torch(tmp_path, number):
    _, fitted = train(measure=lambda: {"auroc": number}, folder=RunFolder(tmp_path))
    assert fitted.final == fitted.initial == {"auroc": 0.5}
    assert RunFolder(tmp_path).initial() == {"auroc": 0.5}


@pytest.mark.parametrize("measured", [0.5, {"auroc": "high"}, {"auroc": torch.ones(2)}])
def test_held_out_numbers_of_another_form_are_refused(measured):
    with pytest.raises(ValueError, match="`measure` gives one number for each name"):
        train(measure=lambda: measured)


def test_a_run_that_is_to_stop_after_0_steps_takes_none():
    module, fitted = train(stop_after=0)
    assert fitted.steps == 0
    assert same(module, learner()[0])


def test_a_run_started_again_and_killed_at_once_does_not_go_on_from_the_one_before(tmp_path):
    def killed(steps):
        yield from list(batches(steps))[:1]
        raise KeyboardInterrupt

    train(folder=RunFolder(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        train(folder=RunFolder(tmp_path, overwrite=True), batches=killed)
    module, fitted = train(folder=RunFolder(tmp_path, resume=True), steps=8)
    assert [row["step"] for row in fitted.history.rows] == list(range(1, 9))
    assert same(module, train(steps=8)[0])


def test_a_continued_run_says_where_it_starts(tmp_path):
    said = []
    log = RunLog(line=said.append, progress=False)
    train(folder=RunFolder(tmp_path / "run", resume=True), stop_after=2, log=log)
    train(folder=RunFolder(tmp_path / "run", resume=True), log=log)
    assert [line for line in said if "step" in line] == [
        "there is no checkpoint to continue from: starts at step 0",
        "continues after step 2",
    ]


def test_the_best_checkpoint_is_kept_beside_the_newest(tmp_path):
    numbers = iter([9.0, 5.0, 3.0, math.nan, 4.0, 6.0, 6.0])
    kept = {}

    def measure():
        best = tmp_path / "run" / "best" / "state.json"
        kept[len(kept)] = json.loads(best.read_text())["step"] if best.exists() else None
        return {"error": next(numbers)}

    options = {"measure": measure, "measure_every": 1, "best": lambda found: found["error"]}
    train(folder=RunFolder(tmp_path / "run", save_every=1), stop_after=4, **options)
    assert list(kept.values()) == [None, None, 1, 2, 2]  # before each measurement
    _, fitted = train(folder=RunFolder(tmp_path / "run", resume=True), steps=6, **options)
    assert fitted.steps == 6
    state = json.loads((tmp_path / "run" / "best" / "state.json").read_text())
    assert (state["step"], state["held_out"]) == (2, 3.0)  # the resumed run found no smaller one
    assert json.loads((tmp_path / "run" / "checkpoint" / "state.json").read_text())["step"] == 6


def test_a_run_that_starts_again_forgets_the_best_checkpoint_of_the_last_one(tmp_path):
    options = {"measure": lambda: {"error": 1.0}, "best": lambda found: found["error"]}
    train(folder=RunFolder(tmp_path / "run"), **options)
    assert (tmp_path / "run" / "best" / "state.json").exists()
    train(folder=RunFolder(tmp_path / "run", overwrite=True))
    assert not (tmp_path / "run" / "best").exists()
