"""Models at work: films and stills in, films and stills out."""
