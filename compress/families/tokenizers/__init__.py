"""Tokenizers by kind (WordPiece, BPE, Unigram): how each is described, and how tokens are removed from it."""
