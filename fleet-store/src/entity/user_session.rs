//! An operator's session.

use sea_orm::entity::prelude::*;

use super::hidden::HiddenBytes;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "user_session")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub token_hash: HiddenBytes,
    pub user_id: i64,
    pub expires_at: i64,
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
        let secrets = Secrets::of([("the token hash", [201; 32])]);
        let row = Model {
            token_hash: HiddenBytes([201; 32].into()),
            user_id: 2,
            expires_at: 3,
            created_at: 4,
            updated_at: 5,
            membership_id: Some(6),
        };
        assert_snapshot!(secrets.unsaid(&row), @"Model { token_hash: .., user_id: 2, expires_at: 3, created_at: 4, updated_at: 5, membership_id: Some(6) }");
        secrets.unsaid(&row.into_active_model());
    }
}
