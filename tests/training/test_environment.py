import pytest

from mg3d.training.environment import check_environment


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, "precision is 'no', but ACCELERATE_MIXED"),
        ({"ACCELERATE_MIXED_PRECISION": "fp8"}, "asks for 'fp8'"),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, "accumulation is 1, but .* asks for 4"),
        ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, "ACCELERATE_DYNAMO_BACKEND .* 'INDUCTOR'"),
        ({"ACCELERATE_USE_FSDP": "true"}, "ACCELERATE_USE_FSDP is set"),
        ({"ACCELERATE_USE_DEEPSPEED": "1"}, "ACCELERATE_USE_DEEPSPEED is set"),
        ({"ACCELERATE_USE_MEGATRON_LM": "True"}, "ACCELERATE_USE_MEGATRON_LM is set"),
        ({"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}, "ACCELERATE_USE_PARALLELISM_CONFIG is set"),
        ({"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}, "torchrun --standalone"),
    ],
)
def test_what_asks_for_another_run_is_refused_by_name(variables, named):
    with pytest.raises(ValueError, match=named):
        check_environment(variables)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        # what `accelerate launch` sets where it was asked for nothing
        {
            "ACCELERATE_MIXED_PRECISION": "no",
            "ACCELERATE_DYNAMO_BACKEND": "NO",
            "ACCELERATE_USE_CPU": "False",
        },
        {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "auto"},
        {"ACCELERATE_USE_FSDP": "false"},
        # one of several processes, as torchrun and mpirun start them
        {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
        {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "a", "OMPI_COMM_WORLD_SIZE": "2"},
    ],
)
def test_what_asks_for_nothing_is_no_trouble(variables):
    check_environment(variables)


def test_what_says_the_same_as_the_settings_is_no_trouble():
    variables = {
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
    }
    check_environment(variables, precision="bf16", accumulation=4)
    with pytest.raises(ValueError, match="accumulation is 2"):
        check_environment(variables, precision="bf16", accumulation=2)
