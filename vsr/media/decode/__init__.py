"""Read files as frames and packets."""
