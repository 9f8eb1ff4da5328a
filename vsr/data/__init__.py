"""Footage, and the pairs of clips that are learnt from."""
