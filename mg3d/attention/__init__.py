"""How the two modalities meet."""

from mg3d.attention.fusion import ATTENTIONS

__all__ = ["ATTENTIONS"]
