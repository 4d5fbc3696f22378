"""What the environment may ask of a run: what its settings say, or nothing.

`accelerate launch` and job scripts speak through environment variables, which would change a run
without leaving a trace in its `config.json`. A variable that asks for something else than the
settings is refused by name, with the setting to change. Those that only choose a device
(ACCELERATE_USE_CPU, ACCELERATE_TORCH_DEVICE) are followed; the run's first line says which.
"""

from collections.abc import Mapping

# How many processes were started, as torchrun, accelerate and the MPI launchers say it.
WORLD_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
# Ways of splitting a model over devices that checkpoints and gathered losses do not know.
UNSUPPORTED = (
    "ACCELERATE_USE_DEEPSPEED",
    "ACCELERATE_USE_FSDP",
    "ACCELERATE_USE_MEGATRON_LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG",
)


def check_environment(
    environment: Mapping[str, str], *, precision: str = "no", accumulation: int = 1
) -> None:
    """Refuse environment variables of accelerate that ask for another run than the settings.

    Args:
        environment: such as `os.environ`.
        precision: of the run's settings.
        accumulation: of the run's settings.

    Raises:
        ValueError: naming the variable and the setting.
    """
    _refuse_a_lone_process(environment)
    asked = environment.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    # "no" is what accelerate launch sets where it was asked for nothing: the settings decide.
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
    """`accelerate launch --num_processes 2` starts one process where there is no GPU."""
    launched = "ACCELERATE_USE_CPU" in environment and "MASTER_ADDR" in environment
    joined = any(name in environment for name in (*WORLD_SIZES, "LOCAL_RANK"))
    if launched and not joined:
        raise ValueError(
            "accelerate launch was asked for several processes and started one (it starts several "
            "on GPUs only); start them with `torchrun --standalone --nproc_per_node 2 -m "
            "mg3d.training ...`, or unset MASTER_ADDR and launch one"
        )
