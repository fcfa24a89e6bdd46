//! The one challenge that an agent may have.

use sea_orm::entity::prelude::*;

use super::hidden::HiddenBytes;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "agent_auth_challenge")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: i64,
    pub challenge: HiddenBytes,
    pub api_key_hash: HiddenBytes,
    pub identity_key: Vec<u8>,
    pub client_nonce: HiddenBytes,
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

#[cfg(test)]
mod tests {
    use fleet_core::testing::Secrets;
    use insta::assert_snapshot;
    use sea_orm::IntoActiveModel;

    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let secrets = Secrets::of([
            ("the challenge", [202; 32]),
            ("the api key hash", [203; 32]),
            ("the client nonce", [205; 32]),
        ]);
        let row = Model {
            agent_id: 1,
            challenge: HiddenBytes([202; 32].into()),
            api_key_hash: HiddenBytes([203; 32].into()),
            identity_key: vec![4],
            client_nonce: HiddenBytes([205; 32].into()),
            command_key: vec![6],
            server_time: 7,
            expires_at: 8,
            last_sequence: 9,
            manifest_hash: vec![10],
            created_at: 11,
            updated_at: 12,
        };
        assert_snapshot!(secrets.unsaid(&row), @"Model { agent_id: 1, challenge: .., api_key_hash: .., identity_key: [4], client_nonce: .., command_key: [6], server_time: 7, expires_at: 8, last_sequence: 9, manifest_hash: [10], created_at: 11, updated_at: 12 }");
        secrets.unsaid(&row.into_active_model());
    }
}
