//! The server's driver over the store, with calls that come at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet_core::code::SecretHash;
use fleet_core::driver::ServerError;
use fleet_core::enrollment::server::{ConfirmError, EndError, RegisterError, RevokeError};
use fleet_core::enrollment::{NewCode, RegisterResponse};
use fleet_core::handshake::server::AuthError;
use fleet_core::id::AgentId;
use fleet_core::keys::AgentSecretKeys;
use fleet_core::refusal::Code;
use fleet_core::store::{AgentStatus, EnrollmentState, Query, ServerStore as _};
use fleet_store::Store;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::database::{assert_no_deadlock, count};
use crate::support::Databases;
use crate::support::server::{Caller, Enrolled, Server, Waiting, code_of};

/// How long anything here may take before it counts as a deadlock.
const PATIENCE: Duration = Duration::from_secs(60);

type Registered = Result<RegisterResponse, ServerError>;

/// These calls at once, in the order of the callers.
async fn register_at_once(server: &Server, calls: &[(Caller, NewCode)]) -> Vec<Registered> {
    let together = Arc::new(Barrier::new(calls.len()));
    let mut tasks = Vec::new();
    for (caller, code) in calls {
        let (driver, request, together) = (server.driver.clone(), caller.register(code), together.clone());
        tasks.push(tokio::spawn(async move {
            together.wait().await;
            driver.register(request).await
        }));
    }
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

fn winners(results: &[Registered]) -> Vec<usize> {
    results.iter().enumerate().filter(|(_, result)| result.is_ok()).map(|(n, _)| n).collect()
}

async fn rows_of(raw: &DatabaseConnection, table: &str, agent: AgentId) -> i64 {
    count(raw, &format!("{table} WHERE agent_id = {agent}")).await
}

/// One code, several agents: the code is bound to one of them, and the operator sees the others.
pub async fn one_of_many_registers_with_a_code_wins(on: &Databases) {
    let (server, empty) = Server::new(on).await;
    let raw = empty.raw().await;
    for round in 0..8 {
        let code = server.code().await;
        let callers = [0, 1, 2].map(|n| (server.caller(&format!("r{round}-{n}")), code.clone()));
        let results = register_at_once(&server, &callers).await;
        let won = winners(&results);
        assert_eq!(won.len(), 1, "round {round}: {results:?}");
        let lost = |result: &Registered| {
            matches!(result, Ok(_) | Err(ServerError::Register(RegisterError::SecondUse)))
        };
        assert!(results.iter().all(lost), "round {round}: {results:?}");
        let id = results[won[0]].as_ref().unwrap().agent_id;
        let found = server.store.load(Query::Enrollment(code.enrollment_id)).await.unwrap().unwrap();
        let enrollment = found.enrollment.unwrap().record;
        assert_eq!(enrollment.agent_id, Some(id));
        // Noted once a second, however many there are.
        assert_eq!(enrollment.second_uses, 1, "round {round}");
        assert_eq!(found.agent.unwrap().record.name, callers[won[0]].0.name);
        // Nothing of the losers was kept: they come in with a code of their own.
        for (n, (caller, _)) in callers.iter().enumerate().filter(|(n, _)| *n != won[0]) {
            let code = server.code().await;
            assert!(server.driver.register(caller.register(&code)).await.is_ok(), "round {round}, loser {n}");
        }
    }
    assert_eq!(count(&raw, "agent").await, 24);
    assert_eq!(count(&raw, "agent_key").await, 72);
    raw.close().await.unwrap();
}

/// One key, several codes: all three keys the same, or one of them.
pub async fn one_of_many_registers_with_a_key_wins(on: &Databases) {
    let (server, _empty) = Server::new(on).await;
    for round in 0..8 {
        let first = server.caller(&format!("r{round}-0"));
        let mut calls = vec![(first.clone(), server.code().await)];
        for n in 1..3 {
            let mut caller = server.caller(&format!("r{round}-{n}"));
            caller.keys = Arc::new(match round % 3 {
                0 => copy(&first.keys),
                1 => AgentSecretKeys { sealing: copy(&first.keys).sealing, ..copy(&caller.keys) },
                _ => AgentSecretKeys { identity: copy(&first.keys).identity, ..copy(&caller.keys) },
            });
            calls.push((caller, server.code().await));
        }
        let results = register_at_once(&server, &calls).await;
        one_won_and_the_rest_may_try_again(&server, &calls, results, |error| {
            matches!(error, ServerError::Register(RegisterError::KeyTaken { .. }))
        })
        .await;
    }
}

/// One name, several codes.
pub async fn one_of_many_registers_with_a_name_wins(on: &Databases) {
    let (server, _empty) = Server::new(on).await;
    for round in 0..8 {
        let mut calls = Vec::new();
        for _ in 0..3 {
            calls.push((server.caller(&format!("r{round}")), server.code().await));
        }
        let results = register_at_once(&server, &calls).await;
        one_won_and_the_rest_may_try_again(&server, &calls, results, |error| {
            matches!(error, ServerError::Register(RegisterError::NameTaken))
        })
        .await;
    }
}

/// The losers are told so, and their codes are not used up.
async fn one_won_and_the_rest_may_try_again(
    server: &Server,
    calls: &[(Caller, NewCode)],
    results: Vec<Registered>,
    expected: fn(&ServerError) -> bool,
) {
    let won = winners(&results);
    assert_eq!(won.len(), 1, "{results:?}");
    for (n, (result, (caller, code))) in results.into_iter().zip(calls).enumerate() {
        let Err(error) = result else { continue };
        assert!(expected(&error), "{error:?}");
        assert_eq!(code_of(error), Code::FailedPrecondition);
        let other = server.caller(&format!("{}-again-{n}", caller.name.as_str()));
        server.driver.register(other.register(code)).await.expect("the code is as it was");
    }
}

fn copy(keys: &AgentSecretKeys) -> AgentSecretKeys {
    use fleet_core::keys::{IdentitySecretKey, MinerSigningSecretKey, SealingSecretKey};
    AgentSecretKeys {
        identity: IdentitySecretKey::from_seed(&keys.identity.danger_seed()),
        miner_signing: MinerSigningSecretKey::from_seed(&keys.miner_signing.danger_seed()),
        sealing: SealingSecretKey::from_scalar(&keys.sealing.danger_scalar()),
    }
}

/// However many Begins: one challenge, of which one session can be made.
pub async fn many_begins_leave_one_challenge(on: &Databases) {
    let (server, empty) = Server::new(on).await;
    let raw = empty.raw().await;
    let agent = server.enrolled("a").await;
    for round in 0..8 {
        let together = Arc::new(Barrier::new(6));
        let mut tasks = JoinSet::new();
        for nonce in 0..6 {
            let (driver, together) = (server.driver.clone(), together.clone());
            let request = agent.caller.begin(&agent.api_key, nonce);
            tasks.spawn(async move {
                together.wait().await;
                (nonce, driver.begin(request).await.unwrap())
            });
        }
        let begun = tasks.join_all().await;
        assert_eq!(rows_of(&raw, "agent_auth_challenge", agent.id).await, 1, "round {round}");
        let mut sessions = 0;
        for (nonce, begun) in begun {
            let request = agent.caller.complete(agent.id, nonce, &begun);
            match server.driver.complete(request).await {
                Ok(_) => sessions += 1,
                Err(ServerError::Auth(AuthError::Challenge)) => {}
                Err(error) => panic!("round {round}: {error:?}"),
            }
        }
        assert_eq!(sessions, 1, "round {round}");
    }
    raw.close().await.unwrap();
}

/// However many Completes of one challenge: one session.
pub async fn many_completes_mint_one_session(on: &Databases) {
    let (server, empty) = Server::new(on).await;
    let raw = empty.raw().await;
    for round in 0..8 {
        let agent = server.enrolled(&format!("r{round}")).await;
        let begun = server.driver.begin(agent.caller.begin(&agent.api_key, 1)).await.unwrap();
        let request = agent.caller.complete(agent.id, 1, &begun);
        let together = Arc::new(Barrier::new(6));
        let mut tasks = JoinSet::new();
        for _ in 0..6 {
            let (driver, request, together) = (server.driver.clone(), request.clone(), together.clone());
            tasks.spawn(async move {
                together.wait().await;
                driver.complete(request).await
            });
        }
        let mut tokens = Vec::new();
        for result in tasks.join_all().await {
            match result {
                Ok(response) => tokens.push(response.token.hash()),
                Err(ServerError::Auth(AuthError::Challenge)) => {}
                Err(error) => panic!("round {round}: {error:?}"),
            }
        }
        assert_eq!(tokens.len(), 1, "round {round}");
        assert_eq!(rows_of(&raw, "agent_session", agent.id).await, 1, "round {round}");
        assert_eq!(server.driver.authenticate(&tokens[0]).await.unwrap().agent_id, agent.id);
    }
    raw.close().await.unwrap();
}

/// What an agent has got hold of while others tried to stop it.
#[derive(Default)]
struct Haul {
    agents: Vec<Enrolled>,
    tokens: Vec<SecretHash>,
}

/// Confirms, and uses at once and for as long as it works whatever comes out.
async fn confirm_and_use(server: Server, waiting: Arc<Waiting>, haul: Arc<Mutex<Haul>>) -> bool {
    let api_key = match server.confirm(&waiting).await {
        Ok(api_key) => api_key,
        Err(ServerError::Confirm(ConfirmError::NotAwaiting)) => return false,
        Err(error) => panic!("{error:?}"),
    };
    let agent = Enrolled { caller: waiting.caller.clone(), id: waiting.id, api_key };
    for nonce in 0..4 {
        let Ok(begun) = server.driver.begin(agent.caller.begin(&agent.api_key, nonce)).await else { break };
        let request = agent.caller.complete(agent.id, nonce, &begun);
        let Ok(response) = server.driver.complete(request).await else { break };
        let token = response.token.hash();
        haul.lock().unwrap_or_else(PoisonError::into_inner).tokens.push(token);
        if server.driver.authenticate(&token).await.is_err() {
            break;
        }
    }
    haul.lock().unwrap_or_else(PoisonError::into_inner).agents.push(agent);
    true
}

/// Nothing that an agent ever got is good for anything.
async fn assert_powerless(server: &Server, raw: &DatabaseConnection, id: AgentId, haul: &Mutex<Haul>) {
    let haul = std::mem::take(&mut *haul.lock().unwrap());
    for agent in haul.agents {
        let begun = server.driver.begin(agent.caller.begin(&agent.api_key, 9)).await;
        assert_eq!(code_of(begun.unwrap_err()), Code::Unauthenticated);
    }
    for token in haul.tokens {
        assert_eq!(code_of(server.driver.authenticate(&token).await.unwrap_err()), Code::Unauthenticated);
    }
    assert_no_credentials(raw, id).await;
}

async fn assert_no_credentials(raw: &DatabaseConnection, id: AgentId) {
    for table in ["api_key", "agent_auth_challenge", "agent_session"] {
        assert_eq!(rows_of(raw, table, id).await, 0, "{table}");
    }
}

/// Two operators confirm, one revokes as soon as it can, the agent hurries: when Revoke is done,
/// nothing of the agent is good for anything, and nothing comes later.
pub async fn a_confirm_beside_a_revoke_leaves_no_usable_key(on: &Databases) {
    let (server, empty) = Server::new(on).await;
    let raw = empty.raw().await;
    for round in 0..20 {
        let waiting = Arc::new(server.waiting(&format!("r{round}")).await);
        let haul = Arc::new(Mutex::new(Haul::default()));
        let together = Arc::new(Barrier::new(3));
        let mut confirms = JoinSet::new();
        for _ in 0..2 {
            let (server, waiting, haul) = (server.clone(), waiting.clone(), haul.clone());
            let together = together.clone();
            confirms.spawn(async move {
                together.wait().await;
                confirm_and_use(server, waiting, haul).await
            });
        }
        let (revoking, id, raw_too) = (server.clone(), waiting.id, raw.clone());
        let revoke = tokio::spawn(async move {
            together.wait().await;
            loop {
                match revoking.driver.revoke(revoking.revocation(id)).await {
                    Ok(()) => break,
                    Err(ServerError::Revoke(RevokeError::NotConfirmed)) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error:?}"),
                }
            }
            assert_no_credentials(&raw_too, id).await;
        });
        tokio::time::timeout(PATIENCE, revoke).await.expect("the revocation ends").unwrap();
        let confirmed = confirms.join_all().await.into_iter().filter(|confirmed| *confirmed).count();
        assert_eq!(confirmed, 1, "round {round}");
        assert_powerless(&server, &raw, waiting.id, &haul).await;
        let agent = server.store.load(Query::Agent(waiting.id)).await.unwrap().unwrap().agent.unwrap();
        assert_eq!(agent.record.status, AgentStatus::Revoked);
    }
    raw.close().await.unwrap();
}

/// Of Confirm and Cancel at once one happens, whole.
pub async fn a_confirm_beside_a_cancel_leaves_no_usable_key(on: &Databases) {
    let (server, empty) = Server::new(on).await;
    let raw = empty.raw().await;
    for round in 0..20 {
        let waiting = Arc::new(server.waiting(&format!("r{round}")).await);
        let haul = Arc::new(Mutex::new(Haul::default()));
        let together = Arc::new(Barrier::new(3));
        let mut confirms = JoinSet::new();
        for _ in 0..2 {
            let (server, waiting, haul) = (server.clone(), waiting.clone(), haul.clone());
            let together = together.clone();
            confirms.spawn(async move {
                together.wait().await;
                confirm_and_use(server, waiting, haul).await
            });
        }
        together.wait().await;
        // Either may be ahead by its nature: let each have its turn.
        for _ in 0..round % 5 {
            tokio::task::yield_now().await;
        }
        let cancelled = server.driver.cancel(waiting.code.enrollment_id, &server.operator).await;
        if cancelled.is_ok() {
            assert_no_credentials(&raw, waiting.id).await;
        }
        let confirmed = confirms.join_all().await.into_iter().filter(|confirmed| *confirmed).count();
        match cancelled {
            Ok(()) => {
                assert_eq!(confirmed, 0, "round {round}: cancelled and confirmed");
                assert_powerless(&server, &raw, waiting.id, &haul).await;
                assert_eq!(rows_of(&raw, "agent_key", waiting.id).await, 0, "its keys are free");
                // Name and keys are free.
                let code = server.code().await;
                server.driver.register(waiting.caller.register(&code)).await.unwrap();
            }
            Err(ServerError::End(EndError::NotWaiting)) => assert_eq!(confirmed, 1, "round {round}"),
            Err(error) => panic!("round {round}: {error:?}"),
        }
    }
    raw.close().await.unwrap();
}

/// Several servers sweep: each enrollment expires once, its agent is discarded, and name and keys
/// are free.
pub async fn sweeps_expire_discard_and_free(on: &Databases) {
    let (server, empty) = Server::new(on).await;
    let raw = empty.raw().await;
    let (mut waiting, mut codes) = (Vec::new(), Vec::new());
    for n in 0..8 {
        waiting.push(server.waiting(&format!("a{n}")).await);
        codes.push(server.code().await);
    }
    let confirmed = server.enrolled("confirmed").await;
    assert_eq!(server.driver.sweep(100).await.unwrap(), 0, "nothing is due");
    server.clock.advance(Duration::from_secs(25 * 3600));
    let together = Arc::new(Barrier::new(4));
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let (driver, together) = (server.driver.clone(), together.clone());
        tasks.spawn(async move {
            together.wait().await;
            driver.sweep(100).await.unwrap()
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<usize>(), 16, "each expired once");
    assert_eq!(count(&raw, "activity WHERE kind = 'enrollment_expired'").await, 16, "and is logged once");
    for code in waiting.iter().map(|waiting| &waiting.code).chain(&codes) {
        let found = server.store.load(Query::Enrollment(code.enrollment_id)).await.unwrap().unwrap();
        assert_eq!(found.enrollment.unwrap().record.state, EnrollmentState::Expired);
        assert!(found.agent.is_none_or(|agent| agent.record.status == AgentStatus::Discarded));
    }
    let mut again = Vec::new();
    for waiting in &waiting {
        assert_eq!(rows_of(&raw, "agent_key", waiting.id).await, 0);
        again.push((waiting.caller.clone(), server.code().await));
    }
    let results = register_at_once(&server, &again).await;
    assert_eq!(winners(&results).len(), 8, "{results:?}");
    // Who was confirmed in time is not touched.
    assert!(server.driver.begin(confirmed.caller.begin(&confirmed.api_key, 1)).await.is_ok());
    raw.close().await.unwrap();
}

/// 50 agents at once, on two handles of one database as of two servers: all get through.
pub async fn fifty_enrollments_at_once_all_end(on: &Databases) {
    let (first, empty) = Server::new(on).await;
    let second = first.through(Store::open(&empty.url).await.unwrap());
    let together = Arc::new(Barrier::new(50));
    let mut tasks = JoinSet::new();
    for n in 0..50 {
        let server = if n % 2 == 0 { first.clone() } else { second.clone() };
        let together = together.clone();
        tasks.spawn(async move {
            together.wait().await;
            let waiting = server.waiting(&format!("site-{n}")).await;
            let api_key = server.confirm(&waiting).await.unwrap();
            let begun = server.driver.begin(waiting.caller.begin(&api_key, 1)).await.unwrap();
            let request = waiting.caller.complete(waiting.id, 1, &begun);
            let token = server.driver.complete(request).await.unwrap().token.hash();
            let identity = server.driver.authenticate(&token).await.unwrap();
            assert_eq!(identity.agent_id, waiting.id);
        });
    }
    let all = tokio::time::timeout(PATIENCE, tasks.join_all()).await.expect("a deadlock");
    assert_eq!(all.len(), 50);
    let raw = empty.raw().await;
    assert_eq!(count(&raw, "agent WHERE status = 'confirmed'").await, 50);
    assert_eq!(count(&raw, "agent_session").await, 50);
    assert_eq!(count(&raw, "agent_auth_challenge").await, 0);
    let sql = "SELECT COUNT(DISTINCT agent_id) AS n FROM api_key";
    let row = raw.query_one_raw(Statement::from_string(raw.get_database_backend(), sql)).await.unwrap();
    assert_eq!(row.unwrap().try_get::<i64>("", "n").unwrap(), 50);
    first.store.close().await;
    second.store.close().await;
    assert_no_deadlock(on, &raw).await;
    raw.close().await.unwrap();
}
