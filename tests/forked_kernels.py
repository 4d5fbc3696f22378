"""Kernels forked from one process that has loaded the heavy libraries, to test notebooks.

A kernel that starts from nothing spends most of its time on importing torch and its like. What it
runs is the same: nothing of mg3d is loaded before the fork, and every kernel is its own process.
"""

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

HEAVY = [
    "IPython",
    "ipykernel.kernelapp",
    "ipywidgets",
    "matplotlib.pyplot",
    "nibabel",
    "pandas",
    "scipy.ndimage",
    "scipy.stats",
    "sklearn.linear_model",
    "torch",
    "transformers.models.bert.modeling_bert",
]
MODULE = "ipykernel_launcher"


class ForkedKernel:
    """A process of multiprocessing with those methods of `subprocess.Popen` that Jupyter calls."""

    stdin = stdout = stderr = None

    def __init__(self, process: multiprocessing.process.BaseProcess):
        self.process, self.pid = process, process.pid

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.process.kill()

    def terminate(self) -> None:
        self.process.terminate()


def be_a_kernel(
    ready: Connection, arguments: list[str], variables: dict[str, str], folder: str
) -> None:
    """What the forked process does: what `python -m ipykernel_launcher` would."""
    os.setsid()  # a signal to the kernel's group reaches no other process
    ready.send(True)
    ready.close()
    os.environ.clear()
    os.environ.update(variables, JPY_PARENT_PID=str(os.getppid()))
    os.chdir(folder)
    tests = str(Path(__file__).parent)
    sys.path[:] = [variables["PYTHONPATH"], *(path for path in sys.path if path != tests)]
    sys.argv = [MODULE, *arguments]
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()


def fork_kernel(command: list[str], **options: Any) -> ForkedKernel:
    """Stands in for `jupyter_client.launcher.launch_kernel`."""
    dash_m, module, *arguments = command[1:]
    assert (dash_m, module) == ("-m", MODULE), f"no kernel of Python: {command}"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    reader, writer = context.Pipe(duplex=False)
    folder = str(options.get("cwd") or Path.cwd())
    process = context.Process(target=be_a_kernel, args=(writer, arguments, options["env"], folder))
    process.start()
    writer.close()
    assert reader.recv()  # Jupyter asks for the group of the process at once
    reader.close()
    return ForkedKernel(process)


@contextmanager
def kernels_of(root: Path) -> Iterator[None]:
    """Inside the block, notebooks run on this source, with figures drawn into the notebook."""
    import pytest  # here, as a kernel imports this file and needs neither
    from jupyter_client.provisioning import local_provisioner

    with pytest.MonkeyPatch.context() as patch:
        # What a kernel sets for itself; here before matplotlib is imported.
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        patch.setenv("PYTHONPATH", str(root))  # this source, installed or not
        if "forkserver" in multiprocessing.get_all_start_methods():
            patch.setattr(local_provisioner, "launch_kernel", fork_kernel)
        yield
