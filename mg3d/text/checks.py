"""Is a text encoder what it seems to be? Its files are checked before loading, its tokenizer after.

A library that makes up what is missing gives numbers that mean nothing: without a vocabulary,
transformers 5 makes a tokenizer of five special tokens, for which every word is [UNK] and any two
sentences are equal.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from mg3d.text.prompts import PROMPTS

VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
INDEX = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
OWN_CODE = "auto_map"  # key of a configuration that names Python files to be run
AGAIN = "download the model again (`hf download NAME --local-dir FOLDER`)"
UNUSED = 1024  # rows of the embedding table, at most, that no token uses: padding, reserved tokens
UNKNOWN = 0.2  # share of the tokens of plain English sentences that may be unknown


def check_files(folder: Path) -> None:
    """Look at the files of a text encoder's folder without running anything in them.

    Args:
        folder: with config.json, weights and a vocabulary in Hugging Face format.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if one is empty, damaged, something else, or asks for code to be run.
    """
    _need(folder, ("config.json",), "says how large the model is")
    _need(folder, (*WEIGHTS, *INDEX), "holds the weights")
    _need(folder, VOCABULARIES, "holds the vocabulary, without which every word would be unknown")
    for name in ("config.json", "tokenizer_config.json", "tokenizer.json"):
        if (folder / name).is_file():
            _refuse_what_is_no_file(folder / name)
            _check_json(folder / name)
    for name in (*VOCABULARIES[1:], *WEIGHTS, *INDEX):
        if (folder / name).is_file():
            _refuse_what_is_no_file(folder / name)
    if (folder / "tokenizer.json").is_file():
        _check_tokenizer_file(folder / "tokenizer.json")
    if (folder / "vocab.txt").is_file() and not (folder / "tokenizer.json").is_file():
        _check_vocabulary(folder / "vocab.txt")
    for path in sorted(folder.glob("model*.safetensors")):
        _check_safetensors(path)


def check_tokenizer(name: str, tokenizer: Any, table_rows: int) -> None:
    """Ask a loaded tokenizer whether it belongs to the model and reads English.

    Args:
        name: of the text encoder, for messages.
        tokenizer: a Hugging Face tokenizer.
        table_rows: of the model's embedding table.

    Raises:
        ValueError: if it is a slow one, lacks a special token, does not fit the table, or makes
            unknown tokens of common words.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"text encoder {name} needs a fast tokenizer, which knows where its tokens come from; "
            f"got {type(tokenizer).__name__}: save it once as tokenizer.json"
        )
    _check_special_tokens(name, tokenizer)
    _check_size(name, tokenizer, table_rows)
    _check_words(name, tokenizer)


def _need(folder: Path, names: tuple[str, ...], role: str) -> None:
    if not any((folder / name).is_file() for name in names):
        raise FileNotFoundError(
            f"text encoder {folder} needs config.json, model.safetensors (or pytorch_model.bin) "
            f"and a tokenizer (tokenizer.json or vocab.txt) in one folder; it has no {names[0]}, "
            f"which {role}; {AGAIN} and give that folder, or use 'embedded'"
        )


def _refuse_what_is_no_file(path: Path) -> None:
    """What a download that went wrong leaves in the place of a file."""
    with path.open("rb") as file:
        head = file.read(512)
    start = head.lstrip().lower()
    if not head.strip():
        what = f"is empty ({path.stat().st_size} bytes)"
    elif head.startswith(b"version https://git-lfs"):
        what = "is a Git LFS pointer, which only names the file; run `git lfs pull`, or"
    elif start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        what = "is a web page: a link to a page was saved, or a login was asked for;"
    else:
        return
    raise ValueError(f"{path} {what} {AGAIN}" if what[-1] in ";r" else f"{path} {what}; {AGAIN}")


def _check_json(path: Path) -> None:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON file (cut off?); {AGAIN}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, got a {type(content).__name__}; {AGAIN}")
    if content.get(OWN_CODE):
        raise ValueError(
            f"{path} asks for Python code of its own to be run ({OWN_CODE}), which is never done "
            "here; use a model of a family that transformers knows (BERT, RoBERTa, ELECTRA), or "
            "save its weights as one"
        )


def _check_tokenizer_file(path: Path) -> None:
    content = json.loads(path.read_text("utf-8"))
    if not {"model", "added_tokens"} <= content.keys():
        raise ValueError(f"{path} holds no tokenizer: no model, or no added tokens; {AGAIN}")
    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ValueError(f"{path} holds no tokenizer that can be built; {AGAIN}") from error


def _check_vocabulary(path: Path) -> None:
    """One token a line, and BERT's special ones among them."""
    try:
        tokens = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text; {AGAIN}") from error
    missing = {"[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"} - set(tokens)
    if missing:
        raise ValueError(
            f"{path} is no BERT vocabulary: of {len(tokens)} lines none is "
            f"{', '.join(sorted(missing))}; {AGAIN}"
        )


def _check_safetensors(path: Path) -> None:
    try:
        with safe_open(str(path), framework="numpy"):
            pass
    except SafetensorError as error:
        raise ValueError(f"{path} is cut off or damaged; {AGAIN}") from error


def _check_special_tokens(name: str, tokenizer: Any) -> None:
    missing = [
        role
        for role in ("mask", "pad", "cls", "sep")
        if getattr(tokenizer, f"{role}_token_id") is None
    ]
    encoded = [] if missing else tokenizer("a", verbose=False)["input_ids"]
    if missing or {encoded[0], encoded[-1]} - set(tokenizer.all_special_ids):
        lacks = f"has no {', '.join(missing)} token" if missing else "puts none around a text"
        raise ValueError(
            f"text encoder {name} needs special tokens to hide words (mask), to fill a batch (pad) "
            f"and around a text (cls, sep), but its tokenizer {lacks}; use an encoder such as BERT "
            "or RoBERTa, not a generator such as GPT, with its own tokenizer files"
        )


def _check_size(name: str, tokenizer: Any, table_rows: int) -> None:
    ids = set(tokenizer.get_vocab().values())
    beyond = sum(number >= table_rows for number in ids)
    unused = table_rows - len(ids)
    if beyond or unused > min(UNUSED, table_rows // 2):
        raise ValueError(
            f"the tokenizer of text encoder {name} knows {len(ids)} tokens, but the model's "
            f"embedding table has {table_rows} rows"
            + (f", so {beyond} tokens have none" if beyond else "")
            + "; they belong to different models: put config.json, weights and tokenizer of one "
            "model into the folder"
        )


def _check_words(name: str, tokenizer: Any) -> None:
    """The prompts of the library are sentences any English tokenizer can read."""
    if tokenizer.unk_token_id is None:  # byte-level: nothing is unknown
        return
    text = " ".join(sentence for sides in PROMPTS.values() for side in sides for sentence in side)
    tokens = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    unknown = tokens.count(tokenizer.unk_token_id)
    if unknown > UNKNOWN * len(tokens):
        raise ValueError(
            f"the tokenizer of text encoder {name} makes {unknown} of {len(tokens)} tokens of "
            "plain English sentences unknown, so it would tell few reports apart; is its "
            "vocabulary English, with lower-case words? Give the model's own tokenizer files"
        )
