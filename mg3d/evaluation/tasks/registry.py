"""The table of downstream tasks: one line a task; a task's module is imported when it is used."""

from importlib import import_module

from mg3d.evaluation.tasks.task import Task

TASKS = {  # name on the command line -> module:class
    "luna16": "mg3d.evaluation.tasks.classification:Luna16",
    "cc_ccii": "mg3d.evaluation.tasks.classification:CcCcii",
    "stoic2021": "mg3d.evaluation.tasks.classification:Stoic2021",
    "report_generation": "mg3d.evaluation.tasks.report_generation:ReportGeneration",
}


def find_task(name: str) -> type[Task]:
    """The task of this name.

    Raises:
        ValueError: if there is none; the message lists them.
    """
    if name not in TASKS:
        raise ValueError(f"the task is one of {', '.join(TASKS)}; got '{name}'")
    module, _, kind = TASKS[name].partition(":")
    task: type[Task] = getattr(import_module(module), kind)
    return task
