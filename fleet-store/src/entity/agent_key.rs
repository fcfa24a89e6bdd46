//! A key that an agent has in some role; unique across roles and agents.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "agent_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_bytes: Vec<u8>,
    pub agent_id: i64,
    pub role: String,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
