//! `Debug` of every public type, as it is: it ends in logs, errors and panics. What holds a secret is here, all else in
//! [`values`], and [`every`] finds a type that nobody pinned.
//!
//! Each is pinned, and searched for every secret of the world that it comes from. A challenge and a nonce count as
//! secrets too: whoever reads a live one in a log could use it up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod every;
mod values;

use core::fmt::Debug;
use core::time::Duration;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use fleet_core::code::{ApiKey, EnrollmentCode, SessionToken};
use fleet_core::driver::{EnrollmentProgress, ServerKeys};
use fleet_core::enrollment::server::{
    Confirm, ConfirmStep, CreateCode, Register, RegisterOutcome, create_code,
};
use fleet_core::enrollment::{NewCode, RegisterRequest, agent as enrolling};
use fleet_core::handshake::{BeginRequest, CompleteRequest, agent as online, server};
use fleet_core::keys::{
    AgentKeyring, AgentSecretKeys, CommandSecretKey, IdentitySecretKey, MinerSigningSecretKey,
    OperatorSecretKey, RecoverySecretKey, RootSecretKey, SealingSecretKey,
};
use fleet_core::manifest::Pin;
use fleet_core::name::Name;
use fleet_core::policy::Policy;
use fleet_core::store::{AgentKeyStore as _, AgentStore as _, Query, Snapshot};
use fleet_core::testing::{self, AgentPeer, SeededRandom, World, block_on};
use fleet_core::time::Clock as _;
use insta::assert_snapshot;

const SEED: u64 = 5;

/// What must stand in no `Debug`, and what was pinned.
#[derive(Default)]
struct Secrets(testing::Secrets);

impl Secrets {
    fn add(&mut self, name: &'static str, bytes: impl AsRef<[u8]>) {
        self.0.add(name, bytes);
    }

    fn in_text(&self, text: &str) -> Option<(&'static str, String)> {
        self.0.in_text(text)
    }

    /// A value's `Debug`, to be pinned, in which no secret is, in either of its forms.
    #[track_caller]
    fn unsaid<T: Debug>(&self, value: &T) -> String {
        every::pinned::<T>();
        self.0.unsaid(value)
    }

    /// The same, for what is not pinned.
    #[track_caller]
    fn quiet(&self, value: &dyn Debug) -> String {
        self.0.unsaid(value)
    }
}

/// A server and an agent of it. What they draw at random follows from the seed, and so do their secrets.
struct Peers {
    world: World,
    agent: AgentPeer,
    secrets: Secrets,
}

impl Peers {
    fn new() -> Self {
        let world = World::new(SEED);
        let agent = world.agent(0);
        let mut secrets = Secrets::default();
        // The same draws as theirs.
        let random = SeededRandom::new(SEED);
        let (root, command) =
            (RootSecretKey::generate(&random).unwrap(), CommandSecretKey::generate(&random).unwrap());
        secrets.add("the root key", *root.danger_seed());
        secrets.add("the command key", *command.danger_seed());
        let keys = AgentSecretKeys::generate(&SeededRandom::new(SEED * 1000 + 1)).unwrap();
        secrets.add("the identity key", *keys.identity.danger_seed());
        secrets.add("the miner-signing key", *keys.miner_signing.danger_seed());
        secrets.add("the sealing key", *keys.sealing.danger_scalar());
        let peers = Self { world, agent, secrets };
        let snapshot = peers.load(Query::Organization(peers.world.server.operator.org_id));
        let manifest = snapshot.organization.record.manifest;
        assert_eq!(
            (manifest.manifest().root, manifest.manifest().command),
            (root.public(), command.public())
        );
        peers
    }

    fn load(&self, query: Query) -> Snapshot {
        block_on(self.world.server.store.load(query)).unwrap().unwrap()
    }

    /// The agent's keys are the ones that the secrets are of.
    fn keyring(&self) -> AgentKeyring {
        let keyring = block_on(self.agent.keys.open()).unwrap().unwrap();
        let keys = AgentSecretKeys::generate(&SeededRandom::new(SEED * 1000 + 1)).unwrap();
        assert_eq!(keyring.public().unwrap(), keys.public().unwrap());
        keyring
    }
}

/// 32 bytes of one value, and that they are a secret.
fn secret(byte: u8) -> ([u8; 32], Secrets) {
    let mut secrets = Secrets::default();
    secrets.add("the secret", [byte; 32]);
    ([byte; 32], secrets)
}

fn strings_that_people_handle() {
    let random = SeededRandom::new(SEED);
    let mut secrets = Secrets::default();
    let code = EnrollmentCode::generate(Pin::from_bytes([1; Pin::LEN]), &random).unwrap();
    let api_key = ApiKey::generate(&random).unwrap();
    let token = SessionToken::generate(&random).unwrap();
    secrets.add("the code", code.expose());
    secrets.add("the api_key", &api_key.expose()[15..]);
    secrets.add("the token", token.expose());
    secrets.add("the token's bytes", URL_SAFE_NO_PAD.decode(token.expose()).unwrap());
    assert_snapshot!(secrets.unsaid(&code), @"EnrollmentCode(..)");
    assert_snapshot!(secrets.unsaid(&api_key), @"ApiKey(fleet_5c65d9cc_..)");
    assert_snapshot!(secrets.unsaid(&token), @"SessionToken(..)");
    // Hashes are shortened: the whole of one is what a server looks a credential up by.
    secrets.add("the code's hash", code.hash().as_bytes());
    assert_snapshot!(secrets.unsaid(&code.hash()), @"SecretHash(3483c497..)");
}

fn secret_keys_show_their_public_half() {
    let (seed, secrets) = secret(7);
    assert_snapshot!(secrets.unsaid(&RootSecretKey::from_seed(&seed)), @"RootSecretKey(RootPublicKey(ea4a6c63..))");
    assert_snapshot!(secrets.unsaid(&CommandSecretKey::from_seed(&seed)), @"CommandSecretKey(CommandPublicKey(ea4a6c63..))");
    assert_snapshot!(secrets.unsaid(&OperatorSecretKey::from_seed(&seed)), @"OperatorSecretKey(OperatorPublicKey(ea4a6c63..))");
    assert_snapshot!(secrets.unsaid(&IdentitySecretKey::from_seed(&seed)), @"IdentitySecretKey(IdentityPublicKey(ea4a6c63..))");
    assert_snapshot!(secrets.unsaid(&MinerSigningSecretKey::from_seed(&seed)), @"MinerSigningSecretKey(MinerSigningPublicKey(ea4a6c63..))");
    assert_snapshot!(secrets.unsaid(&SealingSecretKey::from_scalar(&seed)), @"SealingSecretKey(SealingPublicKey(13be4fea..))");
    assert_snapshot!(secrets.unsaid(&RecoverySecretKey::from_scalar(&seed)), @"RecoverySecretKey(RecoveryPublicKey(13be4fea..))");
    let keys = || AgentSecretKeys {
        identity: IdentitySecretKey::from_seed(&seed),
        miner_signing: MinerSigningSecretKey::from_seed(&seed),
        sealing: SealingSecretKey::from_scalar(&seed),
    };
    assert_snapshot!(secrets.unsaid(&keys()), @"AgentSecretKeys { identity: IdentitySecretKey(IdentityPublicKey(ea4a6c63..)), miner_signing: MinerSigningSecretKey(MinerSigningPublicKey(ea4a6c63..)), sealing: SealingSecretKey(SealingPublicKey(13be4fea..)) }");
    assert_snapshot!(secrets.unsaid(&AgentKeyring::from(keys())), @"AgentKeyring { identity: IdentitySecretKey(IdentityPublicKey(ea4a6c63..)), miner_signing: MinerSigningSecretKey(MinerSigningPublicKey(ea4a6c63..)), sealing: SealingSecretKey(SealingPublicKey(13be4fea..)) }");
    let server = ServerKeys::managed(
        std::sync::Arc::new(RootSecretKey::from_seed(&seed)),
        std::sync::Arc::new(CommandSecretKey::from_seed(&seed)),
    );
    assert_snapshot!(secrets.unsaid(&server), @"ServerKeys { roots: OneRoot(RootSecretKey(RootPublicKey(ea4a6c63..))), command: CommandSecretKey(CommandPublicKey(ea4a6c63..)) }");
}

impl Peers {
    /// The operator makes a code.
    fn code(&mut self) -> NewCode {
        let code = block_on(self.world.server.create_code());
        self.secrets.add("the code", code.code.as_ref().unwrap().expose());
        code
    }

    /// An agent that is online, its api_key and token secrets too.
    fn online(&mut self) -> NewCode {
        let code = self.code();
        let online = block_on(self.agent.enroll(&self.world, "site-1", &code)).unwrap();
        self.world.advance(Duration::from_secs(1));
        let state = block_on(self.agent.store.load()).unwrap().unwrap().record;
        self.secrets.add("the api_key", &state.api_key.unwrap().expose()[15..]);
        self.secrets.add("the session", online.session.token.expose());
        self.keyring();
        code
    }
}

fn an_enrollment_at_the_agent() {
    let mut peers = Peers::new();
    let new = peers.code();
    assert_snapshot!(peers.secrets.unsaid(&new), @"NewCode { enrollment_id: EnrollmentId(1009271457232239), code: Some(EnrollmentCode(..)), expires_at: UnixMillis(1767229200000) }");
    let code = EnrollmentCode::parse(new.code.as_ref().unwrap().expose()).unwrap();
    let keyring = block_on(
        peers.agent.keys.replace(AgentSecretKeys::generate(&SeededRandom::new(SEED * 1000 + 1)).unwrap()),
    );
    drop(keyring.unwrap());
    let keyring = peers.keyring();
    let keys = keyring.public().unwrap();
    let begun = enrolling::begin(code, "https://fleet.example", Name::new("site-1").unwrap(), keys, None);
    let begun = begun.unwrap();
    assert_snapshot!(peers.secrets.unsaid(&begun), @r#"NeedsSave { state: Some(AgentState { server: "https://fleet.example", name: "site-1", code: SecretHash(d2dd6663..), keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, manifest: None, joined: false, agent_id: None, api_key: None, session: None, counters: Counters { command: 0, telemetry: 0, event: 0 } }), next: NeedsProofs { code: EnrollmentCode(..), state: AgentState { server: "https://fleet.example", name: "site-1", code: SecretHash(d2dd6663..), keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, manifest: None, joined: false, agent_id: None, api_key: None, session: None, counters: Counters { command: 0, telemetry: 0, event: 0 } } } }"#);
    let proofs = begun.saved();
    assert_snapshot!(peers.secrets.unsaid(&proofs), @r#"NeedsProofs { code: EnrollmentCode(..), state: AgentState { server: "https://fleet.example", name: "site-1", code: SecretHash(d2dd6663..), keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, manifest: None, joined: false, agent_id: None, api_key: None, session: None, counters: Counters { command: 0, telemetry: 0, event: 0 } } }"#);
    assert_snapshot!(peers.secrets.unsaid(&proofs.to_sign()), @"[Transcript { domain: EnrollIdentity, len: 183 }, Transcript { domain: EnrollMinerSigning, len: 188 }]");
    let [identity, miner_signing] = proofs.to_sign();
    let signatures = block_on(async {
        [
            keyring.identity.sign(identity.as_bytes()).await.unwrap(),
            keyring.miner_signing.sign(miner_signing.as_bytes()).await.unwrap(),
        ]
    });
    let expect = proofs.signed(signatures).unwrap();
    let request: RegisterRequest = expect.request().clone();
    assert_snapshot!(peers.secrets.unsaid(&request), @r#"RegisterRequest { name: "site-1", .. }"#);
    assert_snapshot!(peers.secrets.unsaid(&expect), @r#"ExpectAnswer { code: EnrollmentCode(..), state: AgentState { server: "https://fleet.example", name: "site-1", code: SecretHash(d2dd6663..), keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, manifest: None, joined: false, agent_id: None, api_key: None, session: None, counters: Counters { command: 0, telemetry: 0, event: 0 } }, request: RegisterRequest { name: "site-1", .. } }"#);

    let answer = block_on(peers.world.server.driver.register(request.clone())).unwrap();
    let fingerprint = expect.fingerprint();
    let asked = expect.answer(answer).unwrap();
    assert_snapshot!(peers.secrets.unsaid(&asked), @r#"NeedsSave { state: Some(AgentState { server: "https://fleet.example", name: "site-1", code: SecretHash(d2dd6663..), keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, manifest: Some(SignedManifest { manifest: OrgManifest { org_id: OrgId(6), org_name: "Acme", epoch: 1767225600000, root: RootPublicKey(61a0a801..), command: CommandPublicKey(76c918fa..), recovery: None, operators: [], revoked: [] }, signature: Signature(..) }), joined: false, agent_id: Some(AgentId(7851070409908325)), api_key: None, session: None, counters: Counters { command: 0, telemetry: 0, event: 0 } }), next: AskToJoin(AskToJoin { verified: Verified { expect: ExpectAnswer { code: EnrollmentCode(..), state: AgentState { server: "https://fleet.example", name: "site-1", code: SecretHash(d2dd6663..), keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, manifest: Some(SignedManifest { manifest: OrgManifest { org_id: OrgId(6), org_name: "Acme", epoch: 1767225600000, root: RootPublicKey(61a0a801..), command: CommandPublicKey(76c918fa..), recovery: None, operators: [], revoked: [] }, signature: Signature(..) }), joined: false, agent_id: Some(AgentId(7851070409908325)), api_key: None, session: None, counters: Counters { command: 0, telemetry: 0, event: 0 } }, request: RegisterRequest { name: "site-1", .. } }, agent_id: AgentId(7851070409908325), status: Pending, sealed_api_key: None }, organization: "Acme" }) }"#);
    let enrolling::Progress::AskToJoin(ask) = asked.saved() else { panic!("it does not ask") };
    assert_snapshot!("ask_to_join", peers.secrets.unsaid(&ask));
    let enrolling::Progress::Wait(expect) = ask.join().unwrap().saved() else { panic!("it does not wait") };

    let agent_id = block_on(peers.world.server.agent_of(&new)).unwrap();
    let api_key = block_on(peers.world.server.confirm(&new, agent_id, fingerprint)).unwrap();
    peers.secrets.add("the api_key", &api_key.expose()[15..]);
    peers.world.advance(Duration::from_secs(2));
    let answer = block_on(peers.world.server.driver.register(request)).unwrap();
    peers.secrets.add("the sealed api_key", answer.sealed_api_key.as_ref().unwrap());
    assert_snapshot!(peers.secrets.unsaid(&answer), @r#"RegisterResponse { agent_id: AgentId(7851070409908325), status: Confirmed, fingerprint: Fingerprint(..), manifest: UnverifiedManifest { manifest: OrgManifest { org_id: OrgId(6), org_name: "Acme", epoch: 1767225600000, root: RootPublicKey(61a0a801..), command: CommandPublicKey(76c918fa..), recovery: None, operators: [], revoked: [] }, signature: Signature(..) }, sealed_api_key: Some(..) }"#);
    // An agent that lost its state is confirmed before it is asked.
    let code = EnrollmentCode::parse(new.code.as_ref().unwrap().expose()).unwrap();
    let (name, keys) = (Name::new("site-1").unwrap(), keyring.public().unwrap());
    let again = enrolling::begin(code, "https://fleet.example", name, keys, None).unwrap().saved();
    let asked = again.signed(signatures).unwrap().answer(answer.clone()).unwrap().saved();
    assert_snapshot!(peers.secrets.unsaid(&asked), @r#"AskToJoin(AskToJoin { verified: Verified { expect: ExpectAnswer { code: EnrollmentCode(..), state: AgentState { server: "https://fleet.example", name: "site-1", code: SecretHash(d2dd6663..), keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, manifest: Some(SignedManifest { manifest: OrgManifest { org_id: OrgId(6), org_name: "Acme", epoch: 1767225600000, root: RootPublicKey(61a0a801..), command: CommandPublicKey(76c918fa..), recovery: None, operators: [], revoked: [] }, signature: Signature(..) }), joined: false, agent_id: Some(AgentId(7851070409908325)), api_key: None, session: None, counters: Counters { command: 0, telemetry: 0, event: 0 } }, request: RegisterRequest { name: "site-1", .. } }, agent_id: AgentId(7851070409908325), status: Confirmed, sealed_api_key: Some(..) }, organization: "Acme" })"#);
    let enrolling::Progress::Open(open) = expect.answer(answer).unwrap().saved() else { panic!("no key") };
    assert_snapshot!(peers.secrets.unsaid(&open), @r#"NeedsOpen { agent_id: AgentId(7851070409908325), state: AgentState { server: "https://fleet.example", name: "site-1", code: SecretHash(d2dd6663..), keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, manifest: Some(SignedManifest { manifest: OrgManifest { org_id: OrgId(6), org_name: "Acme", epoch: 1767225600000, root: RootPublicKey(61a0a801..), command: CommandPublicKey(76c918fa..), recovery: None, operators: [], revoked: [] }, signature: Signature(..) }), joined: true, agent_id: Some(AgentId(7851070409908325)), api_key: None, session: None, counters: Counters { command: 0, telemetry: 0, event: 0 } }, .. }"#);
    let plaintext = block_on(keyring.sealing.open(open.info().as_bytes(), open.sealed())).unwrap();
    let opened = open.opened(&plaintext).unwrap();
    assert_snapshot!(peers.secrets.unsaid(&opened), @r#"NeedsSave { state: Some(AgentState { server: "https://fleet.example", name: "site-1", code: SecretHash(d2dd6663..), keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, manifest: Some(SignedManifest { manifest: OrgManifest { org_id: OrgId(6), org_name: "Acme", epoch: 1767225600000, root: RootPublicKey(61a0a801..), command: CommandPublicKey(76c918fa..), recovery: None, operators: [], revoked: [] }, signature: Signature(..) }), joined: true, agent_id: Some(AgentId(7851070409908325)), api_key: Some(ApiKey(fleet_12b92294_..)), session: None, counters: Counters { command: 0, telemetry: 0, event: 0 } }), next: () }"#);
}

fn an_enrollment_at_the_server() {
    let mut peers = Peers::new();
    let organization = peers.load(Query::Organization(peers.world.server.operator.org_id));
    let (now, policy, random) = (peers.world.clock.now(), Policy::default(), SeededRandom::new(77));
    let (hash, secrets) = secret(7);
    assert_snapshot!(secrets.unsaid(&CreateCode { ttl: None, code_sha256: Some(hash) }), @"CreateCode { ttl: None, code_sha256: Some(SecretHash(07070707..)) }");
    let operator = peers.world.server.operator.clone();
    let made = create_code(CreateCode::default(), &operator, &organization, now, &policy, &random).unwrap();
    let made_says = format!("{made:?}");
    let change = made.change().clone();
    let code = made.committed();
    peers.secrets.add("the code", code.code.as_ref().unwrap().expose());
    assert_eq!(peers.secrets.in_text(&made_says), None, "{made_says}");
    assert_snapshot!(peers.secrets.unsaid(&change), @"Changeset { organization: None, organization_unchanged: Some((OrgId(6), Version(1))), agent: None, enrollment: Some(Put { record: EnrollmentRecord { id: EnrollmentId(3859831627624624), org_id: OrgId(6), code: SecretHash(59406ef3..), state: Pending, created_at: UnixMillis(1767225600000), expires_at: UnixMillis(1767229200000), agent_id: None, answered_at: None, second_uses: 0, second_use_at: None }, expected: None }), api_key: None, challenge: None, sessions: None, forget_credentials: None, activity: [Activity { at: UnixMillis(1767225600000), org_id: OrgId(6), actor: System, kind: CodeCreated, agent_id: None, enrollment_id: Some(EnrollmentId(3859831627624624)) }] }");
    block_on(peers.world.server.store.commit(change)).unwrap();

    let keys = AgentSecretKeys::generate(&SeededRandom::new(SEED * 1000 + 1)).unwrap();
    let public = keys.public().unwrap();
    let token = code.code.as_ref().unwrap().expose().to_owned();
    let name = Name::new("site-1").unwrap();
    let raw = public.by_role().map(|(_, key)| *key);
    let unsigned = [fleet_core::keys::Signature::from_bytes([0; 64]); 2];
    let transcripts = RegisterRequest::new(token.clone(), name.clone(), raw, unsigned).transcripts();
    let proofs =
        [keys.identity.sign(transcripts[0].as_bytes()), keys.miner_signing.sign(transcripts[1].as_bytes())];
    let register = Register::new(RegisterRequest::new(token, name, raw, proofs));
    assert_snapshot!(peers.secrets.unsaid(&register), @r#"Register { request: RegisterRequest { name: "site-1", .. } }"#);
    let found = peers.load(register.query());
    let outcome = register.resolve(Some(found), now, &policy, &random).unwrap();
    assert_snapshot!(peers.secrets.unsaid(&outcome), @r#"Answer(NeedsCommit { change: Changeset { organization: None, organization_unchanged: Some((OrgId(6), Version(1))), agent: Some(Put { record: AgentRecord { id: AgentId(6827238243086480), org_id: OrgId(6), name: "site-1", kind: Remote, keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, status: Pending, enrollment_id: Some(EnrollmentId(3859831627624624)), certificate: None, sealed_api_key: None, created_at: UnixMillis(1767225600000), confirmed_at: None, revoked_at: None, last_sequence: 0, last_begin_at: None }, expected: None }), enrollment: Some(Put { record: EnrollmentRecord { id: EnrollmentId(3859831627624624), org_id: OrgId(6), code: SecretHash(59406ef3..), state: AwaitingConfirmation, created_at: UnixMillis(1767225600000), expires_at: UnixMillis(1767312000000), agent_id: Some(AgentId(6827238243086480)), answered_at: Some(UnixMillis(1767225600000)), second_uses: 0, second_use_at: None }, expected: Some(Version(1)) }), api_key: None, challenge: None, sessions: None, forget_credentials: None, activity: [Activity { at: UnixMillis(1767225600000), org_id: OrgId(6), actor: System, kind: AgentRegistered, agent_id: Some(AgentId(6827238243086480)), enrollment_id: Some(EnrollmentId(3859831627624624)) }] }, result: RegisterResponse { agent_id: AgentId(6827238243086480), status: Pending, fingerprint: Fingerprint(..), manifest: UnverifiedManifest { manifest: OrgManifest { org_id: OrgId(6), org_name: "Acme", epoch: 1767225600000, root: RootPublicKey(61a0a801..), command: CommandPublicKey(76c918fa..), recovery: None, operators: [], revoked: [] }, signature: Signature(..) }, sealed_api_key: None } })"#);
    let RegisterOutcome::Answer(answer) = outcome else { panic!("refused") };
    assert_snapshot!("needs_commit", peers.secrets.unsaid(&answer));
    block_on(peers.world.server.store.commit(answer.change().clone())).unwrap();
    let answer = answer.committed();

    let confirm = Confirm {
        operator,
        agent_id: answer.agent_id,
        enrollment_id: code.enrollment_id,
        fingerprint: answer.fingerprint,
        certificate: None,
    };
    assert_snapshot!(peers.secrets.unsaid(&confirm), @"Confirm { operator: Operator { org_id: OrgId(6), actor: System }, agent_id: AgentId(6827238243086480), enrollment_id: EnrollmentId(3859831627624624), fingerprint: Fingerprint(..), certificate: None }");
    let found = peers.load(confirm.query());
    let step = confirm.resolve(Some(found), now).unwrap();
    assert_snapshot!(peers.secrets.unsaid(&step), @r#"Sign(NeedsRootSignature { operator: Operator { org_id: OrgId(6), actor: System }, agent: Versioned { record: AgentRecord { id: AgentId(6827238243086480), org_id: OrgId(6), name: "site-1", kind: Remote, keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, status: Pending, enrollment_id: Some(EnrollmentId(3859831627624624)), certificate: None, sealed_api_key: None, created_at: UnixMillis(1767225600000), confirmed_at: None, revoked_at: None, last_sequence: 0, last_begin_at: None }, version: Version(1) }, enrollment: Versioned { record: EnrollmentRecord { id: EnrollmentId(3859831627624624), org_id: OrgId(6), code: SecretHash(59406ef3..), state: AwaitingConfirmation, created_at: UnixMillis(1767225600000), expires_at: UnixMillis(1767312000000), agent_id: Some(AgentId(6827238243086480)), answered_at: Some(UnixMillis(1767225600000)), second_uses: 0, second_use_at: None }, version: Version(2) }, root: RootPublicKey(61a0a801..), organization: (OrgId(6), Version(1)), certificate: AgentCertificate { org_id: OrgId(6), agent_id: AgentId(6827238243086480), name: "site-1", keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, key_epoch: 1, issued_at: UnixMillis(1767225600000) }, given: None, matched: FingerprintMatched(()) })"#);
    let ConfirmStep::Sign(step) = step else { panic!("refused") };
    assert_snapshot!("needs_root_signature", peers.secrets.unsaid(&step));
    let root = RootSecretKey::generate(&SeededRandom::new(SEED)).unwrap();
    let signature = root.sign(step.to_sign().unwrap().as_bytes());
    let confirmed = step.signed(Some(signature), now, &random).unwrap();
    let says = format!("{confirmed:?} {confirmed:#?}");
    let change = confirmed.change().clone();
    let record = change.agent.as_ref().unwrap().record.clone();
    peers.secrets.add("the sealed api_key", record.sealed_api_key.as_ref().unwrap());
    peers.secrets.add("the api_key", &confirmed.committed().expose()[15..]);
    assert_eq!(peers.secrets.in_text(&says), None, "{says}");
    assert_snapshot!(peers.secrets.unsaid(&record), @r#"AgentRecord { id: AgentId(6827238243086480), org_id: OrgId(6), name: "site-1", kind: Remote, keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, status: Confirmed, enrollment_id: Some(EnrollmentId(3859831627624624)), certificate: Some(SignedCertificate { certificate: AgentCertificate { org_id: OrgId(6), agent_id: AgentId(6827238243086480), name: "site-1", keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, key_epoch: 1, issued_at: UnixMillis(1767225600000) }, signature: Signature(..) }), sealed_api_key: Some(..), created_at: UnixMillis(1767225600000), confirmed_at: Some(UnixMillis(1767225600000)), revoked_at: None, last_sequence: 0, last_begin_at: None }"#);
    assert_snapshot!(peers.secrets.unsaid(&change), @r#"Changeset { organization: None, organization_unchanged: Some((OrgId(6), Version(1))), agent: Some(Put { record: AgentRecord { id: AgentId(6827238243086480), org_id: OrgId(6), name: "site-1", kind: Remote, keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, status: Confirmed, enrollment_id: Some(EnrollmentId(3859831627624624)), certificate: Some(SignedCertificate { certificate: AgentCertificate { org_id: OrgId(6), agent_id: AgentId(6827238243086480), name: "site-1", keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, key_epoch: 1, issued_at: UnixMillis(1767225600000) }, signature: Signature(..) }), sealed_api_key: Some(..), created_at: UnixMillis(1767225600000), confirmed_at: Some(UnixMillis(1767225600000)), revoked_at: None, last_sequence: 0, last_begin_at: None }, expected: Some(Version(1)) }), enrollment: Some(Put { record: EnrollmentRecord { id: EnrollmentId(3859831627624624), org_id: OrgId(6), code: SecretHash(59406ef3..), state: Confirmed, created_at: UnixMillis(1767225600000), expires_at: UnixMillis(1767312000000), agent_id: Some(AgentId(6827238243086480)), answered_at: Some(UnixMillis(1767225600000)), second_uses: 0, second_use_at: None }, expected: Some(Version(2)) }), api_key: Some(AgentApiKeyRecord { hash: SecretHash(fb0b7496..), digits: "4f03602c", agent_id: AgentId(6827238243086480), created_at: UnixMillis(1767225600000) }), challenge: None, sessions: None, forget_credentials: None, activity: [Activity { at: UnixMillis(1767225600000), org_id: OrgId(6), actor: System, kind: AgentConfirmed, agent_id: Some(AgentId(6827238243086480)), enrollment_id: Some(EnrollmentId(3859831627624624)) }] }"#);
}

fn a_handshake_at_both_ends() {
    let mut peers = Peers::new();
    peers.online();
    let (store, clock) = (&peers.world.server.store, &peers.world.clock);
    let (policy, random) = (Policy::default(), SeededRandom::new(77));
    let held = block_on(peers.agent.store.load()).unwrap().unwrap();
    assert_snapshot!(peers.secrets.unsaid(&held), @r#"Versioned { record: AgentState { server: "https://fleet.example", name: "site-1", code: SecretHash(d2dd6663..), keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, manifest: Some(SignedManifest { manifest: OrgManifest { org_id: OrgId(6), org_name: "Acme", epoch: 1767225600000, root: RootPublicKey(61a0a801..), command: CommandPublicKey(76c918fa..), recovery: None, operators: [], revoked: [] }, signature: Signature(..) }), joined: true, agent_id: Some(AgentId(7851070409908325)), api_key: Some(ApiKey(fleet_12b92294_..)), session: Some(AgentSession { token: SessionToken(..), created_at: UnixMillis(1767225605000), expires_at: UnixMillis(1767229205000) }), counters: Counters { command: 0, telemetry: 0, event: 0 } }, version: Version(5) }"#);
    let state = held.record;
    let api_key = state.api_key.clone().unwrap();
    let expect = online::begin(state, api_key, clock.monotonic(), &random).unwrap();
    let request: BeginRequest = expect.request();
    let mut secrets = peers.secrets;
    secrets.add("the nonce", request.client_nonce);
    assert_snapshot!(secrets.unsaid(&expect), @"ExpectChallenge { agent_id: AgentId(7851070409908325), .. }");
    assert_snapshot!(secrets.unsaid(&request), @"BeginRequest { .. }");

    let begin = server::Begin::new(request);
    assert_snapshot!(secrets.unsaid(&begin), @"Begin { request: BeginRequest { .. } }");
    let found = block_on(store.load(begin.query())).unwrap();
    let needs = begin.resolve(found, clock.now(), &policy, &random).unwrap();
    let needs_says = format!("{needs:#?}");
    assert_snapshot!("needs_server_signature", secrets.unsaid(&needs));
    let drawn = SeededRandom::new(SEED);
    drop(RootSecretKey::generate(&drawn).unwrap());
    let command = CommandSecretKey::generate(&drawn).unwrap();
    let to_sign = needs.to_sign();
    let begun = needs.signed(command.sign(to_sign.as_bytes())).unwrap();
    let begun_says = format!("{begun:?} {begun:#?}");
    let change = begun.change().clone();
    block_on(store.commit(change.clone())).unwrap();
    let response = begun.committed();
    secrets.add("the challenge", response.challenge);
    for text in [needs_says, begun_says] {
        assert_eq!(secrets.in_text(&text), None, "{text}");
    }
    assert_snapshot!(secrets.unsaid(&to_sign), @"Transcript { domain: AuthServer, len: 253 }");
    assert_snapshot!(secrets.unsaid(&change), @r#"Changeset { organization: None, organization_unchanged: None, agent: Some(Put { record: AgentRecord { id: AgentId(7851070409908325), org_id: OrgId(6), name: "site-1", kind: Remote, keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, status: Confirmed, enrollment_id: Some(EnrollmentId(1009271457232239)), certificate: Some(SignedCertificate { certificate: AgentCertificate { org_id: OrgId(6), agent_id: AgentId(7851070409908325), name: "site-1", keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, key_epoch: 1, issued_at: UnixMillis(1767225602000) }, signature: Signature(..) }), sealed_api_key: None, created_at: UnixMillis(1767225602000), confirmed_at: Some(UnixMillis(1767225602000)), revoked_at: None, last_sequence: 1767225606000, last_begin_at: Some(UnixMillis(1767225606000)) }, expected: Some(Version(6)) }), enrollment: None, api_key: None, challenge: Some(ChallengeRecord { agent_id: AgentId(7851070409908325), server_time: UnixMillis(1767225606000), expires_at: UnixMillis(1767225636000), .. }), sessions: None, forget_credentials: None, activity: [] }"#);
    assert_snapshot!(secrets.unsaid(&response), @"BeginResponse { server_time: UnixMillis(1767225606000), .. }");

    let verification = expect.challenge(response, clock.monotonic()).unwrap();
    assert_snapshot!(secrets.unsaid(&verification), @r#"NeedsSave { state: None, next: ExpectVerification { expect: ExpectChallenge { agent_id: AgentId(7851070409908325), .. }, manifest: SignedManifest { manifest: OrgManifest { org_id: OrgId(6), org_name: "Acme", epoch: 1767225600000, root: RootPublicKey(61a0a801..), command: CommandPublicKey(76c918fa..), recovery: None, operators: [], revoked: [] }, signature: Signature(..) }, response: BeginResponse { server_time: UnixMillis(1767225606000), .. } } }"#);
    let needs = verification.saved().verify().unwrap();
    assert_snapshot!(secrets.unsaid(&needs), @r#"NeedsSignature { expect: ExpectChallenge { agent_id: AgentId(7851070409908325), .. }, manifest: SignedManifest { manifest: OrgManifest { org_id: OrgId(6), org_name: "Acme", epoch: 1767225600000, root: RootPublicKey(61a0a801..), command: CommandPublicKey(76c918fa..), recovery: None, operators: [], revoked: [] }, signature: Signature(..) }, manifest_hash: [71, 49, 164, 172, 42, 54, 197, 124, 78, 141, 128, 33, 69, 115, 53, 181, 246, 7, 106, 122, 251, 34, 183, 116, 30, 151, 14, 233, 253, 182, 1, 204], response: BeginResponse { server_time: UnixMillis(1767225606000), .. }, verified: ServerVerified(SignatureVerified(())) }"#);
    let keyring = block_on(peers.agent.keys.open()).unwrap().unwrap();
    let signature = block_on(keyring.identity.sign(needs.to_sign().as_bytes())).unwrap();
    let session = needs.signed(signature, clock.monotonic()).unwrap();
    let request: CompleteRequest = session.request().clone();
    assert_snapshot!(secrets.unsaid(&session), @r#"ExpectSession { request: CompleteRequest { .. }, server_time: UnixMillis(1767225606000), last_sequence: 1767225605000, begin_sent: Monotonic(6s), sent: Monotonic(6s), api_key: ApiKey(fleet_12b92294_..), state: AgentState { server: "https://fleet.example", name: "site-1", code: SecretHash(d2dd6663..), keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, manifest: Some(SignedManifest { manifest: OrgManifest { org_id: OrgId(6), org_name: "Acme", epoch: 1767225600000, root: RootPublicKey(61a0a801..), command: CommandPublicKey(76c918fa..), recovery: None, operators: [], revoked: [] }, signature: Signature(..) }), joined: true, agent_id: Some(AgentId(7851070409908325)), api_key: Some(ApiKey(fleet_12b92294_..)), session: Some(AgentSession { token: SessionToken(..), created_at: UnixMillis(1767225605000), expires_at: UnixMillis(1767229205000) }), counters: Counters { command: 0, telemetry: 0, event: 0 } } }"#);
    assert_snapshot!(secrets.unsaid(&request), @"CompleteRequest { .. }");

    let complete = server::Complete::new(request);
    assert_snapshot!(secrets.unsaid(&complete), @"Complete { request: CompleteRequest { .. } }");
    let taken = block_on(store.take_challenge(complete.challenge())).unwrap();
    assert_snapshot!(secrets.unsaid(&taken), @"Some(ChallengeRecord { agent_id: AgentId(7851070409908325), server_time: UnixMillis(1767225606000), expires_at: UnixMillis(1767225636000), .. })");
    let needs = complete.taken(taken, clock.now()).unwrap();
    assert_snapshot!(secrets.unsaid(&needs), @"NeedsAgent { consumed: ChallengeConsumed(ChallengeRecord { agent_id: AgentId(7851070409908325), server_time: UnixMillis(1767225606000), expires_at: UnixMillis(1767225636000), .. }), signature: SignatureVerified(()) }");
    let found = block_on(store.load(needs.query())).unwrap();
    let completed = needs.resolve(found, clock.now(), &policy, &random).unwrap();
    assert_snapshot!(secrets.unsaid(&completed), @r#"NeedsSessionCommit { step: NeedsCommit { change: Changeset { organization: None, organization_unchanged: Some((OrgId(6), Version(1))), agent: Some(Put { record: AgentRecord { id: AgentId(7851070409908325), org_id: OrgId(6), name: "site-1", kind: Remote, keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, status: Confirmed, enrollment_id: Some(EnrollmentId(1009271457232239)), certificate: Some(SignedCertificate { certificate: AgentCertificate { org_id: OrgId(6), agent_id: AgentId(7851070409908325), name: "site-1", keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, key_epoch: 1, issued_at: UnixMillis(1767225602000) }, signature: Signature(..) }), sealed_api_key: None, created_at: UnixMillis(1767225602000), confirmed_at: Some(UnixMillis(1767225602000)), revoked_at: None, last_sequence: 1767225606000, last_begin_at: Some(UnixMillis(1767225606000)) }, expected: Some(Version(7)) }), enrollment: None, api_key: None, challenge: None, sessions: Some([SessionRecord { token: SecretHash(57884587..), agent_id: AgentId(7851070409908325), api_key: SecretHash(a537f63f..), identity: IdentityPublicKey(4fe0f3f6..), command: CommandPublicKey(76c918fa..), created_at: UnixMillis(1767225605000), expires_at: UnixMillis(1767225666000) }, SessionRecord { token: SecretHash(822d6562..), agent_id: AgentId(7851070409908325), api_key: SecretHash(a537f63f..), identity: IdentityPublicKey(4fe0f3f6..), command: CommandPublicKey(76c918fa..), created_at: UnixMillis(1767225606000), expires_at: UnixMillis(1767229206000) }]), forget_credentials: None, activity: [Activity { at: UnixMillis(1767225606000), org_id: OrgId(6), actor: System, kind: SessionCreated, agent_id: Some(AgentId(7851070409908325)), enrollment_id: None }] }, result: CompleteResponse { token: SessionToken(..), expires_at: UnixMillis(1767229206000) } }, again: NeedsAgent { consumed: ChallengeConsumed(ChallengeRecord { agent_id: AgentId(7851070409908325), server_time: UnixMillis(1767225606000), expires_at: UnixMillis(1767225636000), .. }), signature: SignatureVerified(()) } }"#);
    let completed_says = format!("{completed:?} {completed:#?}");
    let change = completed.change().clone();
    let response = completed.committed();
    secrets.add("the new session", response.token.expose());
    assert_eq!(secrets.in_text(&completed_says), None, "{completed_says}");
    assert_snapshot!(secrets.unsaid(&change), @r#"Changeset { organization: None, organization_unchanged: Some((OrgId(6), Version(1))), agent: Some(Put { record: AgentRecord { id: AgentId(7851070409908325), org_id: OrgId(6), name: "site-1", kind: Remote, keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, status: Confirmed, enrollment_id: Some(EnrollmentId(1009271457232239)), certificate: Some(SignedCertificate { certificate: AgentCertificate { org_id: OrgId(6), agent_id: AgentId(7851070409908325), name: "site-1", keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, key_epoch: 1, issued_at: UnixMillis(1767225602000) }, signature: Signature(..) }), sealed_api_key: None, created_at: UnixMillis(1767225602000), confirmed_at: Some(UnixMillis(1767225602000)), revoked_at: None, last_sequence: 1767225606000, last_begin_at: Some(UnixMillis(1767225606000)) }, expected: Some(Version(7)) }), enrollment: None, api_key: None, challenge: None, sessions: Some([SessionRecord { token: SecretHash(57884587..), agent_id: AgentId(7851070409908325), api_key: SecretHash(a537f63f..), identity: IdentityPublicKey(4fe0f3f6..), command: CommandPublicKey(76c918fa..), created_at: UnixMillis(1767225605000), expires_at: UnixMillis(1767225666000) }, SessionRecord { token: SecretHash(822d6562..), agent_id: AgentId(7851070409908325), api_key: SecretHash(a537f63f..), identity: IdentityPublicKey(4fe0f3f6..), command: CommandPublicKey(76c918fa..), created_at: UnixMillis(1767225606000), expires_at: UnixMillis(1767229206000) }]), forget_credentials: None, activity: [Activity { at: UnixMillis(1767225606000), org_id: OrgId(6), actor: System, kind: SessionCreated, agent_id: Some(AgentId(7851070409908325)), enrollment_id: None }] }"#);
    assert_snapshot!(secrets.unsaid(&response), @"CompleteResponse { token: SessionToken(..), expires_at: UnixMillis(1767229206000) }");
    let online = session.session(response, clock.monotonic()).unwrap();
    assert_snapshot!(secrets.unsaid(&online), @r#"NeedsSave { state: Some(AgentState { server: "https://fleet.example", name: "site-1", code: SecretHash(d2dd6663..), keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, manifest: Some(SignedManifest { manifest: OrgManifest { org_id: OrgId(6), org_name: "Acme", epoch: 1767225600000, root: RootPublicKey(61a0a801..), command: CommandPublicKey(76c918fa..), recovery: None, operators: [], revoked: [] }, signature: Signature(..) }), joined: true, agent_id: Some(AgentId(7851070409908325)), api_key: Some(ApiKey(fleet_12b92294_..)), session: Some(AgentSession { token: SessionToken(..), created_at: UnixMillis(1767225606000), expires_at: UnixMillis(1767229206000) }), counters: Counters { command: 0, telemetry: 0, event: 0 } }), next: Online { session: AgentSession { token: SessionToken(..), created_at: UnixMillis(1767225606000), expires_at: UnixMillis(1767229206000) }, server_time: ServerTime { at: UnixMillis(1767225606000), sent: Monotonic(6s) }, last_sequence: 1767225605000, renew_at: UnixMillis(1767228006000) } }"#);
    assert_snapshot!(secrets.unsaid(&online.saved()), @"Online { session: AgentSession { token: SessionToken(..), created_at: UnixMillis(1767225606000), expires_at: UnixMillis(1767229206000) }, server_time: ServerTime { at: UnixMillis(1767225606000), sent: Monotonic(6s) }, last_sequence: 1767225605000, renew_at: UnixMillis(1767228006000) }");
}

fn stores_and_drivers() {
    let mut peers = Peers::new();
    assert_snapshot!(peers.secrets.unsaid(&peers.world.server.driver), @r#"ServerDriver { store: MemoryServerStore { held: Mutex { data: Held { tables: Tables { organizations: {OrgId(6): Versioned { record: OrganizationRecord { id: OrgId(6), manifest: SignedManifest { manifest: OrgManifest { org_id: OrgId(6), org_name: "Acme", epoch: 1767225600000, root: RootPublicKey(61a0a801..), command: CommandPublicKey(76c918fa..), recovery: None, operators: [], revoked: [] }, signature: Signature(..) }, created_at: UnixMillis(1767225600000) }, version: Version(1) }}, enrollments: {}, agents: {}, api_keys: {}, challenges: {}, sessions: {} }, activity: [Activity { at: UnixMillis(1767225600000), org_id: OrgId(6), actor: System, kind: OrganizationCreated, agent_id: None, enrollment_id: None }] }, poisoned: false, .. } }, clock: VirtualClock { hands: Mutex { data: (UnixMillis(1767225600000), 0ns), poisoned: false, .. } }, random: SeededRandom { seed: 5, counter: Mutex { data: 2, poisoned: false, .. } }, keys: ServerKeys { roots: OneRoot(RootSecretKey(RootPublicKey(61a0a801..))), command: CommandSecretKey(CommandPublicKey(76c918fa..)) }, policy: Policy { code_ttl: 3600s, confirmation_ttl: 86400s, challenge_ttl: 30s, session_ttl: 3600s, session_overlap: 60s, register_interval: 1s, begin_interval: 250ms }, probe: CrashAt { point: Mutex { data: None, poisoned: false, .. } }, gate: OpenGate }"#);
    assert_snapshot!(peers.secrets.unsaid(&peers.agent.driver), @r#"AgentDriver { store: MemoryAgentStore { state: Mutex { data: None, poisoned: false, .. } }, keys: MemoryKeyStore { keys: Mutex { data: None, poisoned: false, .. } }, transport: FaultyLink { server: ServerDriver { store: MemoryServerStore { held: Mutex { data: Held { tables: Tables { organizations: {OrgId(6): Versioned { record: OrganizationRecord { id: OrgId(6), manifest: SignedManifest { manifest: OrgManifest { org_id: OrgId(6), org_name: "Acme", epoch: 1767225600000, root: RootPublicKey(61a0a801..), command: CommandPublicKey(76c918fa..), recovery: None, operators: [], revoked: [] }, signature: Signature(..) }, created_at: UnixMillis(1767225600000) }, version: Version(1) }}, enrollments: {}, agents: {}, api_keys: {}, challenges: {}, sessions: {} }, activity: [Activity { at: UnixMillis(1767225600000), org_id: OrgId(6), actor: System, kind: OrganizationCreated, agent_id: None, enrollment_id: None }] }, poisoned: false, .. } }, clock: VirtualClock { hands: Mutex { data: (UnixMillis(1767225600000), 0ns), poisoned: false, .. } }, random: SeededRandom { seed: 5, counter: Mutex { data: 2, poisoned: false, .. } }, keys: ServerKeys { roots: OneRoot(RootSecretKey(RootPublicKey(61a0a801..))), command: CommandSecretKey(CommandPublicKey(76c918fa..)) }, policy: Policy { code_ttl: 3600s, confirmation_ttl: 86400s, challenge_ttl: 30s, session_ttl: 3600s, session_overlap: 60s, register_interval: 1s, begin_interval: 250ms }, probe: CrashAt { point: Mutex { data: None, poisoned: false, .. } }, gate: OpenGate }, clock: VirtualClock { hands: Mutex { data: (UnixMillis(1767225600000), 0ns), poisoned: false, .. } }, faults: Mutex { data: [], poisoned: false, .. } }, clock: VirtualClock { hands: Mutex { data: (UnixMillis(1767225600000), 0ns), poisoned: false, .. } }, random: SeededRandom { seed: 5001, counter: Mutex { data: 0, poisoned: false, .. } }, probe: CrashAt { point: Mutex { data: None, poisoned: false, .. } } }"#);
    peers.online();
    let agent_id = block_on(peers.agent.store.load()).unwrap().unwrap().record.agent_id.unwrap();
    let found = peers.load(Query::Agent(agent_id));
    let Peers { world, agent, secrets } = &peers;
    assert_snapshot!(secrets.unsaid(&found), @r#"Snapshot { organization: Versioned { record: OrganizationRecord { id: OrgId(6), manifest: SignedManifest { manifest: OrgManifest { org_id: OrgId(6), org_name: "Acme", epoch: 1767225600000, root: RootPublicKey(61a0a801..), command: CommandPublicKey(76c918fa..), recovery: None, operators: [], revoked: [] }, signature: Signature(..) }, created_at: UnixMillis(1767225600000) }, version: Version(1) }, enrollment: Some(Versioned { record: EnrollmentRecord { id: EnrollmentId(1009271457232239), org_id: OrgId(6), code: SecretHash(d2dd6663..), state: Confirmed, created_at: UnixMillis(1767225600000), expires_at: UnixMillis(1767312002000), agent_id: Some(AgentId(7851070409908325)), answered_at: Some(UnixMillis(1767225604000)), second_uses: 0, second_use_at: None }, version: Version(4) }), agent: Some(Versioned { record: AgentRecord { id: AgentId(7851070409908325), org_id: OrgId(6), name: "site-1", kind: Remote, keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, status: Confirmed, enrollment_id: Some(EnrollmentId(1009271457232239)), certificate: Some(SignedCertificate { certificate: AgentCertificate { org_id: OrgId(6), agent_id: AgentId(7851070409908325), name: "site-1", keys: AgentPublicKeys { identity: IdentityPublicKey(4fe0f3f6..), miner_signing: MinerSigningPublicKey(e40c512f..), sealing: SealingPublicKey(743b1a0c..) }, key_epoch: 1, issued_at: UnixMillis(1767225602000) }, signature: Signature(..) }), sealed_api_key: None, created_at: UnixMillis(1767225602000), confirmed_at: Some(UnixMillis(1767225602000)), revoked_at: None, last_sequence: 1767225605000, last_begin_at: Some(UnixMillis(1767225605000)) }, version: Version(6) }), sessions: [SessionRecord { token: SecretHash(57884587..), agent_id: AgentId(7851070409908325), api_key: SecretHash(a537f63f..), identity: IdentityPublicKey(4fe0f3f6..), command: CommandPublicKey(76c918fa..), created_at: UnixMillis(1767225605000), expires_at: UnixMillis(1767229205000) }] }"#);
    // What they hold changes with what they are made of; that none of it is secret is what matters.
    secrets.quiet(&world.server.store);
    secrets.quiet(&world.server.driver);
    secrets.quiet(&agent.store);
    assert_snapshot!(secrets.unsaid(&agent.keys), @"MemoryKeyStore { keys: Mutex { data: Some(AgentKeyring { identity: IdentitySecretKey(IdentityPublicKey(4fe0f3f6..)), miner_signing: MinerSigningSecretKey(MinerSigningPublicKey(e40c512f..)), sealing: SealingSecretKey(SealingPublicKey(743b1a0c..)) }), poisoned: false, .. } }");
    secrets.quiet(&agent.driver);
    secrets.quiet(&world);
    secrets.quiet(&agent);
}

fn an_enrollment_that_a_driver_runs() {
    let mut peers = Peers::new();
    let new = peers.code();
    let code = EnrollmentCode::parse(new.code.as_ref().unwrap().expose()).unwrap();
    let name = Name::new("site-1").unwrap();
    let mut enrolling = block_on(peers.agent.driver.enroll(code, "https://fleet.example", name)).unwrap();
    peers.keyring();
    assert_snapshot!("enrolling", peers.secrets.unsaid(&enrolling));
    let progress = block_on(enrolling.poll()).unwrap();
    assert!(matches!(progress, EnrollmentProgress::AskToJoin { .. }));
    peers.secrets.quiet(&enrolling);
    block_on(enrolling.join()).unwrap();
    peers.secrets.quiet(&enrolling);
}

#[test]
fn a_planted_secret_is_found_in_every_form() {
    /// What `derive` makes of a type that nobody thought about.
    #[derive(Debug)]
    #[allow(dead_code, reason = "its Debug is what is looked at")]
    struct Derived<T>(T);

    let mut secrets = Secrets::default();
    let seed: Vec<u8> = (0..32).map(|i: u8| i.wrapping_mul(37).wrapping_add(200)).collect();
    secrets.add("seed", &seed);
    secrets.add("text", "fenr1planted-secret");
    let planted: [&dyn Debug; 7] = [
        &Derived(seed.clone()),
        &Derived(<[u8; 32]>::try_from(seed.as_slice()).unwrap()),
        &Derived(hex::encode(&seed)),
        &Derived(hex::encode_upper(&seed)),
        &Derived(STANDARD_NO_PAD.encode(&seed)),
        &Derived(URL_SAFE_NO_PAD.encode(&seed)),
        &Derived("fenr1planted-secret"),
    ];
    for value in planted {
        assert!(secrets.in_text(&format!("{value:?}")).is_some(), "{value:?}");
        assert!(secrets.in_text(&format!("{value:#?}")).is_some(), "{value:#?}");
    }
    assert!(secrets.in_text(&seed.escape_ascii().to_string()).is_some());
    assert!(secrets.in_text(&format!("{seed:02x?}")).is_some());
    assert_eq!(secrets.in_text(&format!("{:?}", Derived(&seed[1..]))), None);
}
