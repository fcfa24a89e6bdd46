//! An operator's account. `org_id` is the organization that it was made for; what it may act for are its memberships.

use sea_orm::entity::prelude::*;

use super::hidden::HiddenText;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "app_user")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub org_id: i64,
    pub name: String,
    pub password_hash: HiddenText,
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
        let secrets = Secrets::of([("the password hash", "$argon2id$a-hash-to-be-found")]);
        let row = Model {
            id: 1,
            org_id: 2,
            name: "name".into(),
            password_hash: HiddenText("$argon2id$a-hash-to-be-found".into()),
            created_at: 5,
            updated_at: 6,
        };
        assert_snapshot!(secrets.unsaid(&row), @r#"Model { id: 1, org_id: 2, name: "name", password_hash: .., created_at: 5, updated_at: 6 }"#);
        secrets.unsaid(&row.into_active_model());
    }
}
