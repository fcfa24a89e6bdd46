//! An api_key, of a user or of an agent.

use sea_orm::entity::prelude::*;

use super::hidden::HiddenBytes;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "api_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub hash: HiddenBytes,
    pub digits: String,
    pub subject_kind: String,
    pub user_id: Option<i64>,
    pub agent_id: Option<i64>,
    pub label: Option<String>,
    pub expires_at: Option<i64>,
    pub last_used_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
    pub membership_id: Option<i64>,
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
        let secrets = Secrets::of([("the hash", [201; 32])]);
        let row = Model {
            hash: HiddenBytes([201; 32].into()),
            digits: "digits".into(),
            subject_kind: "subject_kind".into(),
            user_id: Some(4),
            agent_id: Some(5),
            label: Some("label".into()),
            expires_at: Some(7),
            last_used_at: Some(8),
            created_at: 9,
            updated_at: 10,
            membership_id: Some(11),
        };
        assert_snapshot!(secrets.unsaid(&row), @r#"Model { hash: .., digits: "digits", subject_kind: "subject_kind", user_id: Some(4), agent_id: Some(5), label: Some("label"), expires_at: Some(7), last_used_at: Some(8), created_at: 9, updated_at: 10, membership_id: Some(11) }"#);
        secrets.unsaid(&row.into_active_model());
    }
}
