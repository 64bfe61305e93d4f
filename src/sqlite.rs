//! One SQLite file, opened safely and used from async code through a thread of its own.
//!
//! [`Database::open`] makes or checks the file; [`Database::call`] runs a closure on the connection, one after
//! another. A commit is on disk before its call returns (`synchronous=FULL`).

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::statfs::{FsType, NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, statfs};
use nix::unistd::{AccessFlags, access};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use tokio::sync::oneshot;

/// How long a statement waits for another process that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// SMB as `statfs(2)` names its later versions; nix has only the first.
const CIFS: FsType = FsType(0xff53_4d42);
const SMB2: FsType = FsType(0xfe53_4d42);

/// What a file must be to be ours, and how it is made.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// `PRAGMA application_id`, which tells our files from others and from each other. Never 0.
    pub application_id: i32,
    /// What the file is, in words for messages: "credential store".
    pub what: &'static str,
    /// Statements that bring version n to n + 1; their number is the version (`PRAGMA user_version`).
    pub migrations: &'static [&'static str],
}

impl Schema {
    fn version(&self) -> i32 {
        i32::try_from(self.migrations.len()).unwrap_or(i32::MAX)
    }
}

/// Whether [`Database::open`] may make the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Make the file, and its folder, where they are missing.
    Create,
    /// The file must be there.
    Existing,
    /// No file: gone when dropped. The path is ignored.
    Memory,
}

/// Why a SQLite file could not be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum SqliteError {
    /// Some other kind of file.
    #[error("`{}` is not a SQLite file; name another path or move it away", path.display())]
    NotSqlite {
        /// The file.
        path: PathBuf,
    },
    /// A SQLite file of somebody else, or of another part of ours.
    #[error(
        "`{}` is a SQLite file but not an aiviary {what} (application_id {found}, expected {expected}); name another path",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
        /// Its `application_id`.
        found: i32,
        /// Ours.
        expected: i32,
    },
    /// Written by a later release.
    #[error("`{}` has version {found} and this release knows up to {known}; use the newer aiviary", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its `user_version`.
        found: i32,
        /// The last version that this release knows.
        known: i32,
    },
    /// The file or its folder may not be written.
    #[error("`{}` cannot be written: the file or its folder is read-only for this user", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// Damaged.
    #[error("`{}` is damaged; put a backup in its place ({detail})", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        detail: String,
    },
    /// The file or its folder could not be made.
    #[error("`{}` cannot be made", path.display())]
    Make {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// [`Mode::Existing`], and there is none.
    #[error(
        "there is no {what} at `{}`; `aiviary store init` makes one, and a relative path is taken from STATE_DIRECTORY, else from the working directory",
        path.display()
    )]
    Absent {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// A symbolic link, folder or device.
    #[error("`{}` is not a regular file; links are not followed", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// On a network file system, where SQLite's locks do not hold.
    #[error("`{}` is on a network file system, where SQLite files get damaged; use a local disk", path.display())]
    Network {
        /// The file.
        path: PathBuf,
    },
    /// Another process held the file for more than five seconds.
    #[error("`{}` is in use by another process", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// No space left.
    #[error("there is no space left for `{}`", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Any other failure of a statement.
    #[error("`{}` could not be read or written", path.display())]
    Query {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// The closure panicked; its transaction was rolled back.
    #[error("an operation on `{}` failed inside this program", path.display())]
    Panicked {
        /// The file.
        path: PathBuf,
    },
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// An open SQLite file. Dropping it waits for running calls, writes the log back into the file and closes it.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    /// `None` only while dropping.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Database {
    /// Opens or makes the file at `path`. Blocks; with a large file for the length of SQLite's quick check.
    ///
    /// # Errors
    /// Each way in which the file is not usable has its own [`SqliteError`].
    pub fn open(path: &Path, schema: &Schema, mode: Mode) -> Result<Self, SqliteError> {
        let path = if mode == Mode::Memory { PathBuf::from(":memory:") } else { resolve(path, schema, mode)? };
        let connection = match mode {
            Mode::Memory => Connection::open_in_memory(),
            Mode::Create | Mode::Existing => Connection::open_with_flags(
                &path,
                OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW,
            ),
        };
        let mut connection = connection.map_err(|error| classify(&path, error))?;
        prepare(&mut connection, &path, schema, mode)?;

        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = thread::Builder::new()
            .name("sqlite".to_owned())
            .spawn(move || serve(connection, &queue))
            .map_err(|source| SqliteError::Make { path: path.clone(), source })?;
        Ok(Self { path, jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `work` on the connection, after all calls made before. It runs to its end even if the caller goes away.
    ///
    /// # Errors
    /// What SQLite refused, or [`SqliteError::Panicked`].
    pub async fn call<T, F>(&self, work: F) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let _gone = reply.send(work(connection));
        });
        let panicked = || SqliteError::Panicked { path: self.path.clone() };
        self.jobs.as_ref().and_then(|jobs| jobs.send(job).ok()).ok_or_else(panicked)?;
        answer.await.map_err(|_| panicked())?.map_err(|error| classify(&self.path, error))
    }

    /// The file, or `:memory:`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.jobs = None;
        // A closure may hold the last handle to its own database: a thread cannot wait for itself.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            let _panicked = thread.join();
        }
    }
}

/// The thread: one job after another until the last sender is gone.
fn serve(mut connection: Connection, queue: &mpsc::Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        // The reply's sender is dropped by the unwinding, which tells the caller.
        if catch_unwind(AssertUnwindSafe(|| job(&mut connection))).is_err() {
            tracing::error!("a database operation panicked");
        }
        if !connection.is_autocommit() {
            let _rolled_back = connection.execute_batch("ROLLBACK");
        }
    }
    let _best_effort = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
}

/// The path with its folder resolved, and the file there, private and regular.
///
/// The folder may be reached through links (systemd's `StateDirectory` with `DynamicUser` is one), the file not.
/// An existing file is never opened here: closing it would drop SQLite's POSIX locks of this process.
fn resolve(path: &Path, schema: &Schema, mode: Mode) -> Result<PathBuf, SqliteError> {
    let make = |path: &Path| {
        let path = path.to_owned();
        move |source| SqliteError::Make { path, source }
    };
    // Whole: where a relative one was taken from may be the very thing that is wrong.
    let whole = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let absent = || SqliteError::Absent { path: whole(), what: schema.what };
    let Some(name) = path.file_name() else { return Err(SqliteError::NotRegular { path: path.to_owned() }) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if mode == Mode::Create {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(make(folder))?;
    }
    let folder = folder.canonicalize().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound if mode == Mode::Existing => absent(),
        _ => make(folder)(source),
    })?;
    let file = folder.join(name);
    if let Ok(found) = statfs(&folder)
        && [NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, CIFS, SMB2].contains(&found.filesystem_type())
    {
        return Err(SqliteError::Network { path: file });
    }
    match fs::symlink_metadata(&file) {
        Ok(found) if !found.is_file() => return Err(SqliteError::NotRegular { path: file }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if mode == Mode::Existing {
                return Err(absent());
            }
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied) =>
                {
                    return Err(SqliteError::ReadOnly { path: file });
                }
                Err(error) => return Err(make(&file)(error)),
            }
        }
        Err(error) => return Err(make(&file)(error)),
    }
    // SQLite gives -wal and -shm the mode of the file; those left by an earlier process keep theirs.
    for suffix in ["", "-wal", "-shm"] {
        let mut part = file.clone().into_os_string();
        part.push(suffix);
        if fs::symlink_metadata(&part).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o077 != 0) {
            let _not_ours = fs::set_permissions(&part, Permissions::from_mode(0o600));
        }
    }
    Ok(file)
}

/// What a file says of itself.
struct Found {
    application_id: i32,
    version: i32,
    /// No table and no mark of anybody: as good as missing.
    nothing: bool,
    /// Writes go to a log beside it (`journal_mode`); not so in a backup by `VACUUM INTO`.
    logged: bool,
}

impl Found {
    fn current(&self, schema: &Schema) -> bool {
        self.application_id == schema.application_id && self.version == schema.version()
    }
}

/// All of it at one moment, since another process may just be making the file.
fn look(connection: &mut Connection) -> rusqlite::Result<Found> {
    let moment = connection.transaction()?;
    let number = |name| moment.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application_id, version) = (number("application_id")?, number("user_version")?);
    let empty = moment.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get::<_, bool>(0))?;
    let journal: String = moment.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let nothing = application_id == 0 && version == 0 && empty;
    Ok(Found { application_id, version, nothing, logged: journal == "wal" })
}

/// Checks that the file is ours and whole, brings it to the current version, and sets the connection up.
fn prepare(connection: &mut Connection, path: &Path, schema: &Schema, mode: Mode) -> Result<(), SqliteError> {
    let failed = |error| classify(path, error);
    let read_only = || SqliteError::ReadOnly { path: path.to_owned() };
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    // Before anything is written: the file may be somebody else's.
    let mut found = look(connection).map_err(failed)?;
    // One process at a time makes a file, turns it to its log or changes its tables: of two that turn it at once,
    // SQLite fails one. The lock is on the folder, for closing a file of SQLite's own would give up its locks.
    let _making = match path.parent() {
        Some(folder) if mode != Mode::Memory && !(found.logged && found.current(schema)) => {
            let make = |source| SqliteError::Make { path: path.to_owned(), source };
            let folder = File::open(folder).map_err(make)?;
            folder.lock().map_err(make)?;
            found = look(connection).map_err(failed)?;
            Some(folder)
        }
        _ => None,
    };
    if found.nothing && mode == Mode::Existing {
        return Err(SqliteError::Absent { path: path.to_owned(), what: schema.what });
    }
    if !found.nothing && found.application_id != schema.application_id {
        return Err(SqliteError::Foreign {
            path: path.to_owned(),
            what: schema.what,
            found: found.application_id,
            expected: schema.application_id,
        });
    }
    if found.version > schema.version() {
        return Err(SqliteError::Newer { path: path.to_owned(), found: found.version, known: schema.version() });
    }
    // SQLite opens a file that it may not write for reading, and fails at the first write only.
    if connection.is_readonly("main").map_err(failed)? {
        return Err(read_only());
    }
    if mode != Mode::Memory
        && let Some(folder) = path.parent()
        && access(folder, AccessFlags::W_OK).is_err()
    {
        return Err(read_only());
    }
    connection.pragma_update(None, "trusted_schema", false).map_err(failed)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;

    let checked: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if checked != "ok" {
        return Err(SqliteError::Corrupt { path: path.to_owned(), detail: checked });
    }
    if !found.current(schema) {
        migrate(connection, schema).map_err(failed)?;
    }
    Ok(())
}

/// All missing steps in one transaction; the version is read again inside it, for another process may be at it too.
fn migrate(connection: &mut Connection, schema: &Schema) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for step in schema.migrations.iter().skip(usize::try_from(version).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", schema.application_id)?;
    transaction.pragma_update(None, "user_version", schema.version().max(version))?;
    transaction.commit()
}

fn classify(path: &Path, error: rusqlite::Error) -> SqliteError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => SqliteError::NotSqlite { path },
        Some(ErrorCode::DatabaseCorrupt) => SqliteError::Corrupt { path, detail: error.to_string() },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => SqliteError::ReadOnly { path },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => SqliteError::Busy { path },
        Some(ErrorCode::DiskFull) => SqliteError::Full { path },
        // Its -wal and -shm cannot be made there, or the file itself may not be opened.
        Some(ErrorCode::CannotOpen) if access(&path, AccessFlags::R_OK | AccessFlags::W_OK).is_err() => {
            SqliteError::ReadOnly { path }
        }
        _ => SqliteError::Query { path, source: error },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::Barrier;

    use super::*;

    const SCHEMA: Schema = Schema {
        application_id: 0x7e57,
        what: "test file",
        migrations: &["CREATE TABLE words (word TEXT PRIMARY KEY) STRICT", "ALTER TABLE words ADD COLUMN note TEXT"],
    };

    async fn words(database: &Database) -> i64 {
        database.call(|db| db.query_row("SELECT count(*) FROM words", [], |row| row.get(0))).await.unwrap()
    }

    fn add(word: &'static str) -> impl FnOnce(&mut Connection) -> rusqlite::Result<usize> + Send {
        move |db| db.execute("INSERT INTO words (word) VALUES (?1)", [word])
    }

    #[tokio::test]
    async fn what_was_written_is_there_after_a_restart_and_stays_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/deep/test.db");
        let database = Database::open(&path, &SCHEMA, Mode::Create).unwrap();
        database.call(add("one")).await.unwrap();
        for part in ["test.db", "test.db-wal", "test.db-shm"] {
            let found = fs::metadata(path.with_file_name(part)).unwrap();
            assert_eq!(found.permissions().mode() & 0o777, 0o600, "{part}");
        }
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        drop(database);
        assert!(!path.with_file_name("test.db-wal").exists(), "the log is written back at the end");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let database = Database::open(&path, &SCHEMA, Mode::Existing).unwrap();
        assert_eq!(words(&database).await, 1);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn the_connection_is_set_up_as_designed() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("test.db"), &SCHEMA, Mode::Create).unwrap();
        for (pragma, expected) in [
            ("journal_mode", "wal"),
            ("synchronous", "2"),
            ("trusted_schema", "0"),
            ("foreign_keys", "1"),
            ("busy_timeout", "5000"),
            ("user_version", "2"),
            ("application_id", "32343"),
        ] {
            let sql = format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}");
            let sql = if pragma == "busy_timeout" { sql.replacen("busy_timeout", "timeout", 1) } else { sql };
            let found: String = database.call(move |db| db.query_row(&sql, [], |row| row.get(0))).await.unwrap();
            assert_eq!(found, expected, "{pragma}");
        }
    }

    #[tokio::test]
    async fn a_closure_that_panics_harms_only_its_own_call() {
        let database = Database::open(Path::new(""), &SCHEMA, Mode::Memory).unwrap();
        let failed = database
            .call(|db| {
                db.execute_batch("BEGIN; INSERT INTO words (word) VALUES ('lost')")?;
                if db.is_autocommit() { Ok(()) } else { panic!("on purpose") }
            })
            .await;
        assert!(matches!(failed, Err(SqliteError::Panicked { .. })));
        database.call(add("kept")).await.unwrap();
        assert_eq!(words(&database).await, 1);
    }

    #[test]
    fn each_unusable_file_is_told_apart_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let open = |name: &str, mode| Database::open(&at(name), &SCHEMA, mode).map(drop).unwrap_err();

        fs::write(at("text"), "# not a database at all, but longer than a header\n".repeat(20)).unwrap();
        assert!(matches!(open("text", Mode::Create), SqliteError::NotSqlite { .. }));

        for (name, sql) in [
            ("foreign", "CREATE TABLE theirs (id)"),
            ("foreign-id", "PRAGMA application_id = 7"),
            ("newer", "PRAGMA application_id = 32343; PRAGMA user_version = 9"),
        ] {
            Connection::open(at(name)).unwrap().execute_batch(sql).unwrap();
            let before = fs::read(at(name)).unwrap();
            let error = open(name, Mode::Create);
            match name {
                "newer" => assert!(matches!(error, SqliteError::Newer { found: 9, known: 2, .. })),
                _ => assert!(matches!(error, SqliteError::Foreign { expected: 0x7e57, .. })),
            }
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(fs::read(at(name)).unwrap(), before, "{name} was changed");
        }

        assert!(matches!(open("absent", Mode::Existing), SqliteError::Absent { .. }));
        assert!(matches!(open("no/folder", Mode::Existing), SqliteError::Absent { .. }));
        assert!(!at("absent").exists());
        fs::write(at("empty"), "").unwrap();
        assert!(matches!(open("empty", Mode::Existing), SqliteError::Absent { .. }));
        assert!(matches!(open("text/below", Mode::Create), SqliteError::Make { .. }));
        symlink(at("empty"), at("link")).unwrap();
        assert!(matches!(open("link", Mode::Create), SqliteError::NotRegular { .. }));
        fs::create_dir(at("dir")).unwrap();
        assert!(matches!(open("dir", Mode::Create), SqliteError::NotRegular { .. }));
    }

    fn opened_by_many_at_once(path: &Path) {
        let at_once = Barrier::new(8);
        let open = || {
            at_once.wait();
            Database::open(path, &SCHEMA, Mode::Create).map(drop)
        };
        thread::scope(|scope| {
            let opening = [(); 8].map(|()| scope.spawn(open));
            for opened in opening {
                opened.join().unwrap().unwrap();
            }
        });
    }

    #[tokio::test]
    async fn many_may_open_a_new_file_or_a_backup_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let (new, backup) =
                (folder.path().join(format!("{round}.db")), folder.path().join(format!("{round}.copy")));
            opened_by_many_at_once(&new);
            let database = Database::open(&new, &SCHEMA, Mode::Existing).unwrap();
            database.call(add("one")).await.unwrap();
            let into = backup.to_str().unwrap().to_owned();
            database.call(move |db| db.execute("VACUUM INTO ?1", [into])).await.unwrap();
            opened_by_many_at_once(&backup);
            assert_eq!(words(&Database::open(&backup, &SCHEMA, Mode::Existing).unwrap()).await, 1);
        }
    }

    #[tokio::test]
    async fn a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let database = Database::open(&path, &SCHEMA, Mode::Create).unwrap();
        database.call(add("one")).await.unwrap();
        drop(database);
        let mut bytes = fs::read(&path).unwrap();
        let page = bytes.len() - 4096;
        bytes[page..].fill(0xa5);
        fs::write(&path, bytes).unwrap();
        assert!(matches!(Database::open(&path, &SCHEMA, Mode::Create), Err(SqliteError::Corrupt { .. })));
    }

    #[test]
    fn a_folder_reached_through_a_link_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("private")).unwrap();
        symlink(folder.path().join("private"), folder.path().join("public")).unwrap();
        let path = folder.path().join("public/test.db");
        assert!(Database::open(&path, &SCHEMA, Mode::Create).is_ok());
    }
}
