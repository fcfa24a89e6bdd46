//! Every manifest that ever was in force. Lists are their items, concatenated.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "manifest")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub org_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub epoch: i64,
    pub org_name: String,
    pub root_key: Vec<u8>,
    pub command_key: Vec<u8>,
    pub recovery_key: Option<Vec<u8>>,
    pub operator_keys: Vec<u8>,
    pub revoked: Vec<u8>,
    pub signature: Vec<u8>,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
