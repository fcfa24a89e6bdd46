//! Enrollment and handshake for Bitcoin mining fleets, as pure state machines. Both peers, in memory:
//!
//! ```
//! # #[cfg(feature = "testing")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use fleet_core::{code::EnrollmentCode, driver::EnrollmentProgress, name::Name};
//! use fleet_core::testing::{block_on, World};
//!
//! // A server with an organization, and an agent with a link to it; stores in memory.
//! let world = World::new(1);
//! let (server, agent) = (&world.server, world.agent(0));
//! block_on(async {
//!     // The operator makes a code and carries it to the agent's host by hand.
//!     let new = server.create_code().await;
//!     let code = EnrollmentCode::parse(new.code.as_ref().expect("a managed root").expose())?;
//!
//!     // The agent makes its keys, registers, and checks that the server made the code.
//!     let mut enrolling = agent.driver.enroll(code, "https://fleet.example", Name::new("site-1")?).await?;
//!     let question = enrolling.poll().await?;
//!     assert!(matches!(question, EnrollmentProgress::AskToJoin { organization } if organization.as_str() == "Acme"));
//!     assert_eq!(enrolling.join().await?, EnrollmentProgress::Waiting);
//!
//!     // The operator types the fingerprint that the agent shows.
//!     let shown_by_the_agent = enrolling.fingerprint().to_string();
//!     let agent_id = server.agent_of(&new).await.expect("registered");
//!     server.confirm(&new, agent_id, shown_by_the_agent.parse()?).await?;
//!
//!     // The agent asks again, gets its api_key sealed to it, and makes a session.
//!     world.advance(std::time::Duration::from_secs(2));
//!     assert_eq!(enrolling.poll().await?, EnrollmentProgress::Enrolled);
//!     let online = agent.driver.handshake().await?;
//!     let caller = server.driver.authenticate(&online.session.token.hash()).await?;
//!     assert_eq!(caller.agent_id, agent_id);
//!     Ok(())
//! })
//! # }
//! # #[cfg(not(feature = "testing"))]
//! # fn main() {}
//! ```
//!
//! A fleet has a **server**, which owns API, storage and fleet state, and **agents** next to the
//! miners, which own miner I/O and dial out. This crate is what both sides agree on, to the byte:
//! it knows no sockets, files, clocks, runtimes or databases. You bring those, behind small traits: on
//! both sides [`time::Clock`], [`random::SecureRandom`] and [`keys::Signer`]; on a server
//! [`store::ServerStore`]; on an agent [`store::AgentStore`], [`store::AgentKeyStore`],
//! [`keys::Opener`] and [`transport::Transport`].
//!
//! # What to use when
//!
//! | you have | use |
//! | --- | --- |
//! | an async program, any runtime | [`driver`]: calls your traits, never sleeps or spawns |
//! | no async, or I/O that fits no trait | the machines in [`enrollment`] and [`handshake`]: each stops where I/O is needed and hands over what to send, sign or save |
//! | a store of your own | implement [`store::ServerStore`], run `testing::store_conformance` |
//! | a key in another process | implement [`keys::Signer`] |
//!
//! Each of the four has an example of its own, in `examples/` of the repository.
//!
//! # When to call what
//!
//! Nothing here has a timer: what you do not call does not happen. On an agent:
//!
//! | when | call | again |
//! | --- | --- | --- |
//! | a person gives you a code | [`AgentDriver::enroll`](driver::AgentDriver::enroll) | after a crash, with the same code |
//! | you are enrolling | [`Enrolling::poll`](driver::Enrolling::poll) | in 2 s while it says `Waiting`; later, and later still, while the server cannot be reached. More than once a second is `resource_exhausted` |
//! | it says `AskToJoin` | [`Enrolling::join`](driver::Enrolling::join), once somebody agrees; then show the fingerprint | if it fails |
//! | it says `NeedsApiKey` | [`AgentDriver::handshake_with`](driver::AgentDriver::handshake_with) what a person pastes | with another, if that is refused |
//! | it says `Enrolled`, and whenever you start | [`AgentDriver::handshake`](driver::AgentDriver::handshake) | at [`Online::renew_at`](handshake::agent::Online::renew_at), and whenever a call under the session is `unauthenticated`; after a failure in 1 s, doubling to 60 s, drawn by lot |
//! | the server set an expiry | [`ServerTime::at`](time::ServerTime::at), which is what it is judged by | |
//!
//! On a server:
//!
//! | when | call | again |
//! | --- | --- | --- |
//! | an installation is made | [`ServerDriver::found_organization`](driver::ServerDriver::found_organization), and commit its change | for each organization |
//! | Register, BeginAuthHandshake or CompleteAuthHandshake comes | [`register`](driver::ServerDriver::register), [`begin`](driver::ServerDriver::begin), [`complete`](driver::ServerDriver::complete); an error is told as [`Refusal::from`](refusal::Refusal) says, its cause is logged | |
//! | any other call of an agent comes | [`authenticate`](driver::ServerDriver::authenticate), before its message is read | for each message of a stream, and every few seconds while there is none |
//! | an agent opens its control stream | [`take_over`](driver::ServerDriver::take_over); make the stream known to whoever revokes, then [`authenticate`](driver::ServerDriver::authenticate) once more | |
//! | an operator acts | [`create_code`](driver::ServerDriver::create_code), [`confirm`](driver::ServerDriver::confirm), [`cancel`](driver::ServerDriver::cancel) | |
//! | an operator revokes | [`revoke`](driver::ServerDriver::revoke), then close the agent's streams | until it is done |
//! | a minute has passed | [`sweep`](driver::ServerDriver::sweep) | at once, while it finds as many as you allowed |
//!
//! The machines need no calls in time: each method is called once, in the order that the types allow. What hands out a
//! [`NeedsCommit`](commit::NeedsCommit) or a [`NeedsSave`](commit::NeedsSave) goes on only after the write.
//!
//! # Futures and panics
//!
//! Futures are `Send` and name no runtime: poll them on any. Each says under *Cancel safety* what becomes of it when it is
//! dropped; in short, that is as a crash there, and calling again goes on. Nothing here panics, but for [`testing`](crate),
//! where a fault that is found stops the test.
//!
//! # Features
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `os-random` | `random::OsRandom`, the operating system's random source |
//! | `testing` | [`testing`](crate): virtual time, the two-peer simulator, drawn schedules with named invariants, the store conformance suite |
//!
//! Bytes and refusals are those of the fleet protocol; section numbers in these pages are its.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod certificate;
pub mod code;
pub mod commit;
pub mod driver;
pub mod endpoint;
pub mod enrollment;
pub mod fingerprint;
pub mod future;
pub mod handshake;
pub mod hpke;
pub mod id;
pub mod keys;
pub mod manifest;
pub mod name;
pub mod policy;
pub mod random;
pub mod refusal;
mod stack;
pub mod store;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
pub mod transcript;
pub mod transport;
