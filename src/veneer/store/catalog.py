"""The catalogue: one SQLite database that several processes share.

Connections belong to threads and open when first used.  Reading never writes the database; writing happens in
`transaction()`, which takes SQLite's write lock at once, so that what it reads cannot change before it commits.
The SQLite inside apsw is used because the one beside Python 3.11 has the WAL-reset race (3.7.0 to 3.51.2).
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence

import apsw

from veneer.errors import Corrupt, Unavailable, Unsupported
from veneer.store import reserve, schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    Bindings = Sequence[Any] | Mapping[str, Any]

FREE_SOME = "free some space there: veneer image prune --all --dry-run shows what could go"
BUSY_SECONDS = 60.0
"""How long to wait for another process's transaction; none does network, hashing or unpacking inside one."""


class StoreFull(Unavailable):
    """No room left on the file system of the data root."""


class StoreReadOnly(Unavailable):
    """The data root's file system is mounted read-only, or may only be read by this user."""


class StoreBusy(Unavailable):
    """Another process has held the catalogue's write lock for too long."""


class DiskFailed(Unavailable):
    """The kernel could not read from or write to the disk under the data root."""


class StoreClosed(Unavailable):
    """The store was closed before it was asked."""


class CatalogDamaged(Corrupt):
    """The catalogue is no database any more, or lacks what its schema promises."""


class NewerStore(Unsupported):
    """The catalogue was written by a newer veneer."""


def store_full(path: str | os.PathLike[str]) -> StoreFull:
    """The error for a full disk under `path`."""
    return StoreFull(
        f"no space left on the file system of {os.fspath(path)}",
        hint=FREE_SOME,
    )


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn SQLite's errors about the catalogue at `path` into veneer's.  Constraint errors stay: they are bugs."""
    try:
        yield
    except apsw.FullError as error:
        raise store_full(os.path.dirname(path)) from error
    except apsw.BusyError as error:
        raise StoreBusy(f"{path}: another process has held the write lock for {BUSY_SECONDS:.0f} s",
                        hint=f"see who has it open: fuser -v {path}") from error  # fmt: skip
    except (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError, apsw.AuthError) as error:
        if not os.path.exists(path) and os.access(os.path.dirname(path), os.W_OK):
            raise CatalogDamaged(f"{path} is missing", hint="veneer system check") from error
        raise StoreReadOnly(
            f"{path} cannot be written: {error}",
            hint="the file system may be mounted read-only; choose another with --root",
        ) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise CatalogDamaged(f"{path} is damaged: {error}", hint="veneer system check") from error
    except apsw.IOError as error:
        if _disk_is_full(os.path.dirname(path)):
            raise store_full(os.path.dirname(path)) from error
        raise DiskFailed(f"{path}: {error}", hint="look for disk errors in the kernel's log: dmesg") from error


def _disk_is_full(folder: str) -> bool:
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail == 0 or (found.f_files > 0 and found.f_favail == 0)


class Catalog:
    """The database file `path` and this process's connections to it."""

    def __init__(self, path: str | os.PathLike[str], lock_file: str | os.PathLike[str]) -> None:
        self.path: Final = os.fspath(path)
        self._root = os.path.dirname(self.path)
        self._lock_file = lock_file
        self._local = threading.local()
        self._guard = threading.Lock()
        self._open: list[tuple[weakref.ref[threading.Thread], apsw.Connection]] = []
        self._closed = False
        self.read_only = False

    # ---- reading

    def rows(self, sql: str, bindings: Bindings = ()) -> list[Any]:
        """Every row of a query, as tuples."""
        with translated(self.path):
            return self.connection.execute(sql, bindings).fetchall()

    def row(self, sql: str, bindings: Bindings = ()) -> Any:
        """The first row of a query as a tuple, or None."""
        with translated(self.path):
            cursor = self.connection.execute(sql, bindings)
            found = cursor.fetchone()
            cursor.close()
            return found

    def value(self, sql: str, bindings: Bindings = ()) -> Any:
        """The first column of the first row, or None."""
        found = self.row(sql, bindings)
        return None if found is None else found[0]

    @contextlib.contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """Several queries that see one state of the store, whatever others commit meanwhile."""
        connection = self.connection
        if connection.in_transaction:
            yield connection
            return
        with translated(self.path):
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")

    # ---- writing

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[apsw.Connection]:
        """All or nothing; holds SQLite's write lock from the start.

        When the `with` ends it has survived a power cut, or with `durable` false will do so with the next durable
        one: for rows that nobody was promised yet (leases, blobs of an image still coming in).  Inside another
        transaction of the same thread it is a part of that one.  Keep it short: no network, no hashing, no
        unpacking.  Raises StoreFull, StoreReadOnly, StoreBusy.
        """
        connection = self.connection
        if self.writing:
            yield connection
            return
        self.check_writable()
        with translated(self.path):
            if not self._local.writer:
                # Only a connection that wrote checkpoints when it closes: a reader leaves the files alone.
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
                self._local.writer = True
            if not durable:
                connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            self._local.writing = True
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # SQLite itself rolls back on a full disk and the like; rolling back twice would hide the reason.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                self._local.writing = False
                if not durable:
                    connection.execute("PRAGMA synchronous = FULL")

    def check_writable(self) -> None:
        """Raise StoreReadOnly where `transaction()` would, before there is anything to lose."""
        self.connection  # noqa: B018  opening it tells
        if self.read_only:
            raise StoreReadOnly(f"{self._root} is on a read-only file system", hint="choose another with --root")

    @property
    def writing(self) -> bool:
        """Whether this thread is inside `transaction()`."""
        return getattr(self._local, "writing", False)

    def setting(self, key: str) -> str | None:
        """A fact about the whole store, or None."""
        found: str | None = self.value("SELECT value FROM setting WHERE key = ?", (key,))
        return found

    # ---- connections

    @property
    def connection(self) -> apsw.Connection:
        """This thread's connection."""
        found: apsw.Connection | None = getattr(self._local, "connection", None)
        if found is not None:
            return found
        try:
            return self._connect()
        except StoreFull:
            # Even reading needs a little room.
            if not reserve.free(self._root):
                raise
            return self._connect()

    def _connect(self) -> apsw.Connection:
        if not reserve.room_to_map(self._root):
            raise store_full(self._root)
        with translated(self.path):
            connection, self.read_only = _connection(self.path)
            try:
                version = connection.pragma("user_version")
                if version > schema.VERSION:
                    raise NewerStore(
                        f"{self.path} has schema {version}; this veneer knows up to {schema.VERSION}",
                        hint="use the newer veneer that wrote it, or another --root",
                    )
                if version < schema.VERSION:
                    if self.read_only:
                        raise StoreReadOnly(f"{self.path} has the old schema {version} and cannot be written here")
                    self._migrate(connection)
            except BaseException:
                connection.close()
                raise
        with self._guard:
            if self._closed:
                connection.close()
                raise StoreClosed(f"{self._root}: the store is closed")
            for thread, other in self._open:
                if thread() is None:
                    other.close()
            self._open = [pair for pair in self._open if pair[0]() is not None]
            self._open.append((weakref.ref(threading.current_thread()), connection))
        self._local.connection = connection
        self._local.writer = self._local.writing = False
        return connection

    def _migrate(self, connection: apsw.Connection) -> None:
        from veneer.store.locks import locked

        # The lock file serialises the change to WAL, which SQLite's busy handler does not wait for.
        with locked(self._lock_file, ["schema"]):
            if connection.pragma("user_version") == 0:
                connection.pragma("journal_mode", "wal")
            connection.execute("BEGIN EXCLUSIVE")
            try:
                connection.pragma("application_id", schema.APPLICATION_ID)
                for step in schema.MIGRATIONS[connection.pragma("user_version") :]:
                    connection.execute(step)
                connection.pragma("user_version", schema.VERSION)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close every connection of this process; idempotent."""
        with self._guard:
            self._closed = True
            doomed, self._open = self._open, []
        with translated(self.path):
            for _, connection in doomed:
                connection.close()


def sqlite_version() -> str:
    """The version of the SQLite in use."""
    return apsw.sqlite_lib_version()


def _connection(path: str) -> tuple[apsw.Connection, bool]:
    """Open `path`: (connection, whether it can only read)."""
    read_only = False
    try:
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        if connection.readonly("main"):
            connection.close()
            raise apsw.ReadOnlyError("not writable by this user")
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        if not os.path.exists(path):
            raise
        read_only = True
        connection = _read_only(path)
    connection.set_busy_timeout(int(BUSY_SECONDS * 1000))
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY")
    return connection, read_only


def _read_only(path: str) -> apsw.Connection:
    """Open a catalogue that this process cannot write."""
    try:
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        except apsw.Error:
            connection.close()
            raise
        return connection
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        if os.path.exists(path + "-wal") and os.path.getsize(path + "-wal"):
            raise StoreReadOnly(
                f"{path} has changes in {os.path.basename(path)}-wal that are not in it yet, and is read-only here",
                hint="run any veneer command once where the file system can be written",
            ) from None
    # On a read-only file system SQLite cannot make the shared memory that WAL needs; immutable does without, and is
    # right there because nobody can write and no log is left to be read.
    from pathlib import Path

    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    return apsw.Connection(Path(path).absolute().as_uri() + "?immutable=1", flags=flags)
