"""Decode the text of a table file, or report which other kind of file it is."""

from pathlib import Path

__all__ = ["TableError", "decode"]

OTHERS = {  # first bytes -> kind of file, and what to do
    b"PK\x03\x04": "an Excel workbook (.xlsx) or another zip archive; save it as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "an Excel workbook (.xls); save it as CSV (UTF-8)",
    b"\x1f\x8b": "packed with gzip; unpack it (gunzip)",
    b"BZh": "packed with bzip2; unpack it",
    b"\xfd7zXZ": "packed with xz; unpack it",
    b"(\xb5/\xfd": "packed with zstd; unpack it",
    b"PAR1": "a Parquet table; save it as CSV (UTF-8)",
    b"%PDF": "a PDF document; fetch the table itself",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; run git lfs pull",
}
PAGE = (b"<!doctype", b"<html")


class TableError(ValueError):
    """A table cannot be used; the message names the file, the line and what to do."""


def decode(path: Path) -> str:
    """Decode a file in UTF-8, with or without BOM, or in UTF-16 with one.

    Raises:
        TableError: if the file is empty, of another kind, or in another encoding.
    """
    content = path.read_bytes()
    if not content:
        raise TableError(f"{path}: empty file (0 bytes); fetch it again")
    for start, kind in OTHERS.items():
        if content.startswith(start):
            raise TableError(f"{path}: no text but {kind}")
    if content[:64].lstrip().lower().startswith(PAGE):
        raise TableError(
            f"{path}, line 1, column 1: a web page; was the download authorised? Log in where the "
            "data set is gated, and fetch the file again"
        )
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise TableError(
            f"{path}: not {encoding.removesuffix('-sig').upper()}, byte "
            f"{content[error.start]:#04x} at offset {error.start}; "
            "save it as UTF-8 (the encoding it has is known to whoever wrote it)"
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise TableError(f"{path}, line {line}: NUL byte in the text; fetch the file again")
    return text
