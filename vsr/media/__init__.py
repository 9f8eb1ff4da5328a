"""Read and write video and pictures with PyAV and Pillow; frames are plain arrays."""
