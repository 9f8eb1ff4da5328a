"""Read and write animations: GIF, APNG and WebP."""
