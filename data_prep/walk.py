"""List the files below a folder of raw data; links are followed, files of the system skipped.

Downloads are often shared as trees of symbolic links, and contain files of operating systems
(`._scan.nii.gz` of macOS archives, `Thumbs.db` of Windows). All importers list folders by this
module.
"""

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mg3d.preparation.records import Refusal, ScanRecord, named
from mg3d.volumes.readers.payload import leads_nowhere

__all__ = [
    "Tree",
    "describe_skipped",
    "is_left_behind",
    "refuse_lost_links",
    "refuse_misnamed",
    "walk",
]

LOG = logging.getLogger("mg3d.preparation")  # shown by the command line
LEFT_BEHIND = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r"}


@dataclass
class Tree:
    """All files and folders below a folder, sorted by name.

    Attributes:
        files: including broken links, so that the reader refuses them by name.
        folders: without the folder itself.
        skipped: files and folders of operating systems.
    """

    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)

    def add(self, other: "Tree") -> None:
        """Add the files and folders of another tree."""
        self.files += other.files
        self.folders += other.folders
        self.skipped += other.skipped

    def under(self, folder: Path) -> "Tree":
        """The part of the tree below one of its folders."""
        return Tree(
            *(
                [p for p in paths if p.is_relative_to(folder) and p != folder]
                for paths in (self.files, self.folders, self.skipped)
            )
        )


def is_left_behind(name: str) -> bool:
    """Whether a name belongs to a file or folder that operating systems create."""
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
    """Entry of dataset.json for the skipped files, {} if there are none; also logs them.

    Args:
        tree: from `walk`.
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


def refuse_lost_links(
    tree: Tree, root: Path, records: Iterable[ScanRecord], refused: list[Refusal]
) -> None:
    """Refuse by name every link that leads nowhere, whatever it is called.

    Args:
        tree: what was walked.
        root: files are named relative to it.
        records: a link that is a record's volume or masks is refused when that is read.
        refused: gets the others.
    """
    known = {path for record in records for path in (record.volume, record.masks)}
    already = {refusal.file for refusal in refused}
    for path in tree.files:
        file = path.relative_to(root).as_posix()
        if path not in known and file not in already and leads_nowhere(path):
            reason = "a link that leads nowhere; fetch what it stands for, or remove it"
            refused.append(Refusal(file, reason))


def refuse_misnamed(root: Path, names: Iterable[str], refused: list[Refusal]) -> None:
    """Refuse folders whose names differ from an expected one by case or blanks alone.

    Nothing in them would be read, and nobody would miss it.
    """
    expected = {_bare(name): name for name in names}
    found = sorted(root.iterdir()) if root.is_dir() else []
    for path in found:
        name = expected.get(_bare(path.name), path.name)
        if name == path.name or not path.is_dir():
            continue
        if (root / name).exists() and path.samefile(root / name):  # a disk that ignores case
            continue
        reason = f"nothing in it was read: expected the name {name}; rename the folder"
        refused.append(Refusal(path.name, reason))


def _bare(name: str) -> str:
    return "".join(name.casefold().split())


def _walk(
    folder: Path, above: tuple[str, ...], linked: bool, entered: set[str], tree: Tree
) -> None:
    """Add the files and folders below a folder to the tree.

    Args:
        folder: the folder.
        above: real paths of the folder and of all its parents on the path walked, to detect loops.
        linked: whether the path walked contains a link. Then no folder is entered a second time:
            folders that link to one another have exponentially many paths.
        entered: real paths of all folders entered so far.
        tree: receives files and folders.
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
    """Whether it is a folder or a link to one; False for a link to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False
