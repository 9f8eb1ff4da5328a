"""Segments of an upscaled film on disk, so that an interrupted run can resume."""
