"""Data sets of footage, and the training pairs drawn from them."""
