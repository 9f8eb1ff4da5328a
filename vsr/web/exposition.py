"""Metrics of the server in the text format of Prometheus."""

from collections.abc import Iterable, Mapping
from typing import get_args

import psutil

from vsr import __version__
from vsr.web.guard import Slot
from vsr.web.job_outputs import Outputs
from vsr.web.jobs import Job, JobState
from vsr.web.services import Services

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[Mapping[str, str], float]
"""Labels, and the value."""


def metrics_page(services: Services) -> str:
    """Render all metrics. Blocks; call it in a thread."""
    jobs, traffic = services.queue.all(), services.traffic
    running = [job for job in jobs if job.state == "running"]
    uploads = services.uploads.all()
    incomplete = sum(not upload.complete for upload in uploads)
    free = Outputs(services.roots.folder("outputs")).free_bytes()
    families = (
        _family("vsr_info", "gauge", "Version of vsr.", [({"version": __version__}, 1)]),
        _family("vsr_jobs", "gauge", "Jobs by state.", _jobs_by_state(jobs)),
        _single("vsr_frames_total", "counter", "Frames upscaled.", services.queue.frames),
        _single(
            "vsr_frames_per_second",
            "gauge",
            "Speed of the running job.",
            sum(job.frames_per_second or 0 for job in running),
        ),
        _single(
            "vsr_job_seconds_left",
            "gauge",
            "Estimated time left of the running job.",
            sum(job.seconds_left or 0 for job in running),
        ),
        _single("vsr_uploads_incomplete", "gauge", "Incomplete uploads.", incomplete),
        _single(
            "vsr_upload_bytes_total", "counter", "Bytes received.", services.uploads.received_bytes
        ),
        _single("vsr_disk_free_bytes", "gauge", "Free disk space for outputs.", free),
        _single(
            "vsr_memory_bytes",
            "gauge",
            "Resident memory of the server, without its jobs.",
            psutil.Process().memory_info().rss,
        ),
        _single("vsr_event_streams", "gauge", "Open streams of events.", services.hub.listeners),
        _family(
            "vsr_http_requests_active",
            "gauge",
            "Requests being answered.",
            [({"slot": slot}, traffic.active[slot]) for slot in get_args(Slot)],
        ),
        _family(
            "vsr_http_requests_total",
            "counter",
            "Answers by status.",
            [({"status": str(status)}, count) for status, count in traffic.answered.items()],
        ),
        _family(
            "vsr_http_refused_total",
            "counter",
            "Requests that the guard refused, by reason.",
            [({"reason": reason}, count) for reason, count in traffic.refused.items()],
        ),
    )
    return "".join(families)


def _jobs_by_state(jobs: Iterable[Job]) -> list[Sample]:
    states = [job.state for job in jobs]
    return [({"state": state}, states.count(state)) for state in get_args(JobState)]


def _single(name: str, kind: str, description: str, value: float) -> str:
    return _family(name, kind, description, [({}, value)])


def _family(name: str, kind: str, description: str, samples: Iterable[Sample]) -> str:
    """Render a metric; its labels hold no character that must be escaped."""
    lines = [f"# HELP {name} {description}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        text = ",".join(f'{label}="{content}"' for label, content in labels.items())
        lines.append(f"{name}{{{text}}} {value}" if text else f"{name} {value}")
    return "\n".join(lines) + "\n"
