"""What every text score asks of its input: as many generated reports as references, none empty."""

from collections.abc import Sequence

Tokens = Sequence[str]


def check_pairs(generated: Sequence[Tokens], references: Sequence[Tokens]) -> None:
    """Refuse what cannot be scored. An empty *generated* report is legal, and scores 0.

    Raises:
        ValueError: if the numbers differ, there is nothing to score, a reference has no token, or
            a report is a plain string.
    """
    if len(generated) != len(references):
        raise ValueError(
            f"expected one reference for each generated report, got {len(generated)} generated "
            f"and {len(references)} references"
        )
    if not references:
        raise ValueError("expected at least one report to score, got none")
    for number, pair in enumerate(zip(generated, references, strict=True)):
        if any(isinstance(tokens, str) for tokens in pair):
            raise ValueError(f"report {number} is a string; tokenise it first (tokens.tokenise)")
    empty = [number for number, tokens in enumerate(references) if not tokens]
    if empty:
        raise ValueError(
            f"{len(empty)} of {len(references)} references have no token, first number {empty[0]}; "
            "leave these cases out"
        )
