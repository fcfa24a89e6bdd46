//! An agent, with what it last reported of itself.

use sea_orm::entity::prelude::*;

use super::hidden::HiddenBytes;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "agent")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub org_id: i64,
    pub name: String,
    pub kind: String,
    pub status: String,
    pub identity_key: Vec<u8>,
    pub miner_signing_key: Vec<u8>,
    pub sealing_key: Vec<u8>,
    pub enrollment_id: Option<i64>,
    pub certificate_name: Option<String>,
    pub certificate_key_epoch: Option<i64>,
    pub certificate_issued_at: Option<i64>,
    pub certificate_identity_key: Option<Vec<u8>>,
    pub certificate_miner_signing_key: Option<Vec<u8>>,
    pub certificate_sealing_key: Option<Vec<u8>>,
    pub certificate_signature: Option<HiddenBytes>,
    pub sealed_api_key: Option<HiddenBytes>,
    pub confirmed_at: Option<i64>,
    pub revoked_at: Option<i64>,
    pub last_sequence: i64,
    pub last_begin_at: Option<i64>,
    pub last_heartbeat_at: Option<i64>,
    pub agent_version: Option<String>,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
    pub deleted_at: Option<i64>,
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
        let secrets =
            Secrets::of([("the certificate signature", [216; 32]), ("the sealed api key", [217; 32])]);
        let row = Model {
            id: 1,
            org_id: 2,
            name: "name".into(),
            kind: "kind".into(),
            status: "status".into(),
            identity_key: vec![6],
            miner_signing_key: vec![7],
            sealing_key: vec![8],
            enrollment_id: Some(9),
            certificate_name: Some("certificate_name".into()),
            certificate_key_epoch: Some(11),
            certificate_issued_at: Some(12),
            certificate_identity_key: Some(vec![13]),
            certificate_miner_signing_key: Some(vec![14]),
            certificate_sealing_key: Some(vec![15]),
            certificate_signature: Some(HiddenBytes([216; 32].into())),
            sealed_api_key: Some(HiddenBytes([217; 32].into())),
            confirmed_at: Some(18),
            revoked_at: Some(19),
            last_sequence: 20,
            last_begin_at: Some(21),
            last_heartbeat_at: Some(22),
            agent_version: Some("agent_version".into()),
            version: 24,
            created_at: 25,
            updated_at: 26,
            deleted_at: Some(27),
        };
        assert_snapshot!(secrets.unsaid(&row), @r#"Model { id: 1, org_id: 2, name: "name", kind: "kind", status: "status", identity_key: [6], miner_signing_key: [7], sealing_key: [8], enrollment_id: Some(9), certificate_name: Some("certificate_name"), certificate_key_epoch: Some(11), certificate_issued_at: Some(12), certificate_identity_key: Some([13]), certificate_miner_signing_key: Some([14]), certificate_sealing_key: Some([15]), certificate_signature: Some(..), sealed_api_key: Some(..), confirmed_at: Some(18), revoked_at: Some(19), last_sequence: 20, last_begin_at: Some(21), last_heartbeat_at: Some(22), agent_version: Some("agent_version"), version: 24, created_at: 25, updated_at: 26, deleted_at: Some(27) }"#);
        secrets.unsaid(&row.into_active_model());
    }
}
