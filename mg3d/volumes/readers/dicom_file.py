"""Opening one DICOM file, also one without preamble or transfer syntax; which warnings are damage.

pydicom's warnings while a header is parsed are no damage: every value that is used is checked here.
Its warnings while pixels are decoded are damage, but for one: bytes after the last pixel, which a
reader must be prepared for. No text of pydicom's is passed on, as it may quote the file.

Source: DICOM PS3.10 (file format), PS3.5 section 8.1.1 (excess padding), annex A (syntaxes).
"""

import logging
import struct
import warnings as python_warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset
    from pydicom.tag import BaseTag

START = 132  # bytes that tell what a file is
EXCESS = r"The pixel data is \d+ bytes long"  # pydicom's warning about bytes after the last pixel


def is_dicom(start: bytes) -> bool:
    """Whether a file is one by its first `START` bytes, with or without its preamble."""
    return start[128:132] == b"DICM" or start[:4] == b"DICM" or _is_bare(start)


def _is_bare(start: bytes) -> bool:
    """Whether bytes start with an element of group 2 or 8, as a data set without preamble does."""
    if len(start) < 8:
        return False
    for order in "<>":
        group, element, length = struct.unpack(f"{order}HHI", start[:8])
        explicit = start[4:6].isalpha() and start[4:6].isupper()
        implicit = order == "<" and length < 1024
        if group in (2, 8) and element < 0x0100 and (explicit or implicit):
            return True
    return False


def open_dicom(path: Path, tags: tuple["BaseTag", ...] = ()) -> tuple["FileDataset", bool]:
    """A file's data set, its transfer syntax set; and whether that had to be guessed.

    A file that does not state its transfer syntax is not compressed, or it could not be told how.

    Args:
        path: of the file.
        tags: only these elements, and no pixels; none: all.

    Raises:
        Exception: any of `damaged()`; call it within `reading()`.
    """
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    with path.open("rb") as file:
        start = file.read(START)
        file.seek(0)
        bare = start[128:132] != b"DICM"
        source = BytesIO(file.read()[4:]) if bare and start[:4] == b"DICM" else file
        data = dcmread(
            source, stop_before_pixels=bool(tags), force=bare, specific_tags=list(tags) or None
        )
    if data.file_meta.get("TransferSyntaxUID"):
        return data, False
    implicit, little = data.original_encoding
    order = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else order
    return data, True


def damaged() -> tuple[type[Exception], ...]:
    """What pydicom and the decoders behind it raise on damaged bytes."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (
        *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError),
        *(NotImplementedError, OSError, RuntimeError, TypeError, ValueError),
        *(struct.error, zlib.error, BytesLengthException, InvalidDicomError, UserWarning),
    )


@contextmanager
def decoding() -> Iterator[None]:
    """Warnings about pixels are errors, but for excess bytes at their end."""
    with _quietly("error"):
        python_warnings.filterwarnings("ignore", EXCESS)
        yield


@contextmanager
def reading() -> Iterator[None]:
    """Warnings about a header are ignored: each value that matters is checked."""
    with _quietly("ignore"):
        yield


@contextmanager
def _quietly(action: Literal["ignore", "error"]) -> Iterator[None]:
    """Nothing of a file (a name may be in it) reaches the log; what is wrong is raised."""
    log = logging.getLogger("pydicom")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter(action)
            yield
    finally:
        log.setLevel(before)
