"""What is left out of a report that is longer than the model reads, and how it is counted."""

import csv

import pytest
from real_reports import records_of_ctrg
from tokenizers import Tokenizer

from mg3d.config import PRESETS, change
from mg3d.text.encoder import load_text_encoder
from mg3d.text.limit import LeftOut, Parts, count_left_out, limit_report
from mg3d.text.tokenizer_file import EMBEDDED, find_tokenizer

LONG = Parts.of("No node. No mass. No cyst. Lungs are clear.", "Heart is big. End.")


@pytest.fixture(scope="module")
def tokenizer():
    return load_text_encoder("embedded").tokenizer


def test_a_report_that_fits_is_whole_by_either_rule(tokenizer):
    for rule in ("end", "keep_impression"):
        report, left_out = limit_report(tokenizer, LONG, 192, report_cut=rule)
        assert report.sentences == LONG.sentences and report.complete
        assert left_out == LeftOut(
            tokenizer="", max_tokens=192, report_cut=rule, reports=1, sentences=6, impressions=1
        )


def test_the_released_rule_cuts_the_end_and_the_impression_with_it_row_r4(tokenizer):
    lengths = [len(tokenizer.tokenize(sentence)) for sentence in LONG.sentences]
    report, left_out = limit_report(tokenizer, LONG, sum(lengths[:3]) + 3, report_cut="end")
    assert report.sentences == LONG.sentences[:4] and not report.complete
    assert len(report.tokens) == sum(lengths[:3]) + 3
    assert (left_out.reports_cut, left_out.sentences_lost) == (1, 2)
    assert (left_out.impressions_cut, left_out.impressions_lost) == (1, 1)
    assert str(left_out) == (
        "reports: 1 of 1 are longer than max_tokens 14 (tokenizer of ) and cut by the rule 'end': "
        "2 of 6 sentences and 1 of 1 impressions are lost, 0 impressions shortened; "
        "report_cut=keep_impression keeps them"
    ).replace("max_tokens 14", f"max_tokens {sum(lengths[:3]) + 3}")


def test_a_named_rule_keeps_the_impression_and_drops_whole_findings_row_r4(tokenizer):
    lengths = [len(tokenizer.tokenize(sentence)) for sentence in LONG.sentences]
    room = sum(lengths[:2]) + sum(lengths[4:])
    for spare in (0, lengths[2] - 1):
        report, left_out = limit_report(
            tokenizer, LONG, room + spare + 2, report_cut="keep_impression"
        )
        assert report.sentences == (*LONG.sentences[:2], *LONG.sentences[4:])
        assert report.complete and len(report.tokens) == room + 2
        assert (left_out.reports_cut, left_out.sentences_lost, left_out.impressions_cut) == (
            1,
            2,
            0,
        )
        assert "keeps them" not in str(left_out)


def test_an_impression_that_is_too_long_by_itself_is_cut_at_its_end(tokenizer):
    report, left_out = limit_report(tokenizer, LONG, 4, report_cut="keep_impression")
    assert report.sentences == ("heart is big.",)
    assert (left_out.sentences_lost, left_out.impressions_cut, left_out.impressions_lost) == (
        5,
        1,
        0,
    )


def test_findings_alone_are_cut_at_the_end_by_either_rule(tokenizer):
    findings = Parts.of("No node. No mass. No cyst.", "")
    for rule in ("end", "keep_impression"):
        report, left_out = limit_report(tokenizer, findings, 6, report_cut=rule)
        assert report.sentences == ("no node.", "no mass.")
        assert (left_out.sentences_lost, left_out.impressions) == (1, 0)


def test_a_rule_that_does_not_exist_is_refused(tokenizer):
    with pytest.raises(ValueError, match="end, keep_impression; got 'start'"):
        limit_report(tokenizer, LONG, 20, report_cut="start")
    with pytest.raises(ValueError, match="report_cut is one of end, keep_impression"):
        change(PRESETS["tiny"], report_cut="start")


def test_every_preset_cuts_as_released():
    assert {preset.network.report_cut for preset in PRESETS.values()} == {"end"}


@pytest.mark.parametrize("rule", ["end", "keep_impression"])
def test_counting_ahead_finds_what_training_leaves_out(shared_data, tokenizer, rule):
    reports = [Parts.of(r["report"], r["result"]) for r in records_of_ctrg(shared_data)[:300]]
    raw = Tokenizer.from_file(str(EMBEDDED / "tokenizer.json"))
    ahead = count_left_out(raw, reports, 192, report_cut=rule)
    total = LeftOut(tokenizer="", max_tokens=192, report_cut=rule)
    for parts in reports:
        report, left_out = limit_report(tokenizer, parts, 192, report_cut=rule)
        assert len(report.sentences) == left_out.sentences - left_out.sentences_lost
        assert (
            not left_out.impressions_lost
            or report.sentences == parts.sentences[: len(report.sentences)]
        )
        total += left_out
    assert ahead == total
    assert total.reports_cut > 200 and bool(total.impressions_lost) == (rule == "end")


def test_most_real_reports_lose_their_impression_as_lesson_01b_says(shared_data, tokenizer):
    reports = []
    for name in ("train", "validation"):
        path = shared_data / f"reports/ctrate_format/radiology_text_reports/{name}_reports.csv"
        with path.open(newline="", encoding="utf-8-sig") as table:
            rows = csv.DictReader(table)
            reports += [Parts.of(row["Findings_EN"], row["Impressions_EN"]) for row in rows]
    end, kept = (
        count_left_out(tokenizer, reports, 250, report_cut=rule)
        for rule in ("end", "keep_impression")
    )
    assert (end.impressions, end.impressions_lost, kept.impressions_lost) == (216, 126, 0)


def test_a_tokenizer_that_is_not_here_is_replaced_and_the_count_says_so(tmp_path):
    for name in ("no-such-group/no-such-model", str(tmp_path), "a b"):
        tokenizer, called = find_tokenizer(name)
        assert tokenizer.get_vocab_size() == 1000
        assert called.startswith("embedded, in place of") and name in called
    assert find_tokenizer("embedded")[1] == "embedded"
    assert find_tokenizer(str(EMBEDDED))[1] == str(EMBEDDED)
