"""Symmetric InfoNCE: match the two vectors of each patient among all patients of the batch.

Row b of the logits compares the left vector of patient b with the right vectors of all patients;
the diagonal holds the true pairs. The loss is the cross-entropy of rows and of columns with the
diagonal as target. CML, DFA and CLIP use it.

Source: MG-3D (arXiv 2412.05876), global alignment (Fig. 5). Head and temperature as in the
released code: affine layer norm in float32, projection without bias, unit length.
Trivial optimum: none by itself; uniform predictions cost ln B (`chance_loss`). Anything that both
vectors of a patient share, and that differs between patients, lowers the loss.
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
        dim_out: width of the space where the two sides are compared.
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
        temperature: above 0; the smaller, the more the hardest negatives count.
    """
    return cosines(gather(left), gather(right)) / temperature


def symmetric_cross_entropy(logits: Float[Tensor, "G G"]) -> Float[Tensor, ""]:
    """Mean of the cross-entropies of rows and of columns, with the diagonal as target."""
    truth = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, truth) + F.cross_entropy(logits.mT, truth)) / 2


def symmetric_infonce(
    left: Float[Tensor, "B o"], right: Float[Tensor, "B o"], temperature: float | Tensor
) -> Float[Tensor, ""]:
    """InfoNCE in both directions over the global batch; 0 for one patient."""
    return symmetric_cross_entropy(compare_patients(left, right, temperature))


def chance_loss(num_patients: int) -> float:
    """Trivial baseline: all patients of the global batch are equally likely, ln B."""
    return math.log(num_patients)


def check_temperature(temperature: float) -> float:
    """Return the temperature if logits can be divided by it.

    Raises:
        ValueError: if it is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}; the paper's is 0.1")
    return temperature
