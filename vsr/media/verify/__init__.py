"""Compare an upscaled film with its source: video properties, streams, chapters and tags."""

from vsr.media.verify.compare import verify_film
from vsr.media.verify.finding import Finding, format_findings

__all__ = ["Finding", "format_findings", "verify_film"]
