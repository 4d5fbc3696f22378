"""Fingerprint of raw files: on a restart, decide by content whether a file has changed.

Modification times are not used: a replaced file may be older than the one before (tar and rsync
keep times) and have the same size. Of a compressed file (gzip, or a zip such as .npz) the size and
both ends are hashed, since its last bytes hold checksums of the whole content; of every other file
all bytes are.
"""

import hashlib
from pathlib import Path

from mg3d.volumes.readers.metaimage import MOST_HEADER, is_metaimage, read_meta_header

__all__ = ["files_of", "fingerprint", "size_on_disk"]

PACKED = (b"\x1f\x8b", b"PK\x03\x04")  # first bytes of gzip and zip files
END = 1 << 16  # bytes hashed at each end of a compressed file
CHUNK = 1 << 20


def files_of(source: Path) -> list[Path]:
    """The files that a volume is read from.

    Either the file itself, or the files of a folder of slices (without subfolders), or a MetaImage
    header and the file that it names.
    """
    if source.is_dir():
        return sorted(path for path in source.iterdir() if path.is_file())
    if not is_metaimage(source):
        return [source]
    try:
        with source.open("rb") as file:
            data = read_meta_header(source, file.read(MOST_HEADER)).data
    except (ValueError, OSError):  # damaged: reported when the volume is read
        return [source]
    return [source] if data == source else [source, data]


def size_on_disk(source: Path) -> int:
    """Total size of a volume's files, bytes."""
    return sum(path.stat().st_size for path in files_of(source))


def fingerprint(source: Path) -> str:
    """A hash of the contents of a volume's files, independent of times and folders.

    Raises:
        OSError: if a file is missing or cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in files_of(source):
        name = path.name if source.is_dir() else ""  # names decide the order of slices
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
