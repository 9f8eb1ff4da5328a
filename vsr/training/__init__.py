"""Training of generators and discriminators."""
