"""The table of downstream tasks: one line a task; a task's module is imported when it is used."""

from importlib import import_module

from mg3d.evaluation.tasks.task import Task

TASKS = {  # name on the command line -> module:class
    "luna16": "mg3d.evaluation.tasks.classification:Luna16",
    "cc_ccii": "mg3d.evaluation.tasks.classification:CcCcii",
    "stoic2021": "mg3d.evaluation.tasks.classification:Stoic2021",
    "findings": "mg3d.evaluation.tasks.findings:Findings",
    "probe": "mg3d.evaluation.tasks.probe_task:Probe",
    "zero_shot": "mg3d.evaluation.tasks.zero_shot_task:ZeroShot",
    "prompted": "mg3d.evaluation.tasks.prompted:Prompted",
    "retrieval": "mg3d.evaluation.tasks.retrieval_task:Retrieval",
    "msd_lung": "mg3d.evaluation.tasks.segmentation:MsdLung",
    "msd_colon": "mg3d.evaluation.tasks.segmentation:MsdColon",
    "covid19_20": "mg3d.evaluation.tasks.segmentation:Covid1920",
    "acdc": "mg3d.evaluation.tasks.segmentation:Acdc",
    "segmentation": "mg3d.evaluation.tasks.segmentation:Segmentation",
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
