"""The server's database: SQLite, written by one process."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vsr.errors import ConfigError

_VERSION = 1
"""Version of the tables; a database of a later one is refused."""
_TABLES = """
CREATE TABLE jobs (job TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE uploads (upload TEXT PRIMARY KEY, record TEXT NOT NULL);
"""


class Database:
    """A connection for all threads. What a method wrote is on the disk when it returns."""

    def __init__(self, path: Path) -> None:
        """Open the database, or create it. Raises `ConfigError`."""
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            version: int = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._connection.executescript(
                    f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;"
                )
        except sqlite3.Error as error:
            raise ConfigError(
                f"{path}: can't be opened: {error}; move it away, or name another --data"
            ) from error
        if version > _VERSION:
            raise ConfigError(f"{path}: was written by a newer vsr; update, or name another --data")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def write(self, statement: str, *rows: Sequence[Any]) -> None:
        """Run a statement once for each row of values, all of them or none."""
        with self._transaction() as connection:
            connection.executemany(statement, rows)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._connection:
            self._connection.execute("BEGIN")
            yield self._connection
