//! What the agent refuses of its server.

use super::*;

/// Counts what an agent's identity key signs.
#[derive(Debug, Default)]
struct CountingKeys {
    held: MemoryKeyStore,
    signed: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct CountingSigner {
    key: Arc<dyn Signer>,
    signed: Arc<AtomicUsize>,
}

impl Signer for CountingSigner {
    fn public_key(&self) -> [u8; 32] {
        self.key.public_key()
    }

    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>> {
        self.signed.fetch_add(1, Ordering::SeqCst);
        self.key.sign(message)
    }
}

impl CountingKeys {
    fn counted(&self, keyring: AgentKeyring) -> AgentKeyring {
        let identity = CountingSigner { key: keyring.identity, signed: self.signed.clone() };
        AgentKeyring { identity: Arc::new(identity), ..keyring }
    }
}

impl AgentKeyStore for CountingKeys {
    fn open(&self) -> BoxFuture<'_, Result<Option<AgentKeyring>, StoreError>> {
        Box::pin(async { Ok(self.held.open().await?.map(|keyring| self.counted(keyring))) })
    }

    fn replace(&self, keys: AgentSecretKeys) -> BoxFuture<'_, Result<AgentKeyring, StoreError>> {
        Box::pin(async { Ok(self.counted(self.held.replace(keys).await?)) })
    }
}

type Alter<R, A> = Box<dyn Fn(&R, A) -> A + Send + Sync>;
type AlterRegister = Alter<enrollment::RegisterRequest, enrollment::RegisterResponse>;
type AlterBegin = Alter<BeginRequest, BeginResponse>;

/// Somebody on the way who alters the server's answers.
struct Relay {
    server: GatewayTransport,
    register: AlterRegister,
    begin: AlterBegin,
}

impl Relay {
    fn on(bench: &Bench) -> Self {
        Self {
            server: GatewayTransport::new(bench.channel.clone()),
            register: Box::new(|_, answer| answer),
            begin: Box::new(|_, answer| answer),
        }
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Relay")
    }
}

impl Transport for Relay {
    fn register(
        &self,
        request: enrollment::RegisterRequest,
    ) -> BoxFuture<'_, Result<enrollment::RegisterResponse, TransportError>> {
        Box::pin(async move {
            let answer = self.server.register(request.clone()).await?;
            Ok((self.register)(&request, answer))
        })
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>> {
        Box::pin(async move {
            let answer = self.server.begin(request.clone()).await?;
            Ok((self.begin)(&request, answer))
        })
    }

    fn complete(&self, _: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>> {
        panic!("the agent answered a challenge that it must refuse");
    }
}

/// The manifest as another root would sign it.
fn under_another_root(manifest: &OrgManifest) -> UnverifiedManifest {
    let root = RootSecretKey::from_seed(&[66; 32]);
    let manifest = OrgManifest { root: root.public(), ..manifest.clone() };
    UnverifiedManifest { signature: root.sign(manifest.transcript().as_bytes()), manifest }
}

/// The answer with another manifest, signed anew so that only the manifest is wrong.
fn with_manifest(
    command: &CommandSecretKey,
    request: &BeginRequest,
    answer: BeginResponse,
    manifest: UnverifiedManifest,
) -> BeginResponse {
    let transcript = Transcript::new(Domain::AuthServer)
        .field(manifest.manifest.command.as_bytes())
        .integer(answer.certificate.0.agent_id.value())
        .field(&request.identity)
        .field(&request.client_nonce)
        .field(&answer.challenge)
        .time(answer.server_time)
        .time(answer.expires_at)
        .integer(answer.last_sequence)
        .field(&manifest.manifest.transcript().sha256());
    BeginResponse { signature: command.sign(transcript.as_bytes()), manifest, ..answer }
}

#[tokio::test]
async fn an_agent_whose_code_pins_other_keys_shows_nothing() {
    let bench = Bench::start(Mode::Server).await;
    // The server takes the code, but its pin is another organization's.
    let code = EnrollmentCode::generate(Pin::from_bytes([9; 16]), &SeededRandom::new(3)).unwrap();
    let request = admin::CreateEnrollmentCodeRequest {
        ttl: None,
        code_sha256: Some(Bytes::copy_from_slice(code.hash().as_bytes())),
    };
    bench.admin().create_enrollment_code(request).await.unwrap();
    let agent = Honest::new(&bench, "careful", Arc::new(MemoryKeyStore::new()));
    let mut enrolling = agent.enroll(code.expose()).await;
    let refused = enrolling.poll().await.unwrap_err();
    assert!(matches!(refused, AgentError::Enroll(EnrollError::WrongPin)), "{refused:?}");
    assert!(refused.to_string().contains("not the one that made the enrollment code"), "{refused}");
    let state = agent.state().await;
    assert!(state.manifest.is_none() && state.agent_id.is_none() && !state.joined, "kept: {state:?}");
    // It is over: the agent asks nothing, sends nothing and shows nothing.
    let again = enrolling.poll().await.unwrap_err();
    assert!(matches!(again, AgentError::Enroll(EnrollError::Over)), "{again:?}");
    assert!(enrolling.join().await.is_err());
    assert!(!agent.state().await.joined, "nobody was asked, and it joined");
}

#[tokio::test]
async fn an_agent_refuses_a_first_answer_that_is_not_its_organizations() {
    let bench = Bench::start(Mode::Server).await;
    let stranger = public_keys(&secret_keys(55));
    type Judge = fn(&EnrollError) -> bool;
    let cases: [(&str, AlterRegister, Judge); 3] = [
        (
            "a manifest of another root",
            Box::new(|_, answer| enrollment::RegisterResponse {
                manifest: under_another_root(&answer.manifest.manifest),
                ..answer
            }),
            |error| matches!(error, EnrollError::WrongPin),
        ),
        (
            "a manifest that its root did not sign",
            Box::new(|_, mut answer| {
                answer.manifest.manifest.epoch += 1;
                answer
            }),
            |error| matches!(error, EnrollError::Manifest(_)),
        ),
        (
            "the fingerprint of other keys",
            Box::new(move |_, answer| {
                let [identity, miner_signing, sealing] = &stranger;
                let keys =
                    fleet_core::keys::AgentPublicKeys::parse(identity, miner_signing, sealing).unwrap();
                enrollment::RegisterResponse { fingerprint: keys.fingerprint(), ..answer }
            }),
            |error| matches!(error, EnrollError::WrongFingerprint),
        ),
    ];
    for (at, (what, register, expected)) in cases.into_iter().enumerate() {
        let relay = Arc::new(Relay { register, ..Relay::on(&bench) });
        let store = Arc::new(MemoryAgentStore::new());
        let name = format!("agent {at}");
        let agent = Honest::over(&bench, &name, Arc::new(MemoryKeyStore::new()), store, relay);
        let mut enrolling = agent.enroll(&bench.code().await.code).await;
        match enrolling.poll().await {
            Err(AgentError::Enroll(error)) => assert!(expected(&error), "{what}: {error:?}"),
            other => panic!("{what}: {other:?}"),
        }
        assert!(agent.state().await.manifest.is_none(), "{what}: the agent kept the manifest");
    }
}

#[tokio::test]
async fn an_agent_signs_nothing_for_a_server_that_does_not_prove_itself() {
    let bench = Bench::start(Mode::Server).await;
    let keys = Arc::new(CountingKeys::default());
    let agent = bench.online_with("careful", keys.clone()).await;
    let other = bench.online("other").await;
    let first = agent.agent.state().await.manifest.unwrap();
    // A newer manifest, which the agent has seen by its next handshake.
    bench.admin().revoke_agent(admin::RevokeAgentRequest { agent_id: other.agent_id }).await.unwrap();
    agent.agent.driver.handshake().await.unwrap();
    let newest = agent.agent.state().await.manifest.unwrap();
    assert!(newest.manifest().epoch > first.manifest().epoch);

    let seed = std::fs::read_to_string(bench.directory.path().join("keys").join("command.key")).unwrap();
    let command = || CommandSecretKey::from_seed(&bytes32(seed.trim()));
    assert_eq!(command().public(), newest.manifest().command);
    let stranger = || CommandSecretKey::from_seed(&[66; 32]);
    let forked = {
        let mut manifest = newest.manifest().clone();
        manifest.epoch += 1;
        UnverifiedManifest { manifest, signature: *newest.signature() }
    };
    let (older, root, key) = (UnverifiedManifest::from(&first), command(), command());
    let certificate_of_other = other.agent.state().await;
    assert_ne!(certificate_of_other.keys, agent.agent.state().await.keys);

    type Judge = fn(&HandshakeError) -> bool;
    let cases: Vec<(&str, AlterBegin, Judge)> = vec![
        (
            "a manifest of lower epoch, in an answer that the command key signed",
            Box::new(move |request, answer| with_manifest(&key, request, answer, older.clone())),
            |error| matches!(error, HandshakeError::Succession(SuccessionError::Rollback { .. })),
        ),
        (
            "a manifest of another root",
            Box::new(move |request, answer| {
                let manifest = under_another_root(&answer.manifest.manifest);
                with_manifest(&root, request, answer, manifest)
            }),
            |error| matches!(error, HandshakeError::Succession(SuccessionError::Root)),
        ),
        (
            "a manifest that its root did not sign",
            Box::new(move |_, answer| BeginResponse { manifest: forked.clone(), ..answer }),
            |error| matches!(error, HandshakeError::Manifest(_)),
        ),
        (
            "a server signature from another key",
            Box::new(move |request, answer| {
                let manifest = answer.manifest.clone();
                with_manifest(&stranger(), request, answer, manifest)
            }),
            |error| matches!(error, HandshakeError::ServerSignature),
        ),
        (
            "another challenge than the signed one",
            Box::new(|_, answer| BeginResponse { challenge: [1; 32], ..answer }),
            |error| matches!(error, HandshakeError::ServerSignature),
        ),
        (
            "a certificate of other keys",
            Box::new(|_, mut answer| {
                answer.certificate.0.key_epoch += 1;
                answer
            }),
            |error| matches!(error, HandshakeError::Certificate(_)),
        ),
    ];
    let signed = keys.signed.load(Ordering::SeqCst);
    assert_eq!(signed, 3, "its proof at enrollment and two handshakes");
    for (what, begin, expected) in cases {
        bench.advance(seconds(1));
        let relay = Arc::new(Relay { begin, ..Relay::on(&bench) });
        let (name, store) = (&agent.agent.name, agent.agent.store.clone());
        let relayed = Honest::over(&bench, name, keys.clone(), store, relay);
        match relayed.driver.handshake().await {
            Err(AgentError::Handshake(error)) => {
                assert!(expected(&error), "{what}: {error:?}");
                if what.contains("lower epoch") {
                    assert!(error.to_string().contains("the server was restored from a backup"), "{error}");
                }
            }
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(keys.signed.load(Ordering::SeqCst), signed, "{what}: the agent signed something");
        let held = agent.agent.state().await;
        assert_eq!(held.manifest.unwrap().hash(), newest.hash(), "{what}: the agent took the manifest");
    }
    bench.advance(seconds(1));
    agent.agent.driver.handshake().await.expect("without the relay it works");
}
