import argparse
import gzip
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from mg3d.weights.files import read_weights

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


class Planted:
    """Runs a command when it is unpickled."""

    def __init__(self, touched):
        self.touched = touched

    def __reduce__(self):
        return open, (str(self.touched), "w")


def same(file):
    assert file.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(file.tensors[name], TENSORS[name]) for name in TENSORS)
    return file


def test_every_format_gives_the_same_tensors_whatever_its_name(tmp_path):
    save_file(TENSORS, tmp_path / "a.safetensors")
    torch.save(TENSORS, tmp_path / "a.pt")
    torch.save(TENSORS, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    (tmp_path / "misnamed.pth").write_bytes((tmp_path / "a.safetensors").read_bytes())
    for name in ("a.safetensors", "a.pt", "old.bin", "misnamed.pth"):
        assert same(read_weights(tmp_path / name)).left_out == {}


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "net", "student", "network_weights"])
def test_what_surrounds_the_weights_is_left_out_by_name(tmp_path, wrapper):
    around = {"epoch": 3, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}, "loss": None}
    torch.save({**around, wrapper: TENSORS}, tmp_path / "a.pt")
    file = same(read_weights(tmp_path / "a.pt"))
    assert file.wrapper == wrapper
    assert file.left_out.keys() == around.keys()
    assert file.left_out["epoch"] == "no weights: int"


def test_of_two_sets_of_weights_the_student_is_taken_and_the_teacher_named(tmp_path):
    torch.save({"teacher": {"a": torch.zeros(1)}, "student": TENSORS}, tmp_path / "a.pt")
    file = same(read_weights(tmp_path / "a.pt"))
    assert file.left_out == {"teacher": "another set of weights; those in 'student' were taken"}


def test_wrappers_may_stand_in_one_another(tmp_path):
    torch.save({"model": {"state_dict": TENSORS, "version": 1}, "step": 2}, tmp_path / "a.pt")
    file = same(read_weights(tmp_path / "a.pt"))
    assert file.wrapper == "model.state_dict"
    assert file.left_out.keys() == {"model.version", "step"}


def test_entries_without_tensor_stand_beside_flat_weights(tmp_path):
    torch.save({**TENSORS, "epoch": 1, 7: torch.ones(1)}, tmp_path / "a.pt")
    assert same(read_weights(tmp_path / "a.pt")).left_out == {
        "epoch": "no weights: int",
        "7": "has no name",
    }


def test_code_in_a_file_is_never_run(tmp_path):
    touched = tmp_path / "touched"
    for new_format in (True, False):
        torch.save(
            {"state_dict": TENSORS, "hook": Planted(touched)},
            tmp_path / "a.ckpt",
            _use_new_zipfile_serialization=new_format,
        )
        with pytest.raises(ValueError, match=r"run code from the file.*safetensors") as refused:
            read_weights(tmp_path / "a.ckpt")
        assert str(tmp_path / "a.ckpt") in str(refused.value)
        assert not touched.exists()


def test_a_pickled_object_is_named(tmp_path):
    torch.save({"state_dict": TENSORS, "args": argparse.Namespace(lr=1.0)}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"more than plain tensors \(argparse.Namespace\)"):
        read_weights(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "is a web page"),
        (b"\n  <html lang='en'>", "is a web page"),
        (b'{"error": "Access denied"}', r"is text \(JSON\)"),
        (gzip.compress(b"x", mtime=0), "compressed archive; unpack it"),
        (b"\x93NUMPY\x01\x00" + bytes(200), "neither a .safetensors file nor"),
        (b"short", "neither a .safetensors file nor"),
        (b"\x80\x02}q\x00.", "is cut off or damaged"),
    ],
)
def test_a_file_that_is_no_weights_says_what_it_is(tmp_path, content, message):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        read_weights(tmp_path / "a.pt")
    assert str(tmp_path / "a.pt") in str(refused.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    save_file(TENSORS, tmp_path / "a.safetensors")
    torch.save(TENSORS, tmp_path / "a.pt")
    torch.save(TENSORS, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    for name in ("a.safetensors", "a.pt", "old.bin"):
        # Cut inside a name, the older format asks for code of that half name.
        message = "cut off|run code" if name == "old.bin" else "cut off|neither a"
        whole = (tmp_path / name).read_bytes()
        for kept in range(1, len(whole), 13):
            (tmp_path / name).write_bytes(whole[:kept])
            with pytest.raises(ValueError, match=message):
                read_weights(tmp_path / name)


def test_a_cut_off_file_says_how_much_is_missing(tmp_path):
    save_file({"a": torch.zeros(1000)}, tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole[:-1000])
    promised, there = len(whole), len(whole) - 1000
    with pytest.raises(ValueError, match=f"promises {promised:,} bytes and {there:,} are there"):
        read_weights(tmp_path / "a.safetensors")


def test_an_archive_of_something_else_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("weights/readme.txt", "hello")
    with pytest.raises(ValueError, match=r"torch.save did not write \(first entry weights/readme"):
        read_weights(tmp_path / "a.pt")


def test_a_file_without_tensors_lists_its_entries(tmp_path):
    torch.save({"epoch": 1, "args": {"lr": 0.1}}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="no tensor by name; its entries are epoch, args"):
        read_weights(tmp_path / "a.pt")
    torch.save(torch.ones(3), tmp_path / "b.pt")
    with pytest.raises(ValueError, match="holds a Tensor, where a mapping"):
        read_weights(tmp_path / "b.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.pt is not a file"):
        read_weights(tmp_path / "gone.pt")
