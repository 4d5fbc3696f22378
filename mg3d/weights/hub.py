"""`save_pretrained`, `from_pretrained`, `push_to_hub`, as users of Hugging Face know them.

A saved model is a folder: `model.safetensors`, `config.json` (everything needed to build the module
again) and a model card, `README.md`. Given a folder, nothing touches the network; given a name like
"someone/model", `huggingface_hub` fetches the folder, or finds it in its cache.
"""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeVar

from torch import nn

from mg3d import __version__
from mg3d.weights.card import UNKNOWN, About, write_card
from mg3d.weights.doctor import Report, diagnose, fill
from mg3d.weights.files import read_weights

MODEL, CONFIG = "model.safetensors", "config.json"
MODEL_TYPE = "mg3d"
SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
Model = TypeVar("Model", bound="HubModel")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class HubModel(nn.Module):
    """A module that can be saved as a folder, found again, and shared.

    A subclass says in `_hub_settings` what it was built from and builds itself from that again in
    `_from_hub_settings`.
    """

    hub_part: ClassVar[str]  # "encoder", "model" or "pretraining"

    def _hub_settings(self) -> dict[str, Any]:
        raise NotImplementedError

    @classmethod
    def _from_hub_settings(cls, settings: dict[str, Any], source: Path, **given: Any) -> Any:
        raise NotImplementedError

    def save_pretrained(self, folder: str | Path, *, about: About | None = None) -> Path:
        """Write weights, config and model card to a folder; return it.

        Args:
            folder: made if it is not there; files of the same names are replaced.
            about: licence, training data and scores for the card.
        """
        from safetensors.torch import save_file

        config = {
            "model_type": MODEL_TYPE,
            "part": self.hub_part,
            "mg3d_version": __version__,
            **self._hub_settings(),
        }
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.detach().contiguous() for name, value in self.state_dict().items()}
        save_file(state, folder / MODEL, metadata={"format": "pt"})
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        write_card(folder, self.hub_part, config, about or About())
        return folder

    @classmethod
    def from_pretrained(
        cls: type[Model],
        folder_or_id: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        **given: Any,
    ) -> Model:
        """Build the module of a folder that `save_pretrained` wrote, filled with its weights.

        Every tensor must be there; other kinds of files are for `mg3d.load_pretrained`.

        Args:
            folder_or_id: a folder (nothing is fetched), or "someone/model" on the hub.
            revision: of the hub's repository.
            token: for private repositories.
            given: what is not saved, by name: `text_encoder`, where one is needed.

        Raises:
            FileNotFoundError: if there is no such folder, or the hub cannot be asked.
            ValueError: if it holds something else, or the weights do not fill the module.
        """
        folder = find_folder(folder_or_id, revision=revision, token=token)
        config = read_hub_config(folder)
        if config["part"] != cls.hub_part:
            raise ValueError(
                f"{folder} holds a '{config['part']}', where {cls.__name__} reads a "
                f"'{cls.hub_part}'; use mg3d.load_pretrained(..., part='{cls.hub_part}'), which "
                "takes one out of the other"
            )
        module = cls._from_hub_settings(config, folder / CONFIG, **given)
        file = read_weights(folder / MODEL)
        about = Report(
            source=str(file.path),
            layout="mg3d",
            target=type(module).__name__,
            min_share=1.0,
        )
        report = diagnose(
            file.tensors, module, lambda key: key, is_inside=lambda key: True, about=about
        )
        fill(module, file.tensors, report)
        return module.eval()

    def push_to_hub(
        self,
        repo_id: str,
        *,
        about: About,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Upload an MG-3D model",
    ) -> str:
        """Save to a temporary folder and upload it; return the address of the repository.

        Args:
            repo_id: "someone/model"; made if it is not there.
            about: for the card; the licence of the weights must be stated.
            private: who may see a new repository; None: the account's default.
            token: of the account; None: the one `hf auth login` stored.
            commit_message: of the upload.

        Raises:
            ValueError: if no licence is stated.
        """
        if about.licence == UNKNOWN:
            raise ValueError(
                "weights that are shared need a licence, and none was stated; pass "
                "about=About(licence='apache-2.0', training_data=...), as the data's owner allows"
            )
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, about=about)
            url = api.create_repo(repo_id=repo_id, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=commit_message)
        return str(url)


def find_folder(
    folder_or_id: str | Path,
    *,
    filename: str | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> Path:
    """A folder or file on this machine; a name on the hub is fetched or found in its cache.

    Args:
        folder_or_id: a path that exists, or "someone/model".
        filename: one file of the hub's repository, instead of a folder that mg3d wrote.
        revision: of the hub's repository.
        token: for private repositories.

    Raises:
        FileNotFoundError: if it is neither a path nor a name that the hub gives.
    """
    path = Path(folder_or_id).expanduser()
    if path.exists():
        return path / filename if filename else path
    name = str(folder_or_id)
    if not _HUB_NAME.fullmatch(name) or name.startswith(".") or name.endswith(SUFFIXES):
        raise FileNotFoundError(
            f"{folder_or_id} is no file or folder on this machine, and no name on the hub "
            "(someone/model); check the path"
        )
    from huggingface_hub import constants, hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        if filename:
            return Path(hf_hub_download(name, filename, revision=revision, token=token))
        patterns = [CONFIG, MODEL, "state.json"]
        return Path(
            snapshot_download(name, revision=revision, token=token, allow_patterns=patterns)
        )
    except (OSError, ValueError, EntryNotFoundError) as error:
        offline = constants.HF_HUB_OFFLINE
        way_out = (
            "HF_HUB_OFFLINE is set and it is not in the local cache; unset it, or download the "
            f"folder where there is a network (`hf download {name} --local-dir FOLDER`) and give it"
            if offline
            else "check the name, the network and, for a private one, the token"
        )
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FileNotFoundError(
            f"{folder_or_id} is no path on this machine and could not be had from the hub "
            f"({reason}); {way_out}"
        ) from error


def read_hub_config(folder: Path) -> dict[str, Any]:
    """The config.json that `save_pretrained` wrote.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it belongs to something else.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} has no {CONFIG}, so it is no folder that save_pretrained wrote; for a run's "
            "folder or another kind of checkpoint use mg3d.load_pretrained"
        )
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); save the model again") from error
    if not isinstance(config, dict) or config.get("model_type") != MODEL_TYPE or (
        "part" not in config
    ):  # fmt: skip
        kind = config.get("model_type") if isinstance(config, dict) else None
        raise ValueError(
            f"{path} is not the config of an mg3d model (model_type {kind!r}); for a run's folder "
            "or another kind of checkpoint use mg3d.load_pretrained"
        )
    return config
