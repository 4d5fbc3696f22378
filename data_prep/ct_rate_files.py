"""Find CT-RATE's volumes on disk: the folders of its releases and the file of each volume.

Source: layout of the CT-RATE data set (Hamamci et al., arXiv 2403.17834), its data correction note.
"""

from pathlib import Path

from data_prep.ct_rate_tables import EXTENSION, NAME, WORDS
from data_prep.walk import Tree, refuse_misnamed, walk
from mg3d.preparation.records import Refusal

__all__ = ["RELEASE_FOLDERS", "find_root", "find_volumes", "walk_releases"]

RELEASE_FOLDERS = {"corrected": "{}_fixed", "first": "{}"}  # preferred first


def find_root(source: Path) -> Path:
    """The folder that holds the releases: the source, or `dataset` in it.

    Raises:
        FileNotFoundError: if neither does.
    """
    folders = [f.format(word) for f in RELEASE_FOLDERS.values() for word in WORDS]
    for root in (source, source / "dataset"):
        if any((root / folder).is_dir() for folder in folders):
            return root
    raise FileNotFoundError(
        f"{source} has none of the folders {', '.join(folders)}; give the folder of CT-RATE that "
        "holds them (see data_prep/README.md for where to get it)"
    )


def walk_releases(root: Path) -> Tree:
    """All that lies in the folders of the releases."""
    tree = Tree()
    for folder in RELEASE_FOLDERS.values():
        for word in WORDS:
            tree.add(walk(root / folder.format(word)))
    return tree


def find_volumes(
    tree: Tree, root: Path, release: str, refused: list[Refusal]
) -> dict[str, tuple[Path, str]]:
    """Volume id -> file and its release; the corrected one where there are both.

    Args:
        tree: what lies in the folders of the releases.
        root: of the data set.
        release: "auto", or a key of `RELEASE_FOLDERS`: that one only.
        refused: gets the files that are no volume, or there twice, and folders whose names are not
            quite those of the releases.
    """
    found: dict[str, tuple[Path, str]] = {}
    names = [folder.format(word) for folder in RELEASE_FOLDERS.values() for word in WORDS]
    refuse_misnamed(root, names, refused)
    releases = RELEASE_FOLDERS if release == "auto" else {release: RELEASE_FOLDERS[release]}
    for kind, folder in releases.items():
        for word in WORDS:
            for path in _volume_files(tree.under(root / folder.format(word))):
                file = path.relative_to(root).as_posix()
                volume_id = EXTENSION.sub("", path.name)
                if not NAME.fullmatch(volume_id) or not volume_id.startswith(f"{word}_"):
                    reason = f"expected a name like {word}_1_a_1.nii.gz; rename or remove it"
                    refused.append(Refusal(file, reason))
                elif volume_id not in found:
                    found[volume_id] = (path, kind)
                elif found[volume_id][1] != kind:
                    reason = "the corrected release of this volume is taken"
                    refused.append(Refusal(file, reason, by_rule=True))
                else:
                    other = found[volume_id][0].relative_to(root).as_posix()
                    refused.append(Refusal(file, f"the same volume as {other}; remove one"))
    return found


def _volume_files(tree: Tree) -> list[Path]:
    """NIfTI files, and folders of DICOM slices, in the order of their names."""
    files = [path for path in tree.files if EXTENSION.search(path.name)]
    return sorted([*files, *(path for path in tree.folders if NAME.fullmatch(path.name))])
