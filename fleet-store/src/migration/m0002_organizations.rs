//! Several organizations: who belongs to which, and which one a session or an operator's api_key acts for.
//!
//! A session and an operator's api_key hang on one membership, and the database itself ends them with it. The first
//! organization has the number 1 for ever, whatever a clock says; names are compared in lower case.

use std::collections::HashSet;

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbErr, Statement, Value};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::m0001_initial::dialect;

pub(super) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m0002_organizations"
    }
}

#[async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let backend = connection.get_database_backend();
        for statement in SCHEMA {
            connection.execute_unprepared(&dialect(statement, backend)).await?;
        }
        number_organizations(connection).await?;
        for statement in EXISTING {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

/// In Rust, since SQLite's own lower() knows ASCII alone.
async fn number_organizations<C: ConnectionTrait>(connection: &C) -> Result<(), DbErr> {
    let backend = connection.get_database_backend();
    let rows = connection
        .query_all_raw(Statement::from_string(
            backend,
            "SELECT o.id, m.org_name FROM organization o
             JOIN manifest m ON m.org_id = o.id AND m.epoch = o.epoch ORDER BY o.created_at, o.id",
        ))
        .await?;
    let mut taken = HashSet::new();
    for (number, row) in (1_i64..).zip(rows) {
        let (id, name): (i64, String) = (row.try_get("", "id")?, row.try_get("", "org_name")?);
        let key = crate::organizations::name_key(&name);
        // Nothing made two of a name so far; if somebody has by hand, both are still found by their ids.
        let key = taken.insert(key.clone()).then_some(key);
        let update = "UPDATE organization SET number = $2, name_key = $3 WHERE id = $1";
        let values = [id.into(), number.into(), Value::from(key)];
        connection.execute_raw(Statement::from_sql_and_values(backend, update, values)).await?;
    }
    Ok(())
}

const SCHEMA: &[&str] = &[
    "ALTER TABLE organization ADD COLUMN number @INT",
    "ALTER TABLE organization ADD COLUMN name_key TEXT",
    "CREATE UNIQUE INDEX organization_number ON organization (number)",
    "CREATE UNIQUE INDEX organization_name ON organization (name_key)",
    // Ids rise: the lowest of a user's is where they were first.
    "CREATE TABLE membership (
        id @SERIAL,
        user_id @INT NOT NULL REFERENCES app_user (id) ON DELETE CASCADE,
        org_id @INT NOT NULL REFERENCES organization (id),
        created_at @INT NOT NULL,
        updated_at @INT NOT NULL,
        UNIQUE (user_id, org_id)
    )@END",
    "CREATE INDEX membership_org ON membership (org_id)",
    // What has no membership acts for nobody.
    "ALTER TABLE user_session ADD COLUMN membership_id @INT REFERENCES membership (id) ON DELETE CASCADE",
    "ALTER TABLE api_key ADD COLUMN membership_id @INT REFERENCES membership (id) ON DELETE CASCADE
        CHECK (membership_id IS NULL OR subject_kind = 'user')",
    "CREATE INDEX user_session_membership ON user_session (membership_id)",
    "CREATE INDEX api_key_membership ON api_key (membership_id)",
];

const EXISTING: &[&str] = &[
    "INSERT INTO membership (user_id, org_id, created_at, updated_at)
        SELECT id, org_id, created_at, updated_at FROM app_user ORDER BY created_at, id",
    "UPDATE user_session SET membership_id =
        (SELECT m.id FROM membership m WHERE m.user_id = user_session.user_id)",
    "UPDATE api_key SET membership_id = (SELECT m.id FROM membership m WHERE m.user_id = api_key.user_id)
        WHERE subject_kind = 'user'",
];
