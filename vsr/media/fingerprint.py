"""Fingerprints that identify decoded frames when a run resumes."""

import hashlib
from typing import NamedTuple

from vsr.media.frame import Frame


class FrameFingerprint(NamedTuple):
    """The time and a hash of the samples of a frame."""

    pts: int
    digest: str


def fingerprint_of(frame: Frame) -> FrameFingerprint:
    """Compute a frame's fingerprint: its pts and the BLAKE2b hash of its planes."""
    digest = hashlib.blake2b(digest_size=16)
    for plane in frame.planes:
        digest.update(plane.tobytes())
    return FrameFingerprint(frame.pts, digest.hexdigest())
