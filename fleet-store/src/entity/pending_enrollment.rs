//! The row behind one enrollment code.

use sea_orm::entity::prelude::*;

use super::hidden::HiddenBytes;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "pending_enrollment")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub org_id: i64,
    pub code_hash: HiddenBytes,
    pub state: String,
    pub expires_at: i64,
    pub agent_id: Option<i64>,
    pub answered_at: Option<i64>,
    pub second_uses: i64,
    pub second_use_at: Option<i64>,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

#[cfg(test)]
mod tests {
    use fleet_core::testing::Secrets;
    use insta::assert_snapshot;
    use sea_orm::IntoActiveModel;

    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let secrets = Secrets::of([("the code hash", [203; 32])]);
        let row = Model {
            id: 1,
            org_id: 2,
            code_hash: HiddenBytes([203; 32].into()),
            state: "state".into(),
            expires_at: 5,
            agent_id: Some(6),
            answered_at: Some(7),
            second_uses: 8,
            second_use_at: Some(9),
            version: 10,
            created_at: 11,
            updated_at: 12,
        };
        assert_snapshot!(secrets.unsaid(&row), @r#"Model { id: 1, org_id: 2, code_hash: .., state: "state", expires_at: 5, agent_id: Some(6), answered_at: Some(7), second_uses: 8, second_use_at: Some(9), version: 10, created_at: 11, updated_at: 12 }"#);
        secrets.unsaid(&row.into_active_model());
    }
}
