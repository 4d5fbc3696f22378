import ctypes
import platform
import subprocess
import sys

import pytest

from mg3d.training import memory
from mg3d.training.memory import keep_freed_memory, peak_memory_gb


def test_the_peak_is_remembered_when_the_memory_is_given_back():
    code = (
        "from mg3d.training.memory import peak_memory_gb as peak\n"
        "before = peak(); block = bytearray(300_000_000); held = peak(); del block\n"
        "print(before, held, peak())"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    before, held, after = map(float, printed.stdout.split())
    assert 0.25 < held - before < 0.4  # GB of 10^9 bytes
    assert after == pytest.approx(held, abs=0.01)


def test_the_unit_follows_the_system(monkeypatch, tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t 3000000 kB\nVmRSS:\t 1 kB\n")
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    assert peak_memory_gb() == pytest.approx(3.072)
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "nowhere")
    resource = pytest.importorskip("resource")

    class Usage:
        ru_maxrss = 2_000_000  # kilobytes on Linux, bytes on a Mac

    monkeypatch.setattr(resource, "getrusage", lambda _: Usage)
    monkeypatch.setattr(memory.sys, "platform", "linux")
    assert peak_memory_gb() == pytest.approx(2.048)
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert peak_memory_gb() == pytest.approx(0.002)


def test_where_nobody_knows_the_peak_is_0(monkeypatch, tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\n")
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_memory_gb() == 0.0


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="freed memory is glibc's to keep")
def test_glibc_agrees_to_keep_freed_memory():
    code = "from mg3d.training.memory import keep_freed_memory; print(keep_freed_memory())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert printed.stdout.strip() == b"True"


def test_both_thresholds_are_raised_and_a_refusal_is_told(monkeypatch):
    asked = []

    class Library:
        def __init__(self, name, answer=1):
            self.mallopt = lambda option, value: asked.append((option, value)) or answer

    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert keep_freed_memory() is True
    assert asked == [(-3, 32 * 2**20), (-1, 2**31 - 1)]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library(name, answer=0))
    assert keep_freed_memory() is False


@pytest.mark.parametrize("problem", [OSError, AttributeError])
def test_another_c_library_is_left_alone(monkeypatch, problem):
    def missing(name):
        raise problem

    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert keep_freed_memory() is False
    monkeypatch.setattr(memory.sys, "platform", "win32")
    assert keep_freed_memory() is False
