//! An agent, with what it last reported of itself.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "agent")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub org_id: i64,
    pub name: String,
    pub kind: String,
    pub status: String,
    pub identity_key: Vec<u8>,
    pub miner_signing_key: Vec<u8>,
    pub sealing_key: Vec<u8>,
    pub enrollment_id: Option<i64>,
    pub certificate_name: Option<String>,
    pub certificate_key_epoch: Option<i64>,
    pub certificate_issued_at: Option<i64>,
    pub certificate_identity_key: Option<Vec<u8>>,
    pub certificate_miner_signing_key: Option<Vec<u8>>,
    pub certificate_sealing_key: Option<Vec<u8>>,
    pub certificate_signature: Option<Vec<u8>>,
    pub sealed_api_key: Option<Vec<u8>>,
    pub confirmed_at: Option<i64>,
    pub revoked_at: Option<i64>,
    pub last_sequence: i64,
    pub last_begin_at: Option<i64>,
    pub last_heartbeat_at: Option<i64>,
    pub agent_version: Option<String>,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
    pub deleted_at: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
