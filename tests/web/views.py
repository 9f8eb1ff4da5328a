"""An application with a film, in the tests' own process, whose workers are shared."""

import time
from pathlib import Path
from typing import Any

from tests.helpers.films import scenes, write_film
from tests.web.client import Client
from vsr.engine.upscale import upscale_video
from vsr.media.encode.settings import EncoderSettings
from vsr.web.app import create_app
from vsr.web.jobs import Job, JobRecord
from vsr.web.options import JobOptions
from vsr.web.settings import make_settings

API = "/api/v1"
TINY = {"model": "tiny-x2", "scale": 2, "backend": "torch"}


class Server(Client):
    """An application with one film, whose caches and processes its requests share."""

    def __init__(self, folder: Path) -> None:
        self.films = folder / "films"
        self.films.mkdir()
        self.film = write_film(
            self.films / "a.mp4",
            scenes(96, 64, [30]),
            codec="libx264",
            options={"crf": "12", "g": "10"},
        )
        settings = make_settings(folder / "data", "127.0.0.1", 8765, roots=[self.films])
        super().__init__(create_app(settings))
        self.services = self.app.state.services

    def wait(self, path: str, states: tuple[str, ...] = ("done", "failed")) -> dict[str, Any]:
        """Ask until a computation has ended."""
        for _ in range(600):
            found: dict[str, Any] = self.get(path).json()
            if found["state"] in states:
                return found
            time.sleep(0.05)
        raise AssertionError(found)

    def add_done_job(self, **options: Any) -> str:
        """Add a job as if it had run."""
        name = f"out{len(self.services.queue._records)}.mp4"
        output = self.services.roots.folder("outputs") / name
        chosen = JobOptions(**TINY, **options)
        keywords = chosen.upscale_options()
        upscale_video(
            self.film,
            output,
            keywords.model,
            keywords.scale,
            backend="torch",
            part=keywords.part,
            settings=EncoderSettings(preset="ultrafast"),
        )
        return self.add_job(name, "done", chosen)

    def add_job(self, name: str, state: Any, options: JobOptions = JobOptions()) -> str:
        job = Job(
            job=name.split(".")[0],
            file="films/a.mp4",
            name=name,
            options=options,
            state=state,
            created=0,
        )
        self.services.queue._records[job.job] = JobRecord(job=job, rank=0)
        return job.job
