"""What the built-in encoder knows, and that its command makes the same one twice."""

import pytest
import torch
import torch.nn.functional as F

from mg3d.phantom.patient import draw_patient
from mg3d.phantom.report import write_report
from mg3d.text.encoder import load_text_encoder
from mg3d.text.report import report_sentences
from mg3d.text.tokens import tokenize_report
from mg3d.text.word_pieces import build_tokenizer, vocabulary
from mg3d.training.embedded_text import (
    MAX_TOKENS,
    VOCABULARY,
    excerpts,
    identity_shares,
    save,
    train,
    untrained,
)
from mg3d.training.run_folder import RunFolder
from mg3d.training.run_log import RunLog


def tokenizer_of(reports):
    return build_tokenizer(vocabulary(reports, VOCABULARY), MAX_TOKENS)


@pytest.fixture(scope="module")
def encoder():
    return load_text_encoder("embedded")


@pytest.fixture(scope="module")
def reports():
    written = [write_report(draw_patient(0, patient)) for patient in range(160)]
    return [report_sentences(report.findings, report.impression) for report in written]


def masked_states(encoder, reports, generator):
    """States at hidden tokens, and what was hidden there; one token in seven of each report."""
    states, truth = [], []
    for report in reports:
        tokens = tokenize_report(encoder.tokenizer, report, encoder.max_tokens).tokens
        hidden = torch.rand(len(tokens), generator=generator) < 0.15
        hidden[[0, -1]] = False
        read = tokens.masked_fill(hidden, encoder.mask_token)[None]
        states.append(encoder(read, torch.zeros_like(read, dtype=torch.bool)).hidden[0][hidden])
        truth.append(tokens[hidden])
    return torch.cat(states), torch.cat(truth)


def test_its_states_tell_hidden_words_better_than_their_frequency_does(encoder, reports):
    generator = torch.Generator().manual_seed(0)
    states, truth = masked_states(encoder, reports[:120], generator)
    held_states, held_truth = masked_states(encoder, reports[120:], generator)

    counts = torch.bincount(truth, minlength=encoder.vocabulary_size) + 0.1
    unigram = F.nll_loss((counts / counts.sum()).log().expand(len(held_truth), -1), held_truth)

    torch.manual_seed(0)
    head = torch.nn.Linear(encoder.width, encoder.vocabulary_size)  # as MG-3D's MLM learns one
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        F.cross_entropy(head(states), truth).backward()
        optimiser.step()
    assert F.cross_entropy(head(held_states), held_truth) < unigram - 1


def test_ssm_finds_both_same_and_different_sentences(encoder, reports):
    same, different = identity_shares(encoder, reports[:40])
    assert same > 0.005
    assert different > 0.2


def test_the_same_words_are_nearer_than_other_words(encoder):
    said, again, other = encoder.identity(
        [
            "mild pleural effusion is seen in the left lung.",
            "moderate pleural effusion is seen in the left lung.",
            "the heart is not enlarged.",
        ]
    )
    assert F.cosine_similarity(said, again, dim=0) > 0.85
    assert F.cosine_similarity(said, other, dim=0) < 0.75


def test_the_command_makes_the_same_encoder_twice_and_it_loads(reports, tmp_path):
    tokenizer = tokenizer_of(reports)
    assert tokenizer.get_vocab() == tokenizer_of(reports).get_vocab()
    first, second = (train(reports, tokenizer, steps=2, seed=3) for _ in range(2))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)

    save(first, tokenizer, tmp_path)
    loaded = load_text_encoder(tmp_path)
    tokens = tokenize_report(tokenizer, reports[0], 256).tokens[None]
    expected = first.bert(input_ids=tokens).last_hidden_state
    shown = loaded(tokens, torch.zeros_like(tokens, dtype=torch.bool)).hidden
    torch.testing.assert_close(shown, expected, atol=0.05, rtol=0.05)  # stored in half precision


def test_training_lowers_the_loss(reports):
    rows = []
    log = RunLog(line=lambda _: None, progress=False, trackers=[rows.append])
    train(reports, tokenizer_of(reports), steps=12, log=log)
    assert len(rows) == 12
    assert rows[-1]["mlm"] < rows[0]["mlm"] - 1


def test_a_stopped_and_continued_training_equals_the_uninterrupted_one(reports, tmp_path):
    tokenizer = tokenizer_of(reports)
    quiet = RunLog(line=lambda _: None, progress=False)
    whole = train(reports, tokenizer, steps=4, log=quiet)
    train(reports, tokenizer, steps=4, folder=RunFolder(tmp_path), stop_after=2, log=quiet)
    parts = train(reports, tokenizer, steps=4, folder=RunFolder(tmp_path, resume=True), log=quiet)
    for (name, ours), theirs in zip(whole.named_parameters(), parts.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_its_first_losses_are_those_of_a_loop_written_out(reports):
    tokenizer = tokenizer_of(reports)
    rows = []
    log = RunLog(line=lambda _: None, progress=False, trackers=[rows.append])
    train(reports, tokenizer, steps=3, seed=5, log=log)

    model = untrained(len(tokenizer), 5)
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learnt, weight_decay=0.01)
    expected = []
    for step, batch in enumerate(excerpts(reports, tokenizer, steps=3, seed=5)(range(3))):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * min(step + 1, (3 - step) / 2)  # warm-up of one step
        attended = (~batch.padding).long()
        states = model.bert(input_ids=batch.read, attention_mask=attended).last_hidden_state
        loss = F.cross_entropy(model.cls(states[batch.hidden]), batch.tokens[batch.hidden])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        expected.append(loss.item())
    assert [row["mlm"] for row in rows] == expected


def test_the_texts_of_a_step_do_not_depend_on_where_a_run_began(reports):
    tokenizer = tokenizer_of(reports)
    batches = excerpts(reports, tokenizer, steps=4, seed=0)
    whole, later = list(batches(range(4))), list(batches(range(2, 4)))
    for ours, theirs in zip(whole[2:], later, strict=True):
        assert ours.tokens.equal(theirs.tokens) and ours.read.equal(theirs.read)
    assert not whole[0].tokens.equal(whole[1].tokens)
