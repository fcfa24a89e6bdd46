//! What somebody in between leaves behind when it is gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fleet_core::code::{ApiKey, EnrollmentCode, SecretHash};
use fleet_core::driver::{AgentDriver, EnrollmentProgress};
use fleet_core::enrollment::{RegisterRequest, RegisterResponse, api_key_info};
use fleet_core::future::BoxFuture;
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::hpke;
use fleet_core::keys::SealingPublicKey;
use fleet_core::name::Name;
use fleet_core::testing::{FaultyLink, SeededRandom, World, block_on};
use fleet_core::transport::{Transport, TransportError};

/// Terminates TLS: passes all through, and seals an api_key of its own in the place of the server's.
#[derive(Debug)]
struct Relay {
    link: Arc<FaultyLink>,
    is_gone: AtomicBool,
}

impl Transport for Relay {
    fn register(&self, request: RegisterRequest) -> BoxFuture<'_, Result<RegisterResponse, TransportError>> {
        Box::pin(async move {
            let code = SecretHash::of(request.expose_token());
            let sealing = SealingPublicKey::parse(&request.sealing).unwrap();
            let mut answer = self.link.register(request).await?;
            if answer.sealed_api_key.is_some() && !self.is_gone.load(Ordering::Relaxed) {
                let random = SeededRandom::new(9);
                let own = ApiKey::generate(&random).unwrap();
                let info = api_key_info(answer.agent_id, code, sealing.as_bytes());
                let sealed = hpke::seal(&sealing, info.as_bytes(), &[], own.expose().as_bytes(), &random);
                answer.sealed_api_key = Some(sealed.unwrap());
            }
            Ok(answer)
        })
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>> {
        self.link.begin(request)
    }

    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>> {
        self.link.complete(request)
    }
}

#[test]
fn an_api_key_that_a_relay_sealed_is_asked_for_again_once_it_is_gone() {
    let world = World::new(41);
    let peer = world.agent(0);
    let relay = Arc::new(Relay { link: peer.link.clone(), is_gone: AtomicBool::new(false) });
    let driver = AgentDriver::new(
        peer.store.clone(),
        peer.keys.clone(),
        relay.clone(),
        world.clock.clone(),
        Arc::new(SeededRandom::new(100)),
    );
    block_on(async {
        let new = world.server.create_code().await;
        let code = || EnrollmentCode::parse(new.code.as_ref().unwrap().expose()).unwrap();
        let enroll =
            async || driver.enroll(code(), "https://fleet.example", Name::new("site-1").unwrap()).await;
        let mut enrolling = enroll().await.unwrap();
        assert!(matches!(enrolling.poll().await.unwrap(), EnrollmentProgress::AskToJoin { .. }));
        enrolling.join().await.unwrap();
        let agent_id = world.server.agent_of(&new).await.unwrap();
        world.server.confirm(&new, agent_id, *enrolling.fingerprint()).await.unwrap();
        world.advance(Duration::from_secs(2));
        assert_eq!(enrolling.poll().await.unwrap(), EnrollmentProgress::Enrolled);
        assert!(driver.handshake().await.is_err(), "it is the relay's own");

        relay.is_gone.store(true, Ordering::Relaxed);
        let mut enrolling = enroll().await.unwrap();
        world.advance(Duration::from_secs(2));
        assert_eq!(enrolling.poll().await.unwrap(), EnrollmentProgress::Enrolled);
        driver.handshake().await.unwrap();
        assert!(enroll().await.is_err(), "it has worked: this agent is enrolled");
    });
}
