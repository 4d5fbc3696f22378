"""What each objective reads, traced back to volume and report: the arrows of the drawing of MG-3D.

`Objective.reads` names the features of an objective. What these are made of is read from the source
of `ForwardPass`, where each feature is one property: `self.x` is an earlier step, `self.model.x` a
part of the model, `self.batch.x` an input. A change of the model therefore changes the drawing.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from mg3d.model import FEATURES, ForwardPass
from mg3d.objectives.objective import Objective

Arrow = tuple[str, str]  # from, to

# Parts of the model that are drawn -> their name; of the others (projections, poolers) only the
# result is drawn.
ENCODERS = {"volume_tokens": "encoder", "text_encoder": "text_encoder"}
MEETINGS = {name: name for name in ("sentence_fusion", "word_fusion", "informed")}
# Fields of a batch -> the input they belong to. The later one counts: what is hidden replaces it.
INPUTS = {
    "volume": "volume",
    "voxel_mask": "masked_volume",
    "sentences": "report",
    "tokens": "report",
    "hidden_tokens": "masked_report",
}
BESIDE_FEATURES = frozenset({"masked_visual_tokens"})  # a step that is no feature, but is drawn


@dataclass(frozen=True)
class Step:
    """One property of `ForwardPass`, and what it mentions."""

    made_of: tuple[str, ...]  # earlier steps
    parts: tuple[str, ...]  # attributes of the model
    fields: tuple[str, ...]  # attributes of the batch


@cache
def steps() -> Mapping[str, Step]:
    """The steps of a forward pass by name, in the order of the source."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(ForwardPass))).body
    assert isinstance(body, ast.ClassDef)
    methods = {
        node.name: {
            ast.unparse(part)
            for part in ast.walk(node)
            if isinstance(part, ast.Attribute) and ast.unparse(part).startswith("self.")
        }
        for node in body.body
        if isinstance(node, ast.FunctionDef) and node.name != "__init__"
    }
    return {
        name: Step(
            made_of=tuple(step for step in methods if f"self.{step}" in mentioned),
            parts=tuple(part for part in ENCODERS | MEETINGS if f"self.model.{part}" in mentioned),
            fields=tuple(field for field in INPUTS if f"self.batch.{field}" in mentioned),
        )
        for name, mentioned in methods.items()
    }


def paths(objectives: Mapping[str, Objective | type[Objective]]) -> dict[str, frozenset[Arrow]]:
    """Objective -> all arrows on the way from the inputs to it.

    Args:
        objectives: by name; a class will do if it has `reads` without being built, as the paper's
            six have. Of a module dictionary, give `dict(modules.items())`.

    Raises:
        ValueError: if a class has no `reads` before it is built.
    """
    unknown = [name for name, objective in objectives.items() if not hasattr(objective, "reads")]
    if unknown:
        raise ValueError(
            f"what {', '.join(unknown)} reads depends on its settings; give the objective that a "
            "run built (build_pretraining(config).objectives) instead of its class"
        )
    return {
        name: frozenset((_node(feature), name) for feature in objective.reads)
        | _arrows_to(objective.reads)
        for name, objective in objectives.items()
    }


def _arrows_to(wanted: Iterable[str]) -> frozenset[Arrow]:
    arrows: set[Arrow] = set()
    for name in wanted:
        step = steps()[name]
        encoders = [ENCODERS[part] for part in step.parts if part in ENCODERS]
        meeting = [MEETINGS[part] for part in step.parts if part in MEETINGS]
        way_in = [*meeting, _node(name)][0]
        if meeting:
            arrows |= {(meeting[0], _node(name))}
        for encoder in encoders:
            given = [INPUTS[field] for field in step.fields][-1]
            arrows |= {(given, encoder), (encoder, way_in)}
        arrows |= {(_node(earlier), way_in) for earlier in step.made_of}
        arrows |= _arrows_to(step.made_of)
    return frozenset((start, end) for start, end in arrows if start != end)


def _node(name: str) -> str:
    """Where a step is drawn: as itself, or, if it is no feature, as the part that computes it."""
    if name in FEATURES or name in BESIDE_FEATURES:
        return name
    step = steps()[name]
    drawn = [(ENCODERS | MEETINGS)[part] for part in step.parts if part in ENCODERS | MEETINGS]
    return drawn[-1] if drawn else name
