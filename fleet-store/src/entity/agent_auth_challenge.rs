//! The one challenge that an agent may have.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "agent_auth_challenge")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: i64,
    pub challenge: Vec<u8>,
    pub api_key_hash: Vec<u8>,
    pub identity_key: Vec<u8>,
    pub client_nonce: Vec<u8>,
    pub command_key: Vec<u8>,
    pub server_time: i64,
    pub expires_at: i64,
    pub last_sequence: i64,
    pub manifest_hash: Vec<u8>,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
