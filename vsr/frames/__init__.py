"""Convert decoded frames to tensors and back, detect cuts, and degrade by real codecs."""
