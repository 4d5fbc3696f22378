"""Settings of a task by name, without naming their groups."""

from dataclasses import replace

import pytest

from mg3d.evaluation.tasks.registry import TASKS, find_task
from mg3d.evaluation.tasks.settings import change_task


@pytest.mark.parametrize("name", TASKS)
def test_a_setting_of_every_group_is_changed_and_no_other(name):
    config = find_task(name).defaults()
    changed = change_task(config, seed=3, total_steps=7, num_patients=20)
    assert (changed.run.seed, changed.finetune.total_steps) == (3, 7)
    assert changed.tuning.num_patients == 20
    back = replace(changed, run=config.run, finetune=config.finetune, tuning=config.tuning)
    assert back == config


def test_a_setting_of_the_tasks_own_is_changed():
    config = change_task(find_task("luna16").defaults(), cube=16)
    assert config.own.cube == 16


def test_an_unknown_setting_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'cube'.*num_patients"):
        change_task(find_task("stoic2021").defaults(), cube=16)


def test_a_wrong_value_is_refused():
    with pytest.raises(ValueError, match="num_patients"):
        change_task(find_task("findings").defaults(), num_patients=-1)
