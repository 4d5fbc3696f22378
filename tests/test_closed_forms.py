"""No loop over patients, sentences, tokens or heads: what the model loops over is listed here.

A loop that is not in the list fails until somebody says what it runs over. Layers, sizes and hooks
are few, however large the batch; patients and sentences are rows of one tensor.
"""

import ast
from pathlib import Path

import pytest
import torch

from mg3d.attention.fusion import Fusion
from mg3d.objectives.ssm import compare_sentences, ssm_loss

ROOT = Path(__file__).parents[1]
FILES = [
    ROOT / "mg3d" / "model.py",
    *sorted((ROOT / "mg3d" / "attention").glob("*.py")),
    *sorted((ROOT / "mg3d" / "objectives").glob("*.py")),
]
FILES.remove(ROOT / "mg3d" / "objectives" / "paths.py")  # arrows of a drawing: no tensor in it
FEW = {
    # layers, one after the other
    "self.layers",
    "first",  # convolutions of MIM's decoder but the last
    "range(num_layers)",
    "range(1, int(doublings) + 1)",
    "pairwise(widths)",
    "(self.volume_projection, self.text_projection)",
    "(self.weighting, self.output)",
    # hooks of a figure
    "handles",
    "model.named_modules()",
    # blocks of SSM's pairs: of more than 2,048 sentences, so that they fit in memory
    "range(0, len(patient), rows)",
    # the three axes of a volume
    "volume_shape",
    "mean_shape or ()",
    # texts, flattened for the frozen encoder, which remembers them; no tensor in it
    "self.batch.sentences",
    "report",
    # features by name, objectives by name, the two sides of a prompt
    "FEATURES",
    "fields(Features)",
    "vars(computed).items()",
    "OBJECTIVES.items()",
    "(stated, denied)",
}


def loops(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not isinstance(node, ast.While), f"{path.name}, line {node.lineno}: while"
        if isinstance(node, ast.For | ast.comprehension):
            yield ast.unparse(node.iter)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_model_and_objectives_loop_over_nothing_that_grows_with_the_batch(path):
    unknown = set(loops(path)) - FEW
    assert not unknown, f"{path.name} loops over {unknown}; if that is patients, pad and mask"


def test_the_list_names_only_loops_that_exist():
    assert {iterable for path in FILES for iterable in loops(path)} == FEW


def operations(run) -> int:
    """How many operations torch is asked for."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        run()
    return len([event for event in profile.events() if event.cpu_parent is None])


def test_more_patients_and_sentences_are_not_more_operations():
    def compare(patients, sentences):
        patient = torch.arange(patients).repeat_interleave(sentences)
        visual, identity = torch.rand(2, len(patient), 8)
        return operations(lambda: ssm_loss(compare_sentences(visual, identity, patient)))

    compare(2, 2)  # what is done once only
    assert compare(2, 2) == compare(16, 20)


def test_more_tokens_are_not_more_operations():
    fusion = Fusion(16, num_layers=2)

    def fuse(patients, tokens, words):
        volume, text = torch.rand(patients, tokens, 16), torch.rand(patients, words, 16)
        padding = torch.zeros(patients, words, dtype=torch.bool)
        return operations(lambda: fusion(volume, text, text_padding=padding))

    fuse(1, 2, 2)
    assert fuse(1, 2, 2) == fuse(4, 48, 50)
