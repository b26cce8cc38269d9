"""Names of tensors in our graphs that rewrites and checks look for. The builder of a graph gives them.

A layer's tensors are ``layer.N.attention...`` and ``layer.N.ffn...``; a product's weight ends in ``.weight``.
"""

from compress.runtime.graph_file import OUTPUT

WORDS = "words"  # the word embeddings, [vocabulary, hidden]
MASKED = "masked"  # the number that is added to the attention scores of padding
CLASSIFIER = (f"{OUTPUT}.weight", f"{OUTPUT}.bias")  # the last layer
KEPT_FP32 = CLASSIFIER[0]  # the one product that is never reduced: it is tiny, and every answer depends on it
