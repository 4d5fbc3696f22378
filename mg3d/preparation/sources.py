"""What counts as the same source on a restart: the same bytes, whatever their clock says.

A file that was replaced may be older than the one before (tar and rsync keep times) and of the same
size. So content decides, never time: of a packed file (gzip, or a zip such as .npz) its size and
both ends, since its last bytes hold the checksums of all that is in it; of every other file all
bytes.
"""

import hashlib
from pathlib import Path

from mg3d.volumes.readers.metaimage import MOST_HEADER, is_metaimage, read_meta_header

__all__ = ["files_of", "fingerprint", "size_on_disk"]

PACKED = (b"\x1f\x8b", b"PK\x03\x04")  # how gzip and zip files start
END = 1 << 16  # bytes of each end of a packed file
CHUNK = 1 << 20


def files_of(source: Path) -> list[Path]:
    """The files that a volume is read from.

    A file; or the files of a folder of slices (not of folders in it); or a MetaImage header and the
    file that it names.
    """
    if source.is_dir():
        return sorted(path for path in source.iterdir() if path.is_file())
    if not is_metaimage(source):
        return [source]
    try:
        with source.open("rb") as file:
            data = read_meta_header(source, file.read(MOST_HEADER)).data
    except (ValueError, OSError):  # damaged: reading it will say so
        return [source]
    return [source] if data == source else [source, data]


def size_on_disk(source: Path) -> int:
    """Bytes of a volume's file, or of all files it is made of."""
    return sum(path.stat().st_size for path in files_of(source))


def fingerprint(source: Path) -> str:
    """A text that changes with the bytes of a volume's files, and with nothing else.

    Raises:
        OSError: if a file is missing or cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in files_of(source):
        name = path.name if source.is_dir() else ""  # the order of slices is in their names
        digest.update(f"{name}\0{path.stat().st_size}\0".encode("utf-8", "surrogateescape"))
        _add_content(path, digest)
    return digest.hexdigest()


def _add_content(path: Path, digest: hashlib.blake2b) -> None:
    with path.open("rb") as file:
        start = file.read(END)
        digest.update(start)
        if start.startswith(PACKED):
            size = path.stat().st_size
            file.seek(max(END, size - END))
        while chunk := file.read(CHUNK):
            digest.update(chunk)
