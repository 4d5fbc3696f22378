"""Which files lie below a folder of raw data: links are followed, what is no data is skipped.

Downloads are often shared as trees of symbolic links, and carry what operating systems leave behind
(`._scan.nii.gz` of a Mac's archive, `Thumbs.db` of Windows). No importer lists folders in a way of
its own.
"""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mg3d.preparation.records import named

__all__ = ["Tree", "describe_skipped", "is_left_behind", "walk"]

LOG = logging.getLogger("mg3d.preparation")  # what a command shows while it works
LEFT_BEHIND = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r"}


@dataclass
class Tree:
    """What lies below a folder, in the order of the names.

    Attributes:
        files: also links that lead nowhere, so that whoever reads one refuses it by name.
        folders: without the folder itself.
        skipped: what operating systems leave behind.
    """

    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)

    def add(self, other: "Tree") -> None:
        """Take in another folder's."""
        self.files += other.files
        self.folders += other.folders
        self.skipped += other.skipped

    def under(self, folder: Path) -> "Tree":
        """What lies below one of the folders."""
        return Tree(
            *(
                [p for p in paths if p.is_relative_to(folder) and p != folder]
                for paths in (self.files, self.folders, self.skipped)
            )
        )


def is_left_behind(name: str) -> bool:
    """Whether a file or folder of this name is an operating system's and never data."""
    return name.startswith(".") or name.lower() in LEFT_BEHIND


def walk(folder: Path) -> Tree:
    """Everything below a folder; nothing if there is no such folder.

    Symbolic links are followed, to files and to folders. A link back to a folder that it lies in
    is not entered, so that a loop ends.
    """
    tree = Tree()
    if folder.is_dir():
        _walk(folder, (os.path.realpath(folder),), False, set(), tree)
    for paths in (tree.files, tree.folders, tree.skipped):
        paths.sort()
    return tree


def describe_skipped(tree: Tree, root: Path) -> dict[str, Any]:
    """What dataset.json says of the files that were skipped, {} if none was; and say so.

    Args:
        tree: what was walked.
        root: files are named relative to it.
    """
    skipped = [path.relative_to(root).as_posix() for path in tree.skipped]
    if not skipped:
        return {}
    LOG.warning(
        "%d files that operating systems leave behind were skipped, first %s",
        len(skipped),
        skipped[0],
    )
    return {"skipped_files": named(skipped)}


def _walk(
    folder: Path, above: tuple[str, ...], linked: bool, entered: set[str], tree: Tree
) -> None:
    """Add what lies in a folder.

    Args:
        folder: which.
        above: real paths of it and of all folders on the way to it.
        linked: whether there was a link on the way; then no folder is entered a second time, since
            folders that link to one another have more ways through them than can be walked.
        entered: real paths of all folders so far.
        tree: gets what is found.
    """
    entered.add(above[-1])
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = Path(entry.path)
        if is_left_behind(entry.name):
            tree.skipped.append(path)
        elif not _is_dir(entry):
            tree.files.append(path)
        else:
            real = os.path.realpath(path)
            if real in above or (linked and real in entered):
                continue
            tree.folders.append(path)
            _walk(path, (*above, real), linked or entry.is_symlink(), entered, tree)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False
