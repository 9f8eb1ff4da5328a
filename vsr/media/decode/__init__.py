"""From files to frames and packets."""
