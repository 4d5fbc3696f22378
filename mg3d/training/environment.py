"""Refuse environment variables of accelerate that contradict the settings of a run.

`accelerate launch` and job scripts set environment variables, which would change a run without
leaving a trace in its `config.json`. A variable that contradicts the settings raises an error that
names the variable and the setting. Variables that only choose the device (ACCELERATE_USE_CPU,
ACCELERATE_TORCH_DEVICE) are followed; the first line of the run's log names the device.
"""

from collections.abc import Mapping

# Number of processes, as set by torchrun, accelerate and the MPI launchers.
WORLD_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
# Ways of splitting a model over devices that checkpoints and gathered losses do not support.
UNSUPPORTED = (
    "ACCELERATE_USE_DEEPSPEED",
    "ACCELERATE_USE_FSDP",
    "ACCELERATE_USE_MEGATRON_LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG",
)


def check_environment(
    environment: Mapping[str, str], *, precision: str = "no", accumulation: int = 1
) -> None:
    """Raise an error for environment variables of accelerate that contradict the settings.

    Args:
        environment: such as `os.environ`.
        precision: of the run's settings.
        accumulation: of the run's settings.

    Raises:
        ValueError: naming the variable and the setting.
    """
    _refuse_a_lone_process(environment)
    asked = environment.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    # "no" is also what accelerate launch sets by default, so it does not contradict any setting.
    if asked not in ("", "no", precision):
        raise ValueError(
            f"the run's precision is '{precision}', but ACCELERATE_MIXED_PRECISION (accelerate "
            f"launch --mixed_precision) asks for '{asked}'; set the precision in the run's "
            "settings too, or launch without it"
        )
    steps = environment.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "")
    if steps not in ("", "auto", str(accumulation)):
        raise ValueError(
            f"the run's accumulation is {accumulation}, but ACCELERATE_GRADIENT_ACCUMULATION_STEPS "
            f"asks for {steps}; set the accumulation in the run's settings too, or unset the "
            "variable"
        )
    backend = environment.get("ACCELERATE_DYNAMO_BACKEND", "no")
    if backend.lower() not in ("", "no"):
        raise ValueError(
            f"ACCELERATE_DYNAMO_BACKEND (accelerate launch --dynamo_backend) asks for '{backend}'; "
            "unset it, and set `compile` in the run's settings instead"
        )
    for name in UNSUPPORTED:
        if environment.get(name, "").lower() in ("1", "true", "yes", "on", "y", "t"):
            raise ValueError(
                f"{name} is set, but a run spreads its batch over processes, each with the whole "
                "model (DistributedDataParallel); launch without it, for example with "
                "`accelerate launch --multi_gpu` or torchrun"
            )


def _refuse_a_lone_process(environment: Mapping[str, str]) -> None:
    """Without a GPU, `accelerate launch --num_processes 2` starts one process: raise an error."""
    launched = "ACCELERATE_USE_CPU" in environment and "MASTER_ADDR" in environment
    joined = any(name in environment for name in (*WORLD_SIZES, "LOCAL_RANK"))
    if launched and not joined:
        raise ValueError(
            "accelerate launch was asked for several processes and started one (it starts several "
            "on GPUs only); start them with `torchrun --standalone --nproc_per_node 2 -m "
            "mg3d.training ...`, or unset MASTER_ADDR and launch one"
        )
