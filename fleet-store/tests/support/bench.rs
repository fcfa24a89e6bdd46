//! Operations that are made to fail at every step of their transactions, one after the other.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use fleet_store::{Fault, Faults, Store};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};

use super::Empty;

/// A write, to be made as often as it takes.
pub type Operation = Box<dyn Fn(Store) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>>;

/// A write, of values that are cloned each time.
pub fn operation<F, R, E>(write: impl Fn(Store) -> F + 'static) -> Operation
where
    F: Future<Output = Result<R, E>> + Send + 'static,
    E: std::fmt::Debug,
{
    Box::new(move |store| {
        let write = write(store);
        Box::pin(async move { write.await.map(drop).map_err(|error| format!("{error:?}")) })
    })
}

/// A store that fails on demand, and a look at its database from outside.
#[derive(Clone)]
pub struct Bench {
    store: Store,
    faults: Arc<Faults>,
    raw: DatabaseConnection,
    dump: String,
}

/// Every row of every table, but for the time of the last write.
pub type Dump = Vec<(String, String)>;
/// How many rows went from each table, and how many came; one that was changed did both.
type Shape = BTreeMap<String, (usize, usize)>;

impl Bench {
    pub async fn new(store: &Store, empty: &Empty) -> Self {
        let faults = Arc::new(Faults::default());
        let raw = empty.raw().await;
        let mut tables = Vec::new();
        let names = if empty.file.is_some() {
            "SELECT name AS n FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        } else {
            "SELECT tablename::text AS n FROM pg_tables WHERE schemaname = 'public'"
        };
        for table in texts(&raw, names, "n").await {
            let row = if empty.file.is_some() {
                let columns = format!("SELECT name AS n FROM pragma_table_info('{table}')");
                let columns =
                    texts(&raw, &columns, "n").await.into_iter().filter(|name| name != "updated_at");
                columns.map(|name| format!("quote({name})")).collect::<Vec<_>>().join(" || ',' || ")
            } else {
                "(to_jsonb(t) - 'updated_at')::text".to_owned()
            };
            tables.push(format!("SELECT '{table}' AS name, {row} AS content FROM {table} t"));
        }
        assert!(tables.len() > 15, "{tables:?}");
        let dump = tables.join(" UNION ALL ");
        Self { store: store.with_faults(faults.clone()), faults, raw, dump }
    }

    pub async fn dump(&self) -> Dump {
        let statement = Statement::from_string(self.raw.get_database_backend(), &self.dump);
        let rows = self.raw.query_all_raw(statement).await.unwrap();
        let text = |row: &sea_orm::QueryResult, column| row.try_get::<String>("", column).unwrap();
        let mut dump: Dump = rows.iter().map(|row| (text(row, "name"), text(row, "content"))).collect();
        dump.sort_unstable();
        dump
    }

    /// Runs an operation whose `n`-th step goes wrong: whether there was such a step, what came
    /// out if anything did, and the database after, beside what it was `before`.
    async fn strike(&self, operation: &Operation, n: usize, fault: Fault, before: Dump) -> Strike {
        self.faults.arm(n, fault);
        let outcome = tokio::select! {
            outcome = operation(self.store.clone()) => Some(outcome),
            () = self.faults.hung() => None,
        };
        let struck = self.faults.disarm();
        Strike { struck, outcome, before, after: self.dump().await }
    }

    pub async fn close(self) {
        self.raw.close().await.unwrap();
    }
}

struct Strike {
    struck: bool,
    outcome: Option<Result<(), String>>,
    before: Dump,
    after: Dump,
}

/// Makes one operation fail at every step, in every way: what is stored is what was before, or all
/// that the operation stores. `make` prepares an operation of its own for each way to fail, each on
/// a database that is like the others as far as the operation goes.
pub async fn whole_or_nothing(name: &str, make: impl AsyncFn(Fault) -> (Bench, Operation)) {
    let (bench, operation) = make(Fault::FailBefore).await;
    let mut steps = 0;
    let mut dump = bench.dump().await;
    let whole = loop {
        let strike = bench.strike(&operation, steps + 1, Fault::FailBefore, dump).await;
        if !strike.struck {
            assert_eq!(strike.outcome, Some(Ok(())), "{name}: without a fault");
            break shape(&strike);
        }
        steps += 1;
        assert!(matches!(strike.outcome, Some(Err(_))), "{name}: step {steps} failed unnoticed");
        strike.assert_nothing(&format!("{name}: step {steps} failed and something was stored"));
        dump = strike.after;
    };
    assert!(steps >= 3, "{name}: nothing between BEGIN and COMMIT");
    assert!(!whole.is_empty(), "{name}: stores nothing, so that nothing was tested");
    for fault in [Fault::FailAfter, Fault::HangAfter] {
        let (bench, operation) = make(fault).await;
        let mut dump = bench.dump().await;
        for step in 1..=steps {
            let strike = bench.strike(&operation, step, fault, dump).await;
            assert!(strike.struck, "{name}: there are {steps} steps, and no step {step}");
            assert_ne!(strike.outcome, Some(Ok(())), "{name}: {fault:?} of step {step} unnoticed");
            if step < steps {
                strike.assert_nothing(&format!("{name}: something was stored, {fault:?} of step {step}"));
            } else {
                // The COMMIT has happened.
                assert_eq!(shape(&strike), whole, "{name}: {fault:?} of the last step");
            }
            dump = strike.after;
        }
    }
}

/// Makes an operation that is refused fail at every step, its `ROLLBACK` too: nothing is stored.
pub async fn nothing_ever(name: &str, bench: &Bench, operation: &Operation) {
    for fault in [Fault::FailBefore, Fault::FailAfter, Fault::HangAfter] {
        let mut step = 0;
        let mut dump = bench.dump().await;
        loop {
            step += 1;
            let strike = bench.strike(operation, step, fault, dump).await;
            assert_ne!(strike.outcome, Some(Ok(())), "{name}: {fault:?} of step {step}");
            strike.assert_nothing(&format!("{name}: {fault:?} of step {step}"));
            if !strike.struck {
                break;
            }
            dump = strike.after;
        }
        assert!(step > 3, "{name}: nothing between BEGIN and ROLLBACK");
    }
}

/// Makes a read fail at every step: it says so each time, rather than answer with what is not so.
pub async fn fails_whenever_a_step_does(name: &str, bench: &Bench, read: &Operation) {
    let before = bench.dump().await;
    let mut steps = 0;
    for fault in [Fault::FailBefore, Fault::FailAfter] {
        let mut n = 0;
        loop {
            bench.faults.arm(n + 1, fault);
            let outcome = read(bench.store.clone()).await;
            if !bench.faults.disarm() {
                assert_eq!(outcome, Ok(()), "{name}: without a fault");
                break;
            }
            n += 1;
            assert!(outcome.is_err(), "{name}: {fault:?} of step {n} unnoticed");
        }
        steps = n;
    }
    assert!(steps > 0, "{name}: no step, so that nothing was tested");
    assert_eq!(bench.dump().await, before, "{name}: a read changes nothing");
}

impl Strike {
    fn gone(&self) -> impl Iterator<Item = &(String, String)> {
        self.before.iter().filter(|row| self.after.binary_search(row).is_err())
    }

    fn come(&self) -> impl Iterator<Item = &(String, String)> {
        self.after.iter().filter(|row| self.before.binary_search(row).is_err())
    }

    /// Shows what changed, if anything has.
    fn assert_nothing(&self, what: &str) {
        let (gone, come): (Vec<_>, Vec<_>) = (self.gone().collect(), self.come().collect());
        assert!(gone.is_empty() && come.is_empty(), "{what}: gone {gone:#?}, come {come:#?}");
    }
}

fn shape(strike: &Strike) -> Shape {
    let mut shape = Shape::new();
    for (table, _) in strike.gone() {
        shape.entry(table.clone()).or_default().0 += 1;
    }
    for (table, _) in strike.come() {
        shape.entry(table.clone()).or_default().1 += 1;
    }
    shape
}

async fn texts(raw: &DatabaseConnection, sql: &str, column: &str) -> Vec<String> {
    let rows = raw.query_all_raw(Statement::from_string(raw.get_database_backend(), sql)).await.unwrap();
    rows.iter().map(|row| row.try_get("", column).unwrap()).collect()
}
