//! The whole suite, on SQLite and on PostgreSQL: what a `ServerStore` must do, and what this
//! crate's store does besides.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

mod suite;
mod support;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use support::{Check, Cluster, Databases};

/// One runtime for one check.
fn run(databases: &Databases, check: Check) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(check(databases));
}

/// Every check is a test of its own on SQLite; on PostgreSQL all are one, which owns the cluster.
macro_rules! suite {
    ($($module:ident: $($check:ident)+;)+) => {
        mod sqlite {
            $(mod $module {
                $(#[test]
                fn $check() {
                    crate::run(&crate::Databases::sqlite(), |on| Box::pin(crate::suite::$module::$check(on)));
                })+
            })+
        }

        const CHECKS: &[(&str, Check)] = &[
            $($((concat!(stringify!($module), "::", stringify!($check)),
                |on| Box::pin(suite::$module::$check(on)))),+),+
        ];
    };
}

suite! {
    server_store:
        conformance
        a_challenge_is_taken_once_by_many
        one_of_many_writers_wins
        names_and_keys_are_unique_among_many
        manifests_are_kept;
    uploads:
        samples_come_back_as_they_were
        a_number_that_is_none_is_no_reading
        duplicates_change_nothing
        one_of_many_uploads_of_a_message_is_stored
        an_older_sample_does_not_replace_the_latest
        nobody_has_the_last_word_by_a_clock_that_is_ahead
        only_owned_devices_are_taken
        a_revoked_agent_stores_nothing
        a_dead_session_stores_nothing
        a_heartbeat_shows_in_the_listing
        status_changes_are_kept_for_owned_devices
        a_large_batch_is_stored
        the_history_is_pruned_and_the_latest_stays
        nothing_is_stored_after_a_revocation;
    history:
        histories_are_those_of_the_samples
        the_fleets_sum_does_not_depend_on_how_often_miners_report
        a_history_is_the_organizations_and_outlives_the_owner
        readings_from_before_are_rolled_up_by_the_upgrade
        roll_ups_outlive_readings_and_are_forgotten_in_batches
        events_are_forgotten_and_none_is_of_the_future
        sweeps_beside_each_other_and_uploads_all_end;
    devices:
        a_discovery_makes_a_device_and_claims_nothing
        an_owned_device_is_described_by_its_owner
        text_from_a_miner_is_made_storable
        an_agent_owns_what_it_is_paired_to
        an_agent_reports_no_more_devices_than_it_may
        only_a_confirmed_agent_of_the_organization_is_paired_to
        the_local_half_owns_without_a_row
        revoking_an_agent_unpairs_its_devices
        a_device_has_one_owner
        flows_beside_each_other_all_end;
    operators:
        an_installation_is_set_up_once
        a_set_up_is_whole_or_nothing
        one_of_many_set_ups_wins
        a_login_name_is_unique_in_any_case
        a_user_session_ends_by_time_or_word
        a_user_api_key_works_until_it_ends
        user_api_keys_are_bounded_and_their_digits_unique
        the_activity_log_is_read_newest_first
        what_has_expired_is_forgotten;
    organizations:
        organizations_are_made_beside_the_first
        a_name_is_taken_in_any_case_and_the_first_stays_first
        an_operator_is_one_where_they_were_added
        what_acts_for_an_organization_ends_with_the_membership
        a_login_goes_on_in_another_organization
        a_new_password_ends_logins
        one_of_many_creations_of_a_name_wins
        a_removal_beside_a_login_leaves_nothing_usable
        a_new_password_beside_a_login_leaves_nothing_usable;
    old_schema:
        a_database_of_one_organization_is_found_again;
    agents:
        agents_are_listed_by_id
        enrollments_are_listed_with_their_agents;
    database:
        an_api_key_has_exactly_one_subject
        an_owner_is_of_the_devices_organization
        an_agent_and_a_device_of_two_organizations_are_no_pair
        the_database_holds_the_rest
        every_table_says_when
        a_closed_store_is_as_it_was_when_opened_again
        two_stores_share_a_database
        stores_opened_together_migrate_once
        a_newer_schema_is_refused
        a_row_that_cannot_be_read_is_named
        a_killed_process_loses_nothing;
    races:
        one_of_many_registers_with_a_code_wins
        one_of_many_registers_with_a_key_wins
        one_of_many_registers_with_a_name_wins
        many_begins_leave_one_challenge
        many_completes_mint_one_session
        a_confirm_beside_a_revoke_leaves_no_usable_key
        a_confirm_beside_a_cancel_leaves_no_usable_key
        sweeps_expire_discard_and_free
        fifty_enrollments_at_once_all_end;
    faults:
        a_change_of_a_flow_is_whole_or_nothing
        every_other_write_is_whole_or_nothing
        a_refused_change_leaves_nothing_whatever_fails
        a_set_up_that_fails_leaves_nothing;
    operations:
        no_operation_is_forgotten
        a_read_that_fails_says_so;
    restore:
        a_restored_database_lets_nobody_go_on
        a_database_is_looked_into_as_it_is
        only_an_empty_postgresql_database_is_restored_into_and_it_is_not_served_before;
    backup:
        a_backup_is_the_database
        a_backup_is_of_one_moment
        a_backup_overwrites_nothing;
}

#[test]
fn postgres() {
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(reason) => {
            // Not eprintln!, which is shown only for tests that fail.
            let text = format!("SKIPPED: the store's tests on PostgreSQL ({reason})\n");
            std::io::stderr().write_all(text.as_bytes()).unwrap();
            return;
        }
    };
    let databases = Databases::postgres(&cluster.url);
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        println!("postgres::{name}");
        if catch_unwind(AssertUnwindSafe(|| run(&databases, *check))).is_err() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "failed on PostgreSQL: {failed:?}");
}
