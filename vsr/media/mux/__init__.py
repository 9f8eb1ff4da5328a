"""Write packets to files."""
