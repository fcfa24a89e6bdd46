//! Empty databases for tests: SQLite files, and PostgreSQL databases of a cluster of their own.

pub mod bench;
pub mod cluster;
pub mod fixture;
pub mod server;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fleet_store::Store;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use tempfile::TempDir;

pub use cluster::Cluster;

/// A check of the suite: what holds for a store on whichever database.
pub type Check = for<'a> fn(&'a Databases) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Makes empty databases.
pub struct Databases {
    backing: Backing,
    directories: Mutex<Vec<TempDir>>,
}

enum Backing {
    Sqlite,
    /// The URL without the database's name.
    Postgres(String),
}

/// One empty database.
pub struct Empty {
    pub url: String,
    /// The file, on SQLite.
    pub file: Option<PathBuf>,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Databases {
    pub fn sqlite() -> Self {
        Self { backing: Backing::Sqlite, directories: Mutex::default() }
    }

    pub fn postgres(server: &str) -> Self {
        let backing = Backing::Postgres(server.trim_end_matches('/').to_owned());
        Self { backing, directories: Mutex::default() }
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(self.backing, Backing::Sqlite)
    }

    /// An empty database.
    pub async fn empty(&self) -> Empty {
        match &self.backing {
            Backing::Sqlite => {
                let directory = tempfile::tempdir().unwrap();
                let file = directory.path().join("fleet.db");
                self.directories.lock().unwrap().push(directory);
                Empty { url: format!("sqlite://{}", file.display()), file: Some(file) }
            }
            Backing::Postgres(server) => {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                let name = format!("fleet_test_{}_{number}", std::process::id());
                let admin = Database::connect(format!("{server}/postgres")).await.unwrap();
                for statement in
                    [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")]
                {
                    admin.execute_unprepared(&statement).await.unwrap();
                }
                admin.close().await.unwrap();
                Empty { url: format!("{server}/{name}"), file: None }
            }
        }
    }

    /// A store on an empty database.
    pub async fn store(&self) -> Store {
        Store::open(&self.empty().await.url).await.unwrap()
    }
}

impl Empty {
    /// The database behind the store's back.
    pub async fn raw(&self) -> DatabaseConnection {
        Database::connect(&self.url).await.unwrap()
    }
}
