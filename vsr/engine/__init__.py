"""Upscale films and still pictures with a model."""
