"""Encode frames to packets."""
