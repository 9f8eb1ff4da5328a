"""From packets to files."""
