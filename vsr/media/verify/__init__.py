"""Compare upscaled films and pictures with their sources."""

from vsr.media.verify.compare import verify_film
from vsr.media.verify.finding import Finding, format_findings
from vsr.media.verify.numbered import names_numbered, verify_numbered
from vsr.media.verify.pictures import is_picture, verify_picture, verify_pictures

__all__ = [
    "Finding",
    "format_findings",
    "is_picture",
    "names_numbered",
    "verify_film",
    "verify_numbered",
    "verify_picture",
    "verify_pictures",
]
