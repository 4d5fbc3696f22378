import sys
import time

import pytest
import torch

from benchmarks.measure import Parts, alternate, extra_gib, forget_peak, machine, round_to

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the peak is Linux's to forget")


def test_functions_take_turns_and_the_first_turn_does_not_count():
    called = []
    seconds = alternate({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 2)
    assert "".join(called) == "ababab"
    assert set(seconds) == {"a", "b"}
    slow_once = iter([0.4, 0.0])
    assert alternate({"a": lambda: time.sleep(next(slow_once))}, 1)["a"]["median_seconds"] < 0.1


@LINUX
def test_the_peak_of_a_call_is_what_it_held_at_most():
    def hold():
        block = torch.ones(2**26)  # 256 MiB
        del block

    assert extra_gib(hold) == pytest.approx(0.25, abs=0.02)
    assert extra_gib(lambda: None) < 0.01


@LINUX
def test_each_part_has_its_own_seconds_and_its_own_peak():
    parts = Parts()
    with parts.part("large"):
        block = torch.ones(2**26)
        del block
    with parts.part("slow"):
        time.sleep(0.05)
    with parts.part("slow"):
        time.sleep(0.05)
    assert parts.peaks["large"] - parts.peaks["slow"] == pytest.approx(0.25, abs=0.05)
    assert parts.seconds["slow"] >= 0.1
    assert parts.cpu_seconds["slow"] < 0.1


@LINUX
def test_what_is_held_between_parts_belongs_to_the_rest():
    parts = Parts()
    with parts.part("before"):
        pass
    block = torch.ones(2**26)
    del block
    with parts.part("after"):
        pass
    assert parts.peaks["rest"] - parts.peaks["after"] == pytest.approx(0.25, abs=0.05)


def test_a_module_s_passes_are_counted_and_those_inside_belong_to_the_outer():
    inner = torch.nn.Linear(2, 2)
    outer = torch.nn.Sequential(inner)
    parts = Parts()
    parts.watch(outer, lambda x: f"outer {len(x)}")
    parts.watch(inner, "inner")
    outer(torch.ones(3, 2))
    outer(torch.ones(4, 2))
    inner(torch.ones(1, 2))
    assert list(parts.seconds) == ["outer 3", "outer 4", "inner"]
    parts.clear()
    assert not parts.seconds and not parts.cpu_seconds and not parts.peaks


def test_where_the_peak_cannot_be_forgotten_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr("benchmarks.measure._FORGET_PEAK", tmp_path / "nowhere" / "clear_refs")
    assert not forget_peak()
    assert extra_gib(lambda: None) is None
    parts = Parts()
    with parts.part("any"):
        pass
    assert parts.seconds and not parts.peaks


def test_the_machine_is_described_without_its_name():
    described = machine()
    assert described["threads"] == torch.get_num_threads()
    assert described["cores"] >= 1


def test_numbers_keep_their_leading_digits():
    assert round_to({"a": [123456.0, 0.00123456], "b": 7, "c": "x", "d": None}) == {
        "a": [123500.0, 0.001235],
        "b": 7,
        "c": "x",
        "d": None,
    }
