//! Listings of agents and enrollments.

use fleet_core::id::{AgentId, OrgId};
use fleet_core::store::{
    AgentKind, AgentRecord, AgentStatus, Changeset, EnrollmentRecord, EnrollmentState, Put,
};
use fleet_store::AgentFilter;

use crate::support::Databases;
use crate::support::fixture::Fixture;

async fn ids(f: &Fixture, filter: AgentFilter) -> Vec<AgentId> {
    let found = f.store.agents(f.org, filter, None, 100).await.unwrap();
    found.into_iter().map(|listing| listing.agent.id).collect()
}

pub async fn agents_are_listed_by_id(on: &Databases) {
    let f = Fixture::new(on).await;
    let mut remote = Vec::new();
    for name in ["a", "b", "c"] {
        remote.push(f.peer(name).await.id());
    }
    f.revoke(remote[0]).await;
    remote.sort_unstable();
    assert_eq!(f.store.local_agent(f.org).await.unwrap(), None);
    let local = f.local().await;
    let gone = AgentRecord { status: AgentStatus::Discarded, ..f.agent_record("gone", AgentKind::Remote) };
    let gone = f.peer_of(gone).await.id();
    let with = |others: &[AgentId]| {
        let mut all: Vec<_> = remote.iter().chain(others).copied().collect();
        all.sort_unstable();
        all
    };
    let filter = |include_discarded, include_local| AgentFilter { include_discarded, include_local };
    assert_eq!(ids(&f, AgentFilter::default()).await, remote, "revoked ones are there to see");
    assert_eq!(ids(&f, filter(true, false)).await, with(&[gone]));
    assert_eq!(ids(&f, filter(false, true)).await, with(&[local.id()]));
    assert_eq!(ids(&f, filter(true, true)).await, with(&[gone, local.id()]));
    let page = f.store.agents(f.org, AgentFilter::default(), Some(remote[0]), 1).await.unwrap();
    assert_eq!(page.iter().map(|listing| listing.agent.id).collect::<Vec<_>>(), vec![remote[1]]);
    assert_eq!(f.store.local_agent(f.org).await.unwrap().unwrap().record, local.record);
    assert!(f.store.agent(f.org, gone).await.unwrap().is_some(), "by its id any agent is found");
    let elsewhere = OrgId::new(999).unwrap();
    assert_eq!(f.store.agent(elsewhere, remote[0]).await.unwrap(), None);
    assert_eq!(f.store.agents(elsewhere, filter(true, true), None, 9).await.unwrap(), vec![]);
    assert_eq!(f.store.local_agent(elsewhere).await.unwrap(), None);
    f.revoke(local.id()).await;
    assert_eq!(f.store.local_agent(f.org).await.unwrap(), None, "a revoked one is none");
}

pub async fn enrollments_are_listed_with_their_agents(on: &Databases) {
    let f = Fixture::new(on).await;
    let put = async |agent: Option<AgentRecord>, enrollment: EnrollmentRecord| {
        let change = Changeset {
            agent: agent.map(|record| Put { record, expected: None }),
            enrollment: Some(Put { record: enrollment, expected: None }),
            ..Changeset::default()
        };
        f.commit(change).await.unwrap();
    };
    let unused = f.enrollment();
    put(None, unused.clone()).await;
    let mut waiting = f.enrollment();
    let mut agent = f.agent_record("site-1", AgentKind::Remote);
    (agent.status, agent.enrollment_id) = (AgentStatus::Pending, Some(waiting.id));
    (waiting.state, waiting.agent_id) = (EnrollmentState::AwaitingConfirmation, Some(agent.id));
    put(Some(agent.clone()), waiting.clone()).await;
    let cancelled = EnrollmentRecord { state: EnrollmentState::Cancelled, ..f.enrollment() };
    put(None, cancelled.clone()).await;
    let mut all = vec![(unused, None), (waiting.clone(), Some(agent.clone())), (cancelled.clone(), None)];
    all.sort_by_key(|(enrollment, _)| enrollment.id);
    assert_eq!(f.store.enrollments(f.org, None, 10, false).await.unwrap(), all);
    let open: Vec<_> = all.iter().filter(|(e, _)| e.id != cancelled.id).cloned().collect();
    assert_eq!(f.store.enrollments(f.org, None, 10, true).await.unwrap(), open);
    let first = Some(all[0].0.id);
    assert_eq!(f.store.enrollments(f.org, first, 1, false).await.unwrap(), all[1..2].to_vec());
    let listing = f.store.agent(f.org, agent.id).await.unwrap().unwrap();
    assert_eq!((listing.agent, listing.enrollment), (agent, Some(waiting)));
    assert_eq!(f.store.enrollments(OrgId::new(999).unwrap(), None, 10, false).await.unwrap(), vec![]);
}
