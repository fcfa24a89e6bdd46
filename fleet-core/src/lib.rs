//! Enrollment and handshake for Bitcoin mining fleets, as pure state machines.
//!
//! A fleet has a **server**, which owns API, storage and fleet state, and **agents** next to the
//! miners, which own miner I/O and dial out. This crate is what both sides agree on, to the byte:
//! it knows no sockets, files, clocks, runtimes or databases. You bring those, behind small traits: on
//! both sides [`time::Clock`], [`random::SecureRandom`] and [`keys::Signer`]; on a server
//! [`store::ServerStore`]; on an agent [`store::AgentStore`], [`store::AgentKeyStore`],
//! [`keys::Opener`] and [`transport::Transport`].
//!
//! # An enrollment and a handshake, both peers in memory
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
//! # What to use when
//!
//! | you have | use |
//! | --- | --- |
//! | an async program, any runtime | [`driver`]: calls your traits, never sleeps or spawns |
//! | no async, or I/O that fits no trait | the machines in [`enrollment`] and [`handshake`]: each stops where I/O is needed and hands over what to send, sign or save |
//! | a store of your own | implement [`store::ServerStore`], run `testing::store_conformance` |
//! | a key in another process | implement [`keys::Signer`] |
//!
//! # Features
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `os-random` | `random::OsRandom`, the operating system's random source |
//! | `testing` | [`testing`](crate): virtual time, the two-peer simulator, the store conformance suite |
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
pub mod store;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
pub mod transcript;
pub mod transport;
