"""Share the workers of a pool between the runs of several films."""

import threading
from pathlib import Path
from typing import Protocol

from vsr.engine.parallel.pool import (
    Chain,
    ChainEnded,
    Event,
    FilmUnavailable,
    Job,
    Pool,
    WorkerDied,
    WorkerLost,
)
from vsr.errors import Interrupted, VsrError

_MOST_RUNS = 64
_WAIT_SECONDS = 0.1
"""Time after which new runs, new chains and the stop of the user are noticed."""


class Run(Protocol):
    """Upscales the chains of one output. Any error that a member raises ends the run.

    Only the thread of a `SharedPool` uses it, but `has_chain`, which other threads read, too.
    """

    @property
    def job(self) -> Job:
        """What a worker needs."""

    @property
    def folder(self) -> Path:
        """Folder of the journal."""

    @property
    def is_stopped(self) -> bool:
        """Whether the user has stopped the run."""

    @property
    def is_complete(self) -> bool:
        """Whether all chains were taken, and none will follow."""

    @property
    def has_chain(self) -> bool:
        """Whether a chain can be taken."""

    @property
    def is_ahead(self) -> bool:
        """Whether chains can be taken for a while, or the last ones."""

    def take(self, worker: int) -> tuple[Chain, Path | None]:
        """Take a chain for a worker, and the file of the state at its start; see `has_chain`."""

    def handle(self, event: Event) -> None:
        """Handle an event of a worker that upscales a chain of this run."""

    def leave(self, worker: int) -> None:
        """Note that a worker, whose last chain was of this run, takes one of another."""


class _Loan:
    """A run, and the workers that upscale its chains."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.job: int | None = None
        """Number of its job in the pool, once that is open."""
        self.workers: set[int] = set()
        self.without: dict[int, str] = {}
        """Workers that can't upscale it, with the reasons."""
        self.is_stopping = self.is_abandoned = False
        self.error: BaseException | None = None
        self.ended = threading.Event()


class SharedPool:
    """Lends the workers of a pool to several runs: those that started earlier come first.

    A thread of its own uses the pool and the runs, while the threads of the films wait.
    """

    def __init__(self, pool: Pool) -> None:
        """The caller closes `pool` after this object."""
        self.started = 0
        """Runs that were started until now."""
        self._pool = pool
        self._idle = set(range(len(pool.names)))
        self._lost: dict[int, str] = {}
        """Workers that are lost, with the reasons."""
        self._loans: list[_Loan] = []
        self._last: dict[int, _Loan] = {}
        """The run for which each worker has loaded the film and the network."""
        self._changed = threading.Condition()
        self._is_abandoned = False
        self._thread = threading.Thread(target=self._serve, name="vsr-workers", daemon=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the workers."""
        return self._pool.names

    @property
    def needs_run(self) -> bool:
        """Whether another run would keep workers busy: none has a chain for any worker.

        Not if there is one run more than workers, or 64: each of them keeps its film open.
        """
        with self._changed:
            loans = list(self._loans)
        is_full = len(loans) >= min(len(self.names) + 1, _MOST_RUNS)
        return not is_full and not any(loan.run.has_chain and not loan.without for loan in loans)

    def upscale(self, run: Run) -> None:
        """Upscale the chains of a run; returns when it is complete or stopped.

        Raises the error that ended it; then nothing is written for it any more.
        """
        loan = _Loan(run)
        try:
            self._add(loan)
            while not loan.ended.wait(_WAIT_SECONDS):
                pass
        except BaseException:  # Ctrl-C in the main thread
            with self._changed:
                was_added = loan in self._loans
            loan.is_abandoned = True
            if was_added:
                loan.ended.wait()
            raise
        if loan.error is not None:
            raise loan.error

    def abandon(self) -> None:
        """End all runs at once, also those that start later. They raise `Interrupted`."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify_all()

    def check(self) -> None:
        """Raise `Interrupted` after `abandon`."""
        if self._is_abandoned:
            raise Interrupted("stopped at once")

    def close(self) -> None:
        """End all runs, and the thread."""
        self.abandon()
        if self._thread.ident is not None:
            self._thread.join()

    def _add(self, loan: _Loan) -> None:
        with self._changed:
            self.check()
            if self._thread.ident is None:
                self._thread.start()
            self.started += 1
            self._loans.append(loan)
            self._changed.notify_all()

    def _serve(self) -> None:
        """Lend workers until all runs are abandoned."""
        try:
            while self._has_runs():
                for loan in list(self._loans):
                    self._advance(loan)
                self._lend()
                if self._loans and (event := self._pool.next_event(_WAIT_SECONDS)):
                    self._route(event)
        except BaseException as error:
            self.abandon()
            for loan in list(self._loans):
                self._remove(loan, error)

    def _has_runs(self) -> bool:
        """Wait for a run; returns False if there are none, and will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._loans or self._is_abandoned)
            return bool(self._loans)

    def _advance(self, loan: _Loan) -> None:
        """Open the job of a new run, stop a run, or end it."""
        run = loan.run
        try:
            if loan.is_abandoned:
                raise Interrupted("stopped at once")
            self.check()
            if len(useless := loan.without | self._lost) == len(self.names):
                worker, reason = list(useless.items())[-1]
                raise VsrError(
                    f"{run.job.source}: no worker is left, the last was {self.names[worker]} "
                    f"({reason})"
                )
            if loan.job is None:
                loan.job = self._pool.open(run.job, run.folder)
            if run.is_stopped and not loan.is_stopping:
                loan.is_stopping = True
                for worker in loan.workers:
                    self._pool.stop(worker)
            is_complete = run.is_complete
        except BaseException as error:
            self._end(loan, error)
            return
        if not loan.workers and (loan.is_stopping or is_complete):
            self._end(loan, None)

    def _lend(self) -> None:
        """Lend idle workers to runs that have chains."""
        for worker in sorted(self._idle):
            while loan := self._choose(worker):
                assert loan.job is not None
                loan.workers.add(worker)
                try:
                    chain, state = loan.run.take(worker)
                    self._pool.submit(worker, loan.job, chain, state)
                except BaseException as error:
                    self._end(loan, error)
                    continue
                self._idle.remove(worker)
                last = self._last.get(worker)
                if last is not None and last is not loan:
                    last.run.leave(worker)
                self._last[worker] = loan
                break

    def _choose(self, worker: int) -> _Loan | None:
        """Choose a run for an idle worker: the first one that has a chain.

        A worker stays with the film that it has loaded while the chains of earlier films are few,
        since it would soon come back.
        """
        loans = [
            one
            for one in self._loans
            if not one.is_stopping and worker not in one.without and one.run.has_chain
        ]
        last = self._last.get(worker)
        if last in loans:
            return next(loan for loan in loans if loan is last or loan.run.is_ahead)
        return loans[0] if loans else None

    def _route(self, event: Event) -> None:
        """Hand an event to the run of its worker."""
        worker = event.worker
        loan = next((one for one in self._loans if worker in one.workers), None)
        if isinstance(event, WorkerLost):
            self._lost[worker] = event.reason
            self._idle.discard(worker)
            loan = loan or self._loans[0]  # which reports it
            loan.workers.discard(worker)
        elif loan is not None and isinstance(event, ChainEnded | WorkerDied | FilmUnavailable):
            self._idle.add(worker)
            loan.workers.remove(worker)
            if isinstance(event, FilmUnavailable):
                loan.without[worker] = event.reason
        if loan is None:
            return
        try:
            loan.run.handle(event)
        except BaseException as error:
            self._end(loan, error)

    def _end(self, loan: _Loan, error: BaseException | None) -> None:
        """End a run; its workers become idle."""
        for worker in loan.workers:
            self._pool.abandon(worker)
        self._idle |= loan.workers
        if loan.job is not None:
            self._pool.release(loan.job)
        self._remove(loan, error)

    def _remove(self, loan: _Loan, error: BaseException | None) -> None:
        """Let the thread of a film continue."""
        self._last = {worker: last for worker, last in self._last.items() if last is not loan}
        loan.error = error
        with self._changed:
            self._loans.remove(loan)
        loan.ended.set()
