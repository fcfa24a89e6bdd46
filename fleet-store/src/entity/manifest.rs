//! Every manifest that ever was in force. Lists are their items, concatenated.

use sea_orm::entity::prelude::*;

use super::hidden::HiddenBytes;

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
    pub signature: HiddenBytes,
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
        let secrets = Secrets::of([("the signature", [209; 32])]);
        let row = Model {
            org_id: 1,
            epoch: 2,
            org_name: "org_name".into(),
            root_key: vec![4],
            command_key: vec![5],
            recovery_key: Some(vec![6]),
            operator_keys: vec![7],
            revoked: vec![8],
            signature: HiddenBytes([209; 32].into()),
            created_at: 10,
            updated_at: 11,
        };
        assert_snapshot!(secrets.unsaid(&row), @r#"Model { org_id: 1, epoch: 2, org_name: "org_name", root_key: [4], command_key: [5], recovery_key: Some([6]), operator_keys: [7], revoked: [8], signature: .., created_at: 10, updated_at: 11 }"#);
        secrets.unsaid(&row.into_active_model());
    }
}
