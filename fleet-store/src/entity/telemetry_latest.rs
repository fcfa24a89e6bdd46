//! The newest sample of a device.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "telemetry_latest")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_id: i64,
    pub agent_id: i64,
    pub taken_at: i64,
    pub status: String,
    pub hashrate_hs: Option<f64>,
    pub power_w: Option<f64>,
    pub efficiency_j_per_th: Option<f64>,
    pub temperature_c: Option<f64>,
    pub fan_rpm: String,
    pub boards: String,
    pub uptime_s: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
