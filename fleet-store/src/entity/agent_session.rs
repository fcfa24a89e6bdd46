//! An agent's session.

use sea_orm::entity::prelude::*;

use super::hidden::HiddenBytes;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "agent_session")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub token_hash: HiddenBytes,
    pub agent_id: i64,
    pub api_key_hash: HiddenBytes,
    pub identity_key: Vec<u8>,
    pub command_key: Vec<u8>,
    pub expires_at: i64,
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
        let secrets = Secrets::of([("the token hash", [201; 32]), ("the api key hash", [203; 32])]);
        let row = Model {
            token_hash: HiddenBytes([201; 32].into()),
            agent_id: 2,
            api_key_hash: HiddenBytes([203; 32].into()),
            identity_key: vec![4],
            command_key: vec![5],
            expires_at: 6,
            created_at: 7,
            updated_at: 8,
        };
        assert_snapshot!(secrets.unsaid(&row), @"Model { token_hash: .., agent_id: 2, api_key_hash: .., identity_key: [4], command_key: [5], expires_at: 6, created_at: 7, updated_at: 8 }");
        secrets.unsaid(&row.into_active_model());
    }
}
