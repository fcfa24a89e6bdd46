//! What is promised of every asynchronous function: it says what becomes of it when it is dropped, whether its future is
//! `Send`, and when it panics; and where it says `Send`, it is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::future::{Future, Ready};
use std::path::{Path, PathBuf};

use fleet_agent::counters::Counter;
use fleet_agent::enroll::Enrollment;
use fleet_agent::keeper::{Keeper, SessionHandle};
use fleet_agent::miner::site::Site;
use fleet_agent::run::{Progress, RunOptions};
use fleet_agent::sim::{Antminer, ProtoRig, WhatsMiner};
use fleet_agent::spool::Spool;
use fleet_agent::uploads::Uploader;
use fleet_agent::{cli, control, health, heartbeat, run};
use fleet_core::driver::{AgentDriver, Enrolling, ServerDriver};
use fleet_core::telemetry::{Event, Sample};
use fleet_core::testing::{AgentPeer, ServerPeer, World, catch_crash};
use fleet_proto::agentgateway::v1::{
    AgentGatewayServiceClient, ControlStreamRequest, ControlStreamResponse, UploadEventsRequest,
};
use fleet_proto::rpc::{Bidi, Services};
use fleet_store::{Faults, Restoring, Store};
use fleetd::operator::OperatorCommand;
use fleetd::server::host::Host;
use fleetd::server::{Connection, Server};
use fleetd::{backup, demo};

// The future of a function of so many arguments is `Send`.
fn of1<A, R: Future + Send>(_: impl FnOnce(A) -> R) {}
fn of2<A, B, R: Future + Send>(_: impl FnOnce(A, B) -> R) {}
fn of3<A, B, C, R: Future + Send>(_: impl FnOnce(A, B, C) -> R) {}
fn of4<A, B, C, D, R: Future + Send>(_: impl FnOnce(A, B, C, D) -> R) {}
fn of5<A, B, C, D, E, R: Future + Send>(_: impl FnOnce(A, B, C, D, E) -> R) {}
fn of6<A, B, C, D, E, F, R: Future + Send>(_: impl FnOnce(A, B, C, D, E, F) -> R) {}

#[test]
fn futures_of_the_core_are_send() {
    of4(AgentDriver::enroll);
    of1(AgentDriver::handshake);
    of2(AgentDriver::handshake_with);
    of1(Enrolling::poll);
    of1(Enrolling::join);
    of2(ServerDriver::found_organization);
    of3(ServerDriver::create_code);
    of2(ServerDriver::register);
    of2(ServerDriver::confirm);
    of3(ServerDriver::cancel);
    of2(ServerDriver::revoke);
    of2(ServerDriver::sweep);
    of2(ServerDriver::begin);
    of2(ServerDriver::complete);
    of2(ServerDriver::authenticate);
    of2(ServerDriver::take_over);
    of2(World::with_store);
    of1(ServerPeer::create_code);
    of4(ServerPeer::confirm);
    of2(ServerPeer::revoke);
    of2(ServerPeer::agent_of);
    of4(AgentPeer::enroll);
    of1(|future: Ready<()>| catch_crash(future));
}

#[test]
fn futures_of_the_wire_are_send() {
    of2(Bidi::<ControlStreamRequest, ControlStreamResponse>::send);
    of1(Bidi::<ControlStreamRequest, ControlStreamResponse>::message);
    of2(|services: &'static Services, request: http::Request<http_body_util::Full<bytes::Bytes>>| {
        Services::call(services, request)
    });
    // Of generated clients one of each kind.
    of2(AgentGatewayServiceClient::register);
    of1(AgentGatewayServiceClient::control_stream);
    of2(|client: &'static AgentGatewayServiceClient, one: UploadEventsRequest| {
        client.upload_events(futures::stream::iter([one]))
    });
}

#[test]
fn futures_of_the_store_are_send() {
    of1(Store::open);
    of1(Store::open_url);
    of1(Store::open_existing);
    of1(Store::open_copy);
    of1(Store::open_restoring);
    of1(Store::require_current_schema);
    of2(Store::make_old);
    of1(Store::close);
    of2(Store::log);
    of4(Store::activity);
    of5(Store::agents);
    of3(Store::agent);
    of2(Store::local_agent);
    of5(Store::enrollments);
    of2(Store::create_user_api_key);
    of2(Store::user_api_keys);
    of3(Store::revoke_user_api_key);
    of3(Store::user_by_api_key);
    of2(Store::backup_to);
    of1(Store::contents);
    of1(Store::export_snapshot);
    of5(Store::devices);
    of3(Store::device);
    of6(Store::pair);
    of5(Store::unpair);
    of2(Store::expire);
    of4(Store::heartbeat);
    of4(Store::device_history);
    of4(Store::fleet_history);
    of5(Store::add_member);
    of5(Store::remove_member);
    of2(Store::memberships);
    of2(Store::members);
    of6(Store::log_of_user);
    of1(Store::organization);
    of1(Store::organizations);
    of1(Store::has_several_organizations);
    of4(Store::create_organization);
    of2(Store::restored);
    of3(Store::prune_telemetry);
    of3(Store::prune_roll_ups);
    of3(Store::prune_events);
    of3(Store::set_up);
    of3(Store::latest);
    of6(Store::history);
    of5(Store::status_changes);
    of4(Store::store_events);
    of4(Store::store_telemetry);
    of3(Store::durable_sequence);
    of4(Store::reject_upload);
    of3(Store::create_user_session);
    of5(Store::select_organization);
    of3(Store::user_by_session);
    of2(Store::end_user_session);
    of2(Store::user_by_name);
    of2(Store::user);
    of6(Store::change_password);
    of5(Store::set_password);
    of1(Restoring::begin);
    of1(Restoring::abandon);
    of1(Restoring::close);
    of1(Faults::hung);
}

#[test]
fn futures_of_the_agent_are_send() {
    of1(cli::execute);
    of4(control::run);
    of2(health::serve);
    of4(heartbeat::run);
    of1(Counter::read);
    of2(Counter::raise);
    of5(Enrollment::run);
    of1(SessionHandle::online);
    of2(SessionHandle::replaced);
    of1(Keeper::run);
    of1(Site::run);
    of2(|options: RunOptions, shutdown: Ready<()>| run::run(options, shutdown));
    of3(|options: RunOptions, shutdown: Ready<()>, tell: fn(Progress)| {
        run::run_telling(options, shutdown, tell)
    });
    of2(Antminer::start);
    of1(Antminer::kill);
    of1(Antminer::revive);
    of2(ProtoRig::start);
    of1(ProtoRig::kill);
    of1(ProtoRig::revive);
    of2(WhatsMiner::start);
    of1(WhatsMiner::kill);
    of1(WhatsMiner::revive);
    of2(Spool::<Sample>::open);
    of1(Spool::<Sample>::wait);
    of3(Spool::<Sample>::oldest);
    of2(Uploader::<Event>::run);
}

#[test]
fn futures_of_the_server_are_send() {
    of4(backup::make);
    of2(backup::issue);
    of2(backup::restore);
    of1(demo::run);
    of1(OperatorCommand::run);
    of3(Host::open);
    of1(Host::close);
    of1(Host::organizations);
    of2(Host::account);
    of3(Host::new_account);
    of2(Host::check_name);
    of3(Host::create);
    of3(Host::add);
    of3(Host::remove);
    of3(Host::set_password);
    of2(Host::find);
    of1(Connection::closing);
    of4(Server::start);
    of1(Server::stop);
}

/// Not `Send`, and said to be so.
const NOT_SEND: [&str; 1] = ["store_conformance"];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// A function that gives a future to whoever uses the crate, and what its page says.
struct Asynchronous {
    place: String,
    name: String,
    of_a_trait: bool,
    page: String,
}

/// Every `pub async fn`, and every method of a public trait that gives a future.
fn asynchronous(path: &Path) -> Vec<Asynchronous> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (mut found, mut in_trait) = (Vec::new(), false);
    for (at, line) in lines.iter().enumerate() {
        in_trait = (in_trait && *line != "}") || line.trim_start().starts_with("pub trait ");
        let code = line.trim_start();
        let public = code.strip_prefix("pub async fn ");
        let method = code.strip_prefix("fn ").filter(|_| in_trait);
        let Some(rest) = public.or(method) else { continue };
        let signature: String = lines[at..]
            .iter()
            .scan(false, |over, line| {
                let goes_on = !std::mem::replace(over, line.ends_with('{') || line.ends_with(';'));
                goes_on.then_some(*line)
            })
            .collect();
        let gives_a_future =
            ["BoxFuture<", "MinerFuture<", "Future<"].iter().any(|is| signature.contains(is));
        if public.is_none() && !gives_a_future {
            continue;
        }
        let above = lines[..at].iter().rev().map(|line| line.trim_start());
        let above = above.take_while(|line| line.starts_with("///") || line.starts_with("#["));
        let mut page: Vec<&str> = above.filter_map(|line| line.strip_prefix("///")).collect();
        page.reverse();
        let name = rest.split(['(', '<']).next().unwrap().to_owned();
        let place = format!("{}:{}", path.display(), at + 1);
        found.push(Asynchronous { place, name, of_a_trait: public.is_none(), page: page.join("") });
    }
    found
}

#[test]
fn every_asynchronous_function_says_what_becomes_of_it_when_it_is_dropped() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let listed = include_str!("futures.rs");
    let mut files = Vec::new();
    for member in ["fleet-core", "fleet-proto", "fleet-store", "fleet-agent", "fleetd", "examples"] {
        sources(&root.join(member).join("src"), &mut files);
    }
    let all: Vec<_> = files.iter().flat_map(|path| asynchronous(path)).collect();
    let (methods, functions): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.of_a_trait);
    assert!(methods.len() > 40 && functions.len() > 150, "{} and {}", methods.len(), functions.len());
    for Asynchronous { place, name, of_a_trait, page } in &all {
        let section = page.split("# Cancel safety").nth(1);
        let section =
            section.unwrap_or_else(|| panic!("{place}: {name} does not say what becomes of it when dropped"));
        assert!(section.contains("`Send`"), "{place}: {name} does not say whether its future is Send");
        assert!(section.contains("panic"), "{place}: {name} does not say when it panics");
        // What is generated is all of a kind.
        if !of_a_trait
            && !place.contains("/generated/")
            && !place.contains("/examples/")
            && !NOT_SEND.contains(&name.as_str())
        {
            let is_listed = [format!("::{name});"), format!("::{name}("), format!("{name}(future)")]
                .iter()
                .any(|is| listed.contains(is));
            assert!(is_listed, "{place}: nothing here checks that the future of {name} is Send");
        }
    }
}
