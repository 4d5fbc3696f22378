"""A transformer block in a fraction of the memory: a few windows at a time, computed twice.

Attention maps and the wide activations of the MLP are most of what training a Swin Transformer
remembers. Here normalisation, linear layers and attention are computed for a few windows (or a few
rows) while they are in the cache; nothing wider than the tokens is kept, and the backward pass, in
closed form, computes it again. For that the layers are not called: their weights go into two
`torch.autograd.Function`s. `check` refuses what would be skipped that way.
"""
