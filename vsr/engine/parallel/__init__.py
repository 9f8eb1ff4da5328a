"""Spread a film over several processes: chains of segments, workers, and the pool of workers."""
