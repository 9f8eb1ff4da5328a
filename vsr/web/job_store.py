"""Jobs in the database."""

from vsr.web.database import Database
from vsr.web.jobs import JobRecord


class JobStore:
    """The table of jobs, a record each."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> list[JobRecord]:
        """Load all jobs."""
        rows = self._database.rows("SELECT record FROM jobs")
        return [JobRecord.model_validate_json(record) for (record,) in rows]

    def save(self, *records: JobRecord) -> None:
        """Write jobs, all of them or none."""
        self._database.write(
            "INSERT OR REPLACE INTO jobs VALUES (?, ?)",
            *((record.job.job, record.model_dump_json()) for record in records),
        )

    def delete(self, *jobs: str) -> None:
        """Remove jobs."""
        self._database.write("DELETE FROM jobs WHERE job = ?", *((job,) for job in jobs))
