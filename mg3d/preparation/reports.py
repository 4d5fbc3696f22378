"""Count how much of the reports exceeds a model's token limit, for dataset.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from mg3d.config import find_preset
from mg3d.text.limit import LeftOut, Parts, count_left_out
from mg3d.text.tokenizer_file import find_tokenizer


def reader_of(preset: str) -> dict[str, Any]:
    """The text settings of a model preset, as JSON: encoder, token limit, way of cutting."""
    network = find_preset(preset).network
    return {
        "preset": preset,
        "text_encoder": network.text_encoder,
        "max_tokens": network.max_tokens,
        "report_cut": network.report_cut,
    }


def count_reports(rows: Sequence[Mapping[str, Any]], reader: Mapping[str, Any]) -> LeftOut | None:
    """Count what exceeds the token limit, each scan's report once; None without reports.

    Args:
        rows: of the manifest.
        reader: from `reader_of`.
    """
    by_scan = {row["scan_id"]: (row["findings"], row["impression"]) for row in rows}
    reports = [Parts.of(*texts) for texts in by_scan.values() if any(texts)]
    if not reports:
        return None
    tokenizer, name = find_tokenizer(reader["text_encoder"])
    return count_left_out(
        tokenizer, reports, reader["max_tokens"], report_cut=reader["report_cut"], name=name
    )
