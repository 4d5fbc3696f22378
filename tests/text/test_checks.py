"""Folders that look like a text encoder and are none are refused by name."""

import json
import re
import shutil

import pytest
import torch

from mg3d.text.encoder import EMBEDDED, load_text_encoder

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 3\n"
PAGE = b"<!DOCTYPE html>\n<html><body>log in</body></html>"
VOCABULARY = json.loads((EMBEDDED / "tokenizer.json").read_text())["model"]["vocab"]
WORDS = "\n".join(sorted(VOCABULARY, key=VOCABULARY.get)).encode()


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(EMBEDDED, tmp_path / "bert")


def change_json(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def with_vocabulary(folder, words):
    """A folder with vocab.txt in place of the newer files."""
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    (folder / "vocab.txt").write_bytes(words)


def with_words(folder, rename):
    content = json.loads((folder / "tokenizer.json").read_text())
    words = content["model"]["vocab"]
    content["model"]["vocab"] = {(w if i < 5 else rename(w, i)): i for w, i in words.items()}
    (folder / "tokenizer.json").write_text(json.dumps(content))


def refused(folder, error=ValueError):
    with pytest.raises(error) as caught:
        load_text_encoder(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert re.search("download|use an encoder|check that|put config|Give|use a model", message)
    return message


def test_a_folder_without_a_vocabulary_is_refused_row_22(folder):
    (folder / "tokenizer.json").unlink()
    assert "without which every word would be unknown" in refused(folder, FileNotFoundError)
    (folder / "tokenizer_config.json").unlink()
    assert "it has no tokenizer.json" in refused(folder, FileNotFoundError)


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "model.safetensors", "config.json", "vocab.txt"]
)
@pytest.mark.parametrize(
    "content, what",
    [
        (LFS, "is a Git LFS pointer"),
        (PAGE, "is a web page"),
        (b"", r"is empty"),
        (b"\n", "is empty"),
    ],
    ids=["pointer", "page", "empty", "blank"],
)
def test_what_a_failed_download_leaves_is_named_row_22b(folder, name, content, what):
    if name == "vocab.txt":
        (folder / "tokenizer.json").unlink()
    (folder / name).write_bytes(content)
    message = refused(folder)
    assert f"{folder / name} {what}" in message
    assert "oid" not in message and "log in" not in message


@pytest.mark.parametrize(
    "name, content, what",
    [
        ("model.safetensors", (EMBEDDED / "model.safetensors").read_bytes()[:50_000], "cut off"),
        ("tokenizer.json", (EMBEDDED / "tokenizer.json").read_bytes()[:5_000], "no JSON"),
        ("tokenizer.json", b"[1]", "must hold a JSON object"),
        ("tokenizer.json", b'{"version": "1.0"}', "holds no tokenizer"),
        ("tokenizer.json", b'{"added_tokens": [], "model": {"type": "X"}}', "holds no tokenizer"),
        ("config.json", b'{"model_type": "cxr-bert"}', "does not recognize"),
        ("config.json", b'{"hidden_size": 3}', "model_type"),
    ],
)
def test_a_damaged_file_is_named_without_a_traceback_row_22b(folder, name, content, what):
    (folder / name).write_bytes(content)
    assert what in refused(folder)


@pytest.mark.parametrize("content", [b"not a pickle " * 9, b"PK\x03\x04 cut off", b"\x80\x02."])
def test_damaged_weights_of_the_older_format_are_refused_row_22b(folder, content):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    message = refused(folder)
    assert "weights may be cut off" in message
    assert "weights_only" not in message  # torch's advice to run what is in the file


def test_embeddings_of_another_size_are_named_row_22b(folder, capfd):
    change_json(folder / "config.json", vocab_size=1200)
    assert "1 have another shape (first ['embeddings.word_embeddings.weight'])" in refused(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_folder_that_asks_for_its_own_code_is_refused_unasked_row_22c(folder, name, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    change_json(folder / name, auto_map={"AutoModel": "modeling.Model"})
    (folder / "modeling.py").write_text("raise SystemExit('was run')")
    assert f"{folder / name} asks for Python code of its own" in refused(folder)


def test_a_tokenizer_of_a_larger_or_much_smaller_model_is_refused_row_22(folder):
    with_vocabulary(folder, WORDS + b"\nxthorax\nxlobe")
    message = refused(folder)
    assert "knows 1002 tokens" in message and "1000 rows, so 2 tokens have none" in message
    (folder / "vocab.txt").write_bytes(b"\n".join(WORDS.split(b"\n")[:300]))
    assert "knows 300 tokens" in refused(folder)


def test_a_vocabulary_of_another_language_or_case_is_refused_row_22(folder):
    with_words(folder, lambda word, i: chr(0x4E00 + i))
    assert re.search(r"makes (\d+) of \1 tokens", refused(folder))
    shutil.copy(EMBEDDED / "tokenizer.json", folder)
    with_words(folder, lambda word, _: word.upper())
    assert "lower-case words" in refused(folder)


@pytest.mark.parametrize("words", [WORDS, WORDS.replace(b"\n", b"\r\n"), WORDS + b"\n"])
def test_a_vocabulary_as_plain_text_gives_the_same_tokens(folder, words):
    with_vocabulary(folder, words)
    report = "no pleural effusion was detected."
    expected = load_text_encoder("embedded").tokenizer(report)["input_ids"]
    assert load_text_encoder(folder).tokenizer(report)["input_ids"] == expected


def test_a_cased_tokenizer_reads_lower_cased_reports_as_they_are(folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    content["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(content))
    report = "no pleural effusion was detected."
    expected = load_text_encoder("embedded").tokenizer(report)["input_ids"]
    assert load_text_encoder(folder).tokenizer(report)["input_ids"] == expected


@pytest.mark.parametrize("role", ["mask", "pad", "cls", "sep"])
def test_a_tokenizer_without_a_special_token_is_refused(folder, role):
    change_json(folder / "tokenizer_config.json", **{f"{role}_token": None})
    assert f"has no {role} token" in refused(folder)


def test_a_generator_s_tokenizer_is_refused(folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(content | {"post_processor": None}))
    assert "puts none around a text" in refused(folder)


def test_a_vocabulary_without_special_tokens_is_refused(folder):
    with_vocabulary(folder, b"lung\nheart\n")
    assert "of 2 lines none is [CLS], [MASK], [PAD], [SEP], [UNK]" in refused(folder)


def test_an_embedding_table_padded_to_a_round_size_is_taken(folder):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = "embeddings.word_embeddings.weight"
    tensors[name] = torch.cat([tensors[name], torch.zeros(24, tensors[name].shape[1]).half()])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    change_json(folder / "config.json", vocab_size=1024)
    assert load_text_encoder(folder).vocabulary_size == 1024
