"""The decoder: what it sees, and that beam search of one beam is greedy decoding."""

from types import SimpleNamespace

import pytest
import torch

from mg3d.evaluation.tasks.report_generation_decoder import ReportDecoder, VisualTokens
from mg3d.evaluation.tasks.report_generation_vocabulary import build_vocabulary
from mg3d.text.encoder import load_text_encoder

TRAIN = ["No effusion. Heart is normal.", "Heart is normal. 0.8 cm nodule.", "Heart is normal."]
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
CHANNELS = (3, 5)


def maps(count=3):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(count, c, *size, generator=generator)
        for c, size in zip(CHANNELS, [(6, 4, 6), (3, 2, 3)], strict=True)
    ]


def decoder(**settings):
    torch.manual_seed(0)
    vocabulary = build_vocabulary("released", TRAIN)
    weight = torch.ones(18)
    made = ReportDecoder(
        vocabulary, CHANNELS, settings=SIZES, max_tokens=12, positive_weight=weight, **settings
    )
    for name, parameter in made.named_parameters():  # large: what is seen decides what is written
        seen = "crossattention" in name and ("value" in name or "output.dense" in name)
        parameter.data.mul_(12 if seen else 4)
    return made.eval()


def test_tokens_hold_the_mean_of_the_same_place_at_every_scale():
    visual = VisualTokens((1, 1), (2, 1, 1), 2)
    visual.norm, visual.place.data[:] = torch.nn.Identity(), 0.0
    visual.project.weight.data, visual.project.bias.data = torch.eye(2), torch.zeros(2)
    fine = torch.tensor([1.0, 3.0, 5.0, 7.0]).view(1, 1, 4, 1, 1)
    coarse = torch.tensor([10.0, 20.0]).view(1, 1, 2, 1, 1)
    assert visual([fine, coarse])[0].tolist() == [[2.0, 10.0], [6.0, 20.0]]


@pytest.mark.parametrize("row", [0, 1, 2])
def test_one_beam_takes_the_likeliest_piece_each_time(row):
    writer, seen = decoder(), [m[row : row + 1] for m in maps()]
    source = writer._source(seen, writer.findings(seen) > 0)
    ids = [writer.vocabulary.begin]
    while len(ids) < 12 and (len(ids) == 1 or ids[-1] != writer.vocabulary.end):
        logits = writer.decoder(torch.tensor([ids]), encoder_hidden_states=source).logits
        ids.append(int(logits[0, -1].argmax()))
    assert writer.write(seen, beams=1) == [writer.vocabulary.decode(ids)]
    assert writer.write(maps(), beams=1)[row] == writer.vocabulary.decode(ids)


def test_each_volume_of_a_batch_keeps_its_own_report_through_beam_search():
    writer, seen = decoder(), maps()
    together = writer.write(seen, beams=3)
    assert len(set(together)) == 3
    assert len({len(report.split()) for report in together}) > 1  # one ends before the others
    assert together == [writer.write([m[i : i + 1] for m in seen], beams=3)[0] for i in range(3)]


def test_a_decoder_starts_from_the_text_encoder_and_shares_nothing_with_it():
    text = load_text_encoder()
    vocabulary = build_vocabulary("tokenizer", TRAIN, tokenizer=text.tokenizer)
    made = ReportDecoder(vocabulary, CHANNELS, start=text)
    own, theirs = (m.embeddings.word_embeddings.weight for m in (made.decoder.bert, text.model))
    assert torch.equal(own, theirs)
    assert own.data_ptr() != theirs.data_ptr()
    assert own.requires_grad
    with pytest.raises(ValueError, match=r"max_tokens 999 is more than the 256 positions"):
        ReportDecoder(vocabulary, CHANNELS, start=text, max_tokens=999)


def told(mode, findings):
    """What the decoder looks at in training, for a report that states these findings."""
    writer, batch = decoder(told=mode).train(), SimpleNamespace(ids=torch.zeros(3, 2).long())
    batch.findings = findings
    looked = []
    writer.decoder.register_forward_pre_hook(
        lambda _, args, kwargs: looked.append(kwargs["encoder_hidden_states"]), with_kwargs=True
    )
    torch.manual_seed(0)
    writer(maps(), batch)
    return looked[0]


def test_in_training_the_decoder_is_not_told_what_the_report_says():
    stated, denied = torch.ones(3, 18), torch.zeros(3, 18)
    assert torch.equal(told("volume", stated), told("volume", denied))
    assert not torch.equal(told("report", stated), told("report", denied))
