"""Files: PyAV and Pillow at the edges, plain arrays within."""
