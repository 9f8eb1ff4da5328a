"""What stands between media files and networks: planes as tensors, GPU surfaces, shots."""
