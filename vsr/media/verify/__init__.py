"""Compare an upscaled film with its source: video properties, streams, chapters and tags."""

from vsr.media.verify.compare import verify_film
from vsr.media.verify.finding import Finding, format_findings
from vsr.media.verify.numbered import names_numbered, verify_numbered

__all__ = ["Finding", "format_findings", "names_numbered", "verify_film", "verify_numbered"]
