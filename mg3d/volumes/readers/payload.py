"""The bytes of a volume file: complete, unpacked and checked, or an error that says what is wrong.

A gzip stream is read to its end, so that its checksum is compared: a reader that stops after the
last voxel passes on damaged voxels in silence. Nothing large is allocated before it is known
that the file can hold it.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Shaped

CHUNK = 1 << 20  # bytes read at a time
MOST_EXPANSION = 1032  # deflate never makes more of one byte

GZIP = b"\x1f\x8b"
WINDOW = {"gzip": 31, "zlib": 15}  # zlib's name for a kind of stream: `wbits`
OTHER_FORMATS = {
    b"version https://git-lfs": "is a Git LFS pointer in place of the volume; run `git lfs pull`, "
    "or download the real file",
    b"\0\x05\x16\x07": "is what macOS writes beside a file (AppleDouble), not the volume; "
    "remove it, and give the file of that name without the leading '._'",
    b"\x89PNG": "is a PNG image, not a NIfTI file; give a CT volume (.nii or .nii.gz)",
    b"\xff\xd8\xff": "is a JPEG image, not a NIfTI file; give a CT volume (.nii or .nii.gz)",
    b"PK\x03\x04": "is a zip archive, not a NIfTI file; unpack it first",
}


class VolumeError(ValueError):
    """A volume cannot be used; the message names the file, what is wrong and what to do."""


class Payload:
    """The unpacked bytes of one file, from the first on.

    Args:
        path: named in errors.
        file: open for reading, where the bytes start.
        size: bytes from there to the end of the file.
        packed: "gzip", "zlib", or "" where the bytes are as they are.
    """

    def __init__(self, path: Path, file: BinaryIO, size: int, packed: str = ""):
        self.path, self.packed = path, packed
        self.most = size * MOST_EXPANSION if packed else size  # unpacked bytes it can hold
        self.position = 0
        self._file = file
        self._unpacker = zlib.decompressobj(WINDOW[packed]) if packed else None
        self._waiting = b""  # packed bytes read but not unpacked

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer at the end."""
        buffer = bytearray(size)
        return bytes(buffer[: self.fill(memoryview(buffer))])

    def fill(self, view: memoryview) -> int:
        """Write the next bytes into `view`; how many there were."""
        filled = 0
        while filled < len(view):
            piece = self._next(len(view) - filled)
            if not piece:
                break
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        self.position += filled
        return filled

    def fill_array(self, shape: tuple[int, ...], dtype: np.dtype) -> Shaped[np.ndarray, "a b c"]:
        """The next bytes as an array.

        Raises:
            VolumeError: if there are fewer.
        """
        array = np.empty(shape, dtype)
        filled = self.fill(array.reshape(-1).view(np.uint8).data)
        if filled < array.nbytes:
            raise VolumeError(
                f"{self.path}: short payload: expected {array.nbytes:,} bytes of voxels, "
                f"got {filled:,}; fetch the file again"
            )
        return array

    def skip(self, size: int) -> None:
        """Pass over bytes."""
        while size > 0:
            got = len(self.read(min(size, CHUNK)))
            if not got:
                break
            size -= got

    def finish(self) -> int:
        """Read to the end, so that a gzip checksum is compared; how many bytes were left."""
        start = self.position
        while self.read(CHUNK):
            pass
        return self.position - start

    def _next(self, most: int) -> bytes:
        if self._unpacker is None:
            return self._file.read(min(most, CHUNK))
        while True:
            if self._unpacker.eof and not self._start_next_member():
                return b""
            packed = self._waiting or self._file.read(CHUNK)
            if not packed:
                raise VolumeError(
                    f"{self.path}: truncated {self.packed} stream, it ends in the middle "
                    "(an interrupted download?); fetch the file again"
                )
            try:
                piece = self._unpacker.decompress(packed, min(most, 4 * CHUNK))
            except zlib.error as error:
                raise VolumeError(
                    f"{self.path}: damaged {self.packed} stream "
                    f"({_in_words(self.packed, error)}); fetch the file again"
                ) from error
            self._waiting = self._unpacker.unconsumed_tail
            if piece:
                return piece

    def _start_next_member(self) -> bool:
        """A gzip file may hold several streams; zeros after the last one are padding."""
        assert self._unpacker is not None
        rest = (self._unpacker.unused_data or self._file.read(CHUNK)).lstrip(b"\0")
        if not rest:
            rest = self._file.read(CHUNK).lstrip(b"\0")
        if not rest:
            return False
        if self.packed != "gzip" or not rest.startswith(GZIP):
            raise VolumeError(
                f"{self.path}: bytes that are no {self.packed} stream follow the volume; "
                "fetch the file again"
            )
        self._unpacker, self._waiting = zlib.decompressobj(31), rest
        return True


def files_in(folder: Path) -> list[Path]:
    """The files of a folder by name, links to files among them; not those of folders in it.

    Raises:
        VolumeError: if a link leads nowhere: without its slice, a shorter scan would be read.
    """
    found = sorted(folder.iterdir())
    lost = [path.name for path in found if path.name[0] != "." and leads_nowhere(path)]
    if lost:
        raise VolumeError(
            f"{folder}: {len(lost)} links lead nowhere, first {lost[0]}; fetch the files they "
            "stand for (git-annex, DataLad), or remove them"
        )
    return [path for path in found if path.is_file()]


def leads_nowhere(path: Path) -> bool:
    """Whether a path is a link to something that is not there, or to itself."""
    return path.is_symlink() and not path.exists()


def _in_words(packed: str, error: zlib.error) -> str:
    text = str(error)
    if "incorrect data check" in text:
        check = "CRC" if packed == "gzip" else "checksum"
        return f"{packed} {check} mismatch: the voxels are not those that were packed"
    if "incorrect length check" in text:
        return f"{packed} length mismatch"
    return f"bad data: {text}"


@contextmanager
def open_payload(path: Path) -> Iterator[Payload]:
    """Open a `.nii` or `.nii.gz` file by what it holds, whatever its name says.

    Raises:
        FileNotFoundError: if there is no such file.
        VolumeError: if the file is empty, or clearly something else than a volume.
    """
    if path.is_dir():
        raise VolumeError(
            f"{path}: is a folder, expected a .nii or .nii.gz file; give the file in it"
        )
    if leads_nowhere(path):
        raise VolumeError(f"{path}: a link that leads nowhere; fetch the file it stands for")
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such volume; check the path")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(512)
        file.seek(0)
        if not start:
            raise VolumeError(f"{path}: empty file (0 bytes); fetch the file again")
        for signature, message in OTHER_FORMATS.items():
            if start.startswith(signature):
                raise VolumeError(f"{path}: {message}")
        if start.lstrip()[:1] == b"<":
            raise VolumeError(
                f"{path}: not a NIfTI file (looks like HTML): was the download authorised? "
                "Log in where the data set is gated, and fetch the file again"
            )
        yield Payload(path, file, size, "gzip" if start.startswith(GZIP) else "")
