"""One module a revision, `rev_NNNN_what.py`, applied in the order of their numbers."""
