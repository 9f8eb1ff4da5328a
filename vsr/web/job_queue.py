"""The queue: one job runs at a time, and all of it survives a crash of the server.

All methods run in the event loop, and have written to the disk when they return.
"""

import asyncio
import logging
import secrets
import signal
import time
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync

from vsr.errors import VsrError
from vsr.web.database import Database
from vsr.web.events import EventHub, Removed
from vsr.web.files import Roots, kind_of
from vsr.web.job_events import apply_event
from vsr.web.job_outputs import Outputs
from vsr.web.job_runner import RunningJob, end_orphan
from vsr.web.job_store import JobStore
from vsr.web.jobs import Job, JobProcess, JobRecord, NewJob
from vsr.web.refusals import Conflict, NotFound, PictureRefused, Refused
from vsr.web.settings import Limits

_INTERRUPTED = (130, 143, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of a process that was asked to end; below 0 while it still loaded its modules."""
_RETRY_SECONDS = 5.0
"""Time between two attempts to write to a full disk."""
_log = logging.getLogger("vsr.web")


class JobQueue:
    """All jobs of a server, and the task that runs them."""

    def __init__(self, roots: Roots, database: Database, hub: EventHub, limits: Limits) -> None:
        """Load the jobs of an earlier run; `start` resumes those that were running."""
        self._roots, self._hub, self._limits = roots, hub, limits
        self._outputs = Outputs(roots.folder("outputs"))
        self._store = JobStore(database)
        self._records = {record.job.job: record for record in self._store.load()}
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._running: RunningJob | None = None
        self._worker: asyncio.Task[None] | None = None
        self._is_stopping = False
        self.frames = 0
        """Frames upscaled since the start."""

    async def start(self) -> None:
        """Recover from a crash, then run waiting jobs one after another."""
        for record in list(self._records.values()):
            if record.process is not None:
                await run_sync(end_orphan, record.process)
            if record.job.state == "running":
                await self._set_stopped(record.job)
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """End the running job, which will resume at the next start."""
        self._is_stopping = True
        self._wake.set()
        if self._running is not None:
            await self._running.end()
        if self._worker is not None:
            await self._worker

    def all(self) -> list[Job]:
        """List the jobs: the queue in its order, then the finished ones, the newest first."""
        queue = [
            record.job.model_copy(update={"position": position})
            for position, record in enumerate(self._queue())
        ]
        finished = [one.job for one in self._records.values() if not one.job.is_unfinished]
        return queue + sorted(finished, key=lambda job: job.finished or 0, reverse=True)

    def get(self, identifier: str) -> Job:
        """Return a job; raises `NotFound`."""
        self._record(identifier)
        return next(job for job in self.all() if job.job == identifier)

    def output(self, identifier: str) -> Path:
        """Return the complete output of a job; raises `VsrError` if there is none."""
        job = self._record(identifier).job
        if job.state != "done":
            raise Conflict(f"{job.name}: is not complete; the job is {job.state}")
        try:
            return self._roots.resolve_file(f"outputs/{job.name}")
        except NotFound as error:
            raise NotFound(f"{job.name}: was removed from the folder of outputs") from error

    def unfinished_output(self, identifier: str) -> Path:
        """Return the path that the output of a job has or will have."""
        return self._outputs.path(self._record(identifier).job.name)

    def check_unused(self, file: str) -> None:
        """Raise `Conflict` if an unfinished job reads a file."""
        if any(job.file == file and job.is_unfinished for job in self.all()):
            raise Conflict(f"{file}: an unfinished job reads it; cancel that first")

    async def add(self, new: NewJob) -> Job:
        """Append a job to the queue. Raises `VsrError`."""
        source = await run_sync(self._roots.resolve_media, new.file)
        if (kind := kind_of(source)) == "picture":
            raise PictureRefused(new.file)
        if kind is None:
            raise VsrError(f"{new.file}: its suffix is that of no film")
        await run_sync(new.options.upscale_options)
        await self._check_disk()
        async with self._lock:
            if len(self._queue()) >= self._limits.unfinished_jobs:
                raise Refused(
                    f"{self._limits.unfinished_jobs} jobs are unfinished, which is the limit; "
                    "cancel one, or wait",
                    429,
                )
            taken = {record.job.name for record in self._records.values()}
            suffix, wanted = new.options.suffix, new.name or source.stem
            name = await run_sync(self._outputs.choose_name, wanted, suffix, taken)
            job = Job(
                job=secrets.token_hex(8),
                file=new.file,
                name=name,
                options=new.options,
                state="waiting",
                created=time.time(),
            )
            record = JobRecord(job=job, rank=self._next_rank())
            await run_sync(self._store.save, record)
            self._records[job.job] = record
        await self._forget_oldest()
        self._publish(job.job)
        self._wake.set()
        return self.get(job.job)

    async def pause(self, identifier: str) -> Job:
        """Pause a job; a running one after its segment, or at once if asked a second time."""
        job = self._record(identifier).job
        if job.state == "running":
            again = job.stopping == "pause"
            await self._change(identifier, stopping="pause")
            if self._running is not None:
                if again:
                    self._running.terminate()
                else:
                    self._running.interrupt()
        elif job.state == "waiting":
            await self._change(identifier, state="paused")
        elif job.state != "paused":
            raise _wrong_state(job, "paused")
        return self.get(identifier)

    async def resume(self, identifier: str) -> Job:
        """Continue a paused job; one that is still pausing continues right after."""
        job = self._record(identifier).job
        if job.state == "running" and job.stopping == "pause":
            await self._change(identifier, stopping=None)
        elif job.state == "paused":
            await self._change(identifier, state="waiting")
        elif job.state not in ("waiting", "running"):
            raise _wrong_state(job, "resumed")
        return self.get(identifier)

    async def cancel(self, identifier: str) -> Job:
        """End a job for good, and remove its unfinished work."""
        job = self._record(identifier).job
        if job.state == "running":
            await self._change(identifier, stopping="cancel")
            if self._running is not None:
                await self._running.end()
        elif job.state == "done":
            raise _wrong_state(job, "cancelled")
        elif job.state != "cancelled":
            await self._change(identifier, state="cancelled", frames=0, finished=time.time())
            await run_sync(self._outputs.remove_work, job.name)  # now, it can't be started
        return self.get(identifier)

    async def retry(self, identifier: str) -> Job:
        """Queue a failed or cancelled job again; what it finished before a failure is kept."""
        job = self._record(identifier).job
        if job.state not in ("failed", "cancelled"):
            raise _wrong_state(job, "retried")
        self._records[identifier] = JobRecord(job=job, rank=self._next_rank())
        await self._change(identifier, state="waiting", error=None, finished=None)
        return self.get(identifier)

    async def move(self, identifier: str, position: int) -> Job:
        """Move a job within the queue."""
        job = self._record(identifier).job
        if not job.is_unfinished:
            raise _wrong_state(job, "moved")
        queue = self._queue()
        ranks = [record.rank for record in queue]
        moved = self._records[identifier]
        queue.remove(moved)
        queue.insert(position, moved)
        changed = [
            record.model_copy(update={"rank": rank})
            for record, rank in zip(queue, ranks, strict=True)
        ]
        self._records |= {record.job.job: record for record in changed}
        async with self._lock:
            await run_sync(self._store.save, *changed)
        for record in changed:
            self._publish(record.job.job)
        return self.get(identifier)

    async def delete(self, identifier: str, with_output: bool) -> None:
        """Remove a job that isn't running from the list, and its output if asked."""
        job = self._record(identifier).job
        if job.state == "running":
            raise _wrong_state(job, "removed; cancel it first")
        del self._records[identifier]
        async with self._lock:
            await run_sync(self._store.delete, identifier)
        if job.state != "done":
            await run_sync(self._outputs.remove_work, job.name)
        elif with_output:
            await run_sync(self._outputs.remove, job.name)
        self._hub.publish("removed", identifier, Removed(job=identifier))

    async def _work(self) -> None:
        """Run waiting jobs until `stop`."""
        while not self._is_stopping:
            waiting = [job for job in self.all() if job.state == "waiting"]
            if not waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            try:
                await self._run_or_fail(waiting[0])
            except Exception:  # the database can't be written: the disk is full
                _log.exception("the queue can't be written; trying again")
                await asyncio.sleep(_RETRY_SECONDS)

    async def _run_or_fail(self, job: Job) -> None:
        try:
            await self._run(job.job)
        except VsrError as error:
            await self._set_failed(job.job, self._roots.shorten(str(error)))
        except Exception as error:
            _log.exception("%s: failed", job.name)
            await self._set_failed(job.job, f"internal error: {error!r}")

    async def _run(self, identifier: str) -> None:
        job = self._record(identifier).job
        source = await run_sync(self._roots.resolve_media, job.file)
        if await run_sync(self._outputs.is_complete, job.name):
            await self._set_done(identifier)  # the server crashed after the end of the process
            return
        await self._check_disk()
        if self._is_stopping or not self._is_waiting(identifier):  # was changed meanwhile
            return
        await self._change(
            identifier,
            state="running",
            started=time.time(),
            frames_per_second=None,
            seconds_left=None,
        )
        output = self._outputs.path(job.name)
        running = await RunningJob.start(source, output, job.options)
        self._running = running
        try:
            await self._change(identifier, running.identity)
            if self._is_stopping or self._record(identifier).job.stopping:
                running.terminate()  # asked for while the process started
            errors = [
                str(event.get("text"))
                async for event in running.events()
                if self._apply(identifier, event) == "error"
            ]
            code = await running.wait()
        except BaseException:
            await running.end()
            raise
        finally:
            self._running = None
        job = self._record(identifier).job
        if code == 0:
            await self._set_done(identifier)
        elif job.stopping or self._is_stopping or (code in _INTERRUPTED and not errors):
            await self._set_stopped(job)
        elif errors:
            await self._set_failed(identifier, self._roots.shorten(errors[-1]))
        else:
            _log.error("%s: %s", job.name, "\n".join(running.error_lines))
            line = self._roots.shorten(running.describe_end(code))
            await self._set_failed(identifier, line)

    def _apply(self, identifier: str, event: dict[str, Any]) -> str:
        """Show an event of the process; return its type."""
        record = self._record(identifier)
        job = apply_event(record.job, event, self._roots.shorten)
        if event.get("event") == "progress":
            self.frames += max(0, job.frames - record.job.frames)
        self._records[identifier] = record.model_copy(update={"job": job})
        self._publish(identifier)
        return str(event.get("event"))

    async def _set_done(self, identifier: str) -> None:
        job = self._record(identifier).job
        size = await run_sync(self._outputs.size, job.name)
        await self._change(
            identifier,
            state="done",
            stopping=None,
            error=None,
            output=f"outputs/{job.name}",
            output_bytes=size,
            seconds_left=None,
            finished=time.time(),
        )

    async def _set_failed(self, identifier: str, line: str) -> None:
        record = self._records.get(identifier)
        if record is None or record.job.state not in ("waiting", "running"):
            return  # was changed meanwhile
        await self._change(
            identifier,
            state="failed",
            stopping=None,
            error=" ".join(line.split()),
            seconds_left=None,
            finished=time.time(),
        )

    async def _set_stopped(self, job: Job) -> None:
        """Set the state of a job whose process ended before the film."""
        if job.stopping == "cancel":
            await self._set_cancelled(job)
        else:
            state = "paused" if job.stopping == "pause" else "waiting"
            frames = await run_sync(self._outputs.finished_frames, job.name)
            await self._change(
                job.job, state=state, stopping=None, frames=frames, seconds_left=None
            )

    async def _set_cancelled(self, job: Job) -> None:
        await run_sync(self._outputs.remove_work, job.name)
        await self._change(
            job.job, state="cancelled", stopping=None, frames=0, finished=time.time()
        )

    async def _change(
        self, identifier: str, process: JobProcess | None = None, **values: Any
    ) -> None:
        """Change a job, write it to the disk, and publish it."""
        record = self._record(identifier)
        job = record.job.model_copy(update=values)
        kept = (process or record.process) if job.state == "running" else None
        self._records[identifier] = record.model_copy(update={"job": job, "process": kept})
        async with self._lock:  # another change may have come first
            if (latest := self._records.get(identifier)) is not None:
                await run_sync(self._store.save, latest)
        self._publish(identifier)
        self._wake.set()

    async def _forget_oldest(self) -> None:
        """Remove the oldest finished jobs beyond the limit; their outputs stay."""
        finished = [job for job in self.all() if not job.is_unfinished]
        for job in finished[self._limits.kept_jobs :]:
            await self.delete(job.job, with_output=False)

    async def _check_disk(self) -> None:
        """Raise `Refused` where the disk is full."""
        free, least = await run_sync(self._outputs.free_bytes), self._limits.free_bytes
        if free < least:
            raise Refused(f"{free} bytes of disk space are free; the least is {least}", 413)

    def _queue(self) -> list[JobRecord]:
        """Return the unfinished jobs in order."""
        unfinished = [record for record in self._records.values() if record.job.is_unfinished]
        return sorted(unfinished, key=lambda record: record.rank)

    def _next_rank(self) -> int:
        return 1 + max((record.rank for record in self._records.values()), default=0)

    def _is_waiting(self, identifier: str) -> bool:
        record = self._records.get(identifier)
        return record is not None and record.job.state == "waiting"

    def _record(self, identifier: str) -> JobRecord:
        try:
            return self._records[identifier]
        except KeyError as error:
            raise NotFound("no such job") from error

    def _publish(self, identifier: str) -> None:
        if identifier in self._records:
            self._hub.publish("job", identifier, self.get(identifier))


def _wrong_state(job: Job, verb: str) -> Conflict:
    return Conflict(f"{job.name}: is {job.state}, and can't be {verb}")
