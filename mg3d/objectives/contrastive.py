"""Symmetric InfoNCE: find a patient's other half among all patients of the batch.

Every patient has two vectors. Row b of the logits compares the left one of patient b with the right
one of every patient; the diagonal holds the true pairs. The loss asks each row, and each column, to
name its diagonal. It serves CML, DFA and the CLIP baseline.

Source: MG-3D (arXiv 2412.05876), global alignment (Fig. 5). Head and temperature as in the
released code: affine layer norm in float32, projection without bias, unit length.
Trivial optimum: none by itself; a model that knows nothing pays ln B (`chance_loss`). What a
patient can be recognised by is the question: anything both halves share will do.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mg3d.distributed import gather
from mg3d.objectives.precision import at_least_float32, cosines, unit_length


class ContrastiveHead(nn.Module):
    """Vectors of one side, projected to unit length in the space where sides are compared.

    Args:
        dim_in: width of the vectors.
        dim_out: width of the common space.
    """

    def __init__(self, dim_in: int, dim_out: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim_in)
        self.projection = nn.Linear(dim_in, dim_out, bias=False)

    def forward(self, vectors: Float[Tensor, "B i"]) -> Float[Tensor, "B o"]:
        """Unit vectors, in float32 at least."""
        return unit_length(self.projection(self.norm(at_least_float32(vectors))))


def compare_patients(
    left: Float[Tensor, "B o"], right: Float[Tensor, "B o"], temperature: float | Tensor
) -> Float[Tensor, "G G"]:
    """Cosine of every left with every right vector, over temperature; G patients in all.

    Args:
        left: vectors of this process's patients, of any length; the rows.
        right: vectors of the same patients; the columns.
        temperature: above 0; the smaller, the more the hardest wrong patient counts.
    """
    return cosines(gather(left), gather(right)) / temperature


def find_partner(logits: Float[Tensor, "G G"]) -> Float[Tensor, ""]:
    """Mean of both cross-entropies: rows find their column, columns their row."""
    truth = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, truth) + F.cross_entropy(logits.mT, truth)) / 2


def symmetric_infonce(
    left: Float[Tensor, "B o"], right: Float[Tensor, "B o"], temperature: float | Tensor
) -> Float[Tensor, ""]:
    """InfoNCE in both directions over the global batch; 0 for one patient."""
    return find_partner(compare_patients(left, right, temperature))


def chance_loss(num_patients: int) -> float:
    """What a model pays that finds all patients of the global batch equally likely: ln B."""
    return math.log(num_patients)


def check_temperature(temperature: float) -> float:
    """Give the temperature back if it can divide logits.

    Raises:
        ValueError: if it is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}; the paper's is 0.1")
    return temperature
