"""Colour, tensors and degradations: plain functions of pictures."""
