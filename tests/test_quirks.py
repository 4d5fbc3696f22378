"""The table of quirks: one line for each, naming files and settings that exist."""

import re
from dataclasses import fields, replace
from functools import reduce
from pathlib import Path

import pytest

from mg3d.config import PRESETS, RELEASED_QUIRKS, Quirks

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "docs" / "quirks.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TABLE.read_text(encoding="utf-8").splitlines()
    if re.match(r"\| [QR]\d", line)
]
NAMED = sorted(set(re.findall(r"`([^`]+)`", TABLE.read_text(encoding="utf-8"))))


def test_every_quirk_and_every_repair_has_exactly_one_line():
    wanted = [f"Q{i}" for i in range(1, 38)] + [f"R{i}" for i in range(1, 11)]
    assert [row[0] for row in ROWS] == wanted
    assert all(len(row) == (5 if row[0].startswith("Q") else 3) for row in ROWS)
    assert all(cell for row in ROWS for cell in row)


@pytest.mark.parametrize("row", [r for r in ROWS if r[0].startswith("Q")], ids=lambda r: r[0])
def test_each_line_says_what_was_decided_and_where(row):
    assert re.search(r"\b(followed|fixed|left out)\b", row[2]), row[2]
    assert re.fullmatch(r"`mg3d/[\w/]+\.py`(, `mg3d/[\w/]+\.py`)*", row[3]), row[3]


@pytest.mark.parametrize("name", [n for n in NAMED if "/" in n or n.endswith(".toml")])
def test_named_files_exist(name):
    assert (ROOT / name).exists()


@pytest.mark.parametrize("name", [n for n in NAMED if n.startswith("config.")])
def test_named_settings_exist(name):
    reduce(getattr, name.split(".")[1:], PRESETS["paper"])


def test_every_quirk_that_can_be_switched_on_is_told_once():
    text = TABLE.read_text(encoding="utf-8")
    for item in fields(Quirks):
        assert text.count(f"`config.quirks.{item.name}`") == 1, item.name


def test_no_preset_has_a_quirk_and_the_released_ones_are_all_of_them():
    for name, preset in PRESETS.items():
        assert preset.quirks == Quirks(), name
    assert all(getattr(RELEASED_QUIRKS, item.name) for item in fields(Quirks))


def test_a_negative_number_of_tokens_is_refused():
    with pytest.raises(
        ValueError, match=r"quirks\.padded_to is a whole number \(at least 0\), got -1"
    ):
        replace(RELEASED_QUIRKS, padded_to=-1)
