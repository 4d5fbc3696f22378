"""Cross-attention between the two modalities, and pooling."""

from mg3d.attention.fusion import ATTENTIONS

__all__ = ["ATTENTIONS"]
