"""What no objective reads is not computed: layers that run in an ablation, counted by hooks."""

from collections import Counter

import pytest
import torch

from mg3d.attention.recording import record_maps
from mg3d.config import change
from mg3d.data.batch import collate
from mg3d.model import FEATURES, build_model
from mg3d.training.patients import load_patients
from mg3d.training.step import build_pretraining, hide

# How often each part of the model runs in one step; parts that are not named do not run.
ENCODE, WORD_PASS = {"encoder": 1, "volume_projection": 1}, {"text_projection": 1}
READ = {"text": 1, **WORD_PASS}  # the whole report, by the text encoder
FUSE = {"sentence_fusion": 1}
INFORM = {"volume_pooler": 1, "informed": 1}
REPAIR = {"text": 1, "text_projection": 1, "word_fusion": 1, "word_transform": 1}
CASES = {
    ("mim",): ENCODE | READ | FUSE,  # the masked volume only
    ("mlm",): ENCODE | REPAIR,  # the report with hidden words only
    ("sfr",): ENCODE | REPAIR,
    ("cml",): ENCODE | READ | FUSE | {
        "volume_pooler": 1, "report_pooler": 1, "fused_volume_pooler": 1, "fused_report_pooler": 1,
    },
    ("dfa",): ENCODE | READ | FUSE | INFORM | {"fused_volume_pooler": 1},
    ("ssm",): ENCODE | READ | INFORM,
    ("clip",): ENCODE | {"volume_pooler": 1},  # reports by the embedding layer alone
    ("mim", "mlm"): {
        "encoder": 2, "volume_projection": 2, "text": 2, "text_projection": 2, "sentence_fusion": 1,
        "word_fusion": 1, "word_transform": 1,
    },
    ("mim", "mlm", "sfr", "cml", "dfa", "ssm", "clip"): {
        "encoder": 2, "volume_projection": 2, "text": 2, "text_projection": 2, "sentence_fusion": 2,
        "word_fusion": 1, "word_transform": 1, "volume_pooler": 1, "report_pooler": 1,
        "fused_volume_pooler": 1, "fused_report_pooler": 1, "informed": 1,
    },
}  # fmt: skip


@pytest.fixture
def batch(config, prepared, text_encoder):
    train, _ = load_patients(config, prepared, text_encoder.tokenizer)
    return collate(text_encoder.pad_token)([train[row] for row in range(3)])


@pytest.fixture
def uncached(text_encoder):
    return text_encoder.plain  # or a report read by an earlier test would not be read again


@pytest.mark.parametrize("names", CASES, ids=lambda names: " ".join(names))
def test_only_what_an_active_objective_reads_is_computed(config, batch, uncached, names):
    config = change(config, weights=config.weights.only(*names))
    pretraining = build_pretraining(config, uncached)
    calls = Counter()
    parts = dict(pretraining.model.named_children()) | {"text": uncached.model}
    hooks = [
        part.register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name, part in parts.items()
    ]
    losses = pretraining(hide(batch, config, uncached, torch.Generator().manual_seed(0)))
    for hook in hooks:
        hook.remove()
    assert set(losses) == set(names)
    assert calls == CASES[names]


def test_a_report_vector_is_clips_only_reason_to_read_the_report(config, batch, uncached):
    calls = []
    hook = uncached.model.register_forward_hook(lambda *_: calls.append(1))
    for text, count in (("words", 0), ("vector", 1)):
        asked = change(config, weights=config.weights.only("clip"), clip_text=text)
        build_pretraining(asked, uncached)(batch)
        assert len(calls) == count
    hook.remove()


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_is_the_same_whatever_else_is_computed(config, batch, text_encoder, name):
    hidden = hide(batch, config, text_encoder, torch.Generator().manual_seed(0))
    model = build_model(config, text_encoder).eval()
    few = model(hidden, needed=[name])
    assert torch.equal(getattr(few, name), getattr(model(hidden), name))
    missing = [n for n in FEATURES if getattr(few, n) is None]
    assert missing, "every feature was computed for one"


def test_a_feature_that_does_not_exist_is_refused(config, batch, text_encoder):
    model = build_model(config, text_encoder)
    with pytest.raises(ValueError, match=r"features are visual_tokens, .*; got volume_vektor"):
        model(batch, needed=["volume_vektor"])


def test_attention_maps_are_recorded_of_what_is_computed(config, batch, text_encoder):
    model = build_model(config, text_encoder)
    with record_maps(model) as all_maps:
        model(batch)
    with record_maps(model) as maps:
        model(batch, needed=["aggregate"])
    assert {name.split(".")[0] for name in all_maps} == {"sentence_fusion", "informed"}
    assert {name.split(".")[0] for name in maps} == {"informed"}
