"""The tokenizer of a text encoder without the encoder: to count tokens where nothing is trained."""

from pathlib import Path

from tokenizers import Tokenizer

EMBEDDED = Path(__file__).parent / "embedded"


def find_tokenizer(text_encoder: str) -> tuple[Tokenizer, str]:
    """The tokenizer, and what to call it; nothing is fetched.

    Args:
        text_encoder: "embedded", a folder, or a hub id. Where its tokenizer.json is not on this
            machine, the embedded tokenizer stands in, and the name says so: it cuts real reports
            into more tokens than one that learned from them.
    """
    path = _path_of(text_encoder)
    if path is not None:
        return Tokenizer.from_file(str(path)), text_encoder
    stand_in = f"embedded, in place of {text_encoder}, whose tokenizer.json is not on this machine"
    return Tokenizer.from_file(str(EMBEDDED / "tokenizer.json")), stand_in


def _path_of(text_encoder: str) -> Path | None:
    folder = EMBEDDED if text_encoder == "embedded" else Path(text_encoder).expanduser()
    if folder.is_dir():
        path = folder / "tokenizer.json"
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(text_encoder, "tokenizer.json")
    except HFValidationError:  # a folder that is not there
        return None
    return Path(found) if isinstance(found, str) else None
