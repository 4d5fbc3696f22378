"""Read what `torch.save` wrote as plain data: a pickle can hold code, and none of it is run.

`weights_only=True` admits tensors and Python's own plain types. NumPy numbers and texts are
admitted beside them, and nothing else.
"""

import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch

# What reading a damaged pickle can end in, besides an UnpicklingError.
_DAMAGE = (
    *(RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError),
    *(AssertionError, OverflowError, struct.error),
)


def read_pickle(path: Path, head: bytes) -> Any:
    """Plain data of a file that `torch.save` wrote.

    Args:
        path: the file.
        head: its first bytes.

    Raises:
        ValueError: if it is damaged, an archive of something else, or holds more than plain data.
    """
    import pickle

    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"{path} is cut off or damaged: it starts as torch.save writes and its end is "
                f"missing ({path.stat().st_size:,} bytes are there); download it again"
            ) from error
        _refuse_other_archives(path, names)
    try:
        # Given a name instead of a file, torch would go by its ending.
        with path.open("rb") as file, torch.serialization.safe_globals(_numpy_scalars()):
            return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, *_DAMAGE) as error:
        if code := _code_in(path, error):
            raise ValueError(
                f"{path} holds more than plain tensors ({code}), and reading it would run code "
                "from the file, which is never done; if you trust its source, read it once "
                "yourself with torch.load(..., weights_only=False) and write the tensors alone "
                "with safetensors.torch.save_file, then give that file"
            ) from error
        raise ValueError(
            f"{path} is cut off or damaged: torch cannot read it "
            f"({(str(error).splitlines() or [''])[0][:200]}); download it again"
        ) from error


def _refuse_other_archives(path: Path, names: list[str]) -> None:
    """A zip file can also be a program, or hold anything."""
    if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
        raise ValueError(
            f"{path} is TorchScript: a program with its weights, and reading it would mean to load "
            "the program; give the weights alone, which a MONAI bundle has beside it as model.pt"
        )
    if any(name.endswith("archive_format") or "/models/model.json" in name for name in names):
        raise ValueError(
            f"{path} is a program that torch.export wrote (.pt2); give the weights alone, as "
            "torch.save(model.state_dict(), ...) writes them"
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise ValueError(
            f"{path} is a zip archive that torch.save did not write (first entry "
            f"{(names or ['none'])[0]}); unpack it and give the file of weights inside"
        )


def _numpy_scalars() -> list[Any]:
    """What a pickled NumPy number or text consists of: common beside weights, and no code."""
    import numpy as np

    scalar = np.float64(0).__reduce__()[0]  # where it lies differs between versions of NumPy
    plain = (np.bool_, np.number, np.str_, np.bytes_, np.datetime64, np.timedelta64)
    dtypes = {
        type(np.dtype(kind))
        for kind in np.sctypeDict.values()
        if isinstance(kind, type) and issubclass(kind, plain)
    }
    older, newer = "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"
    return [np.dtype, *sorted(dtypes, key=str), (scalar, older), (scalar, newer)]


def _code_in(path: Path, error: Exception) -> str:
    """What is no plain data in a pickle that was refused; "" if that was not the reason."""
    try:
        with path.open("rb") as file, torch.serialization.safe_globals(_numpy_scalars()):
            unsafe = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except _DAMAGE:  # as for the older format, which it does not read
        unsafe = []
    named = re.search(r"Unsupported (?:global|class).*?GLOBAL (\S+)", str(error)) or re.search(
        r"but got <class '([\w.]+)'>", str(error)
    )
    if not unsafe and named:
        unsafe = [named[1]]
    return ", ".join(unsafe[:5])
