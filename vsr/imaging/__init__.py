"""Colour conversion, tensor operations and degradations of pictures."""
