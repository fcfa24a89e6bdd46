//! A miner, whatever its address.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "device")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub org_id: i64,
    pub endpoint: String,
    pub name: Option<String>,
    pub make: String,
    pub model: String,
    pub firmware: String,
    pub serial: Option<String>,
    pub mac: Option<Vec<u8>>,
    pub driver: String,
    pub paired_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
