//! An own `Signer`, which keeps an agent's identity key in another process: this program starts itself once more, and
//! that child makes the key and never gives it out. It signs what an agent signs when it enrolls and in a handshake, and
//! nothing else, whoever asks: no miner's token, and nothing that another key of the protocol has to sign.
//!
//! Over the child's pipes go four bytes for the length and the message; back come a byte, 1 for yes, and the signature.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use fleet_core::driver::AgentDriver;
use fleet_core::future::{BoxFuture, ready};
use fleet_core::keys::{AgentKeyring, AgentSecretKeys, IdentitySecretKey, Signature, Signer, SignerError};
use fleet_core::random::OsRandom;
use fleet_core::store::{AgentKeyStore, StoreError};
use fleet_core::testing::{AgentPeer, World, block_on};
use fleet_core::transcript::Domain;

const HOLD_THE_KEY: &str = "--hold-the-key";
/// What an identity key signs (protocol section 2), and how many fields that has.
const SIGNED: [(Domain, usize); 2] = [(Domain::EnrollIdentity, 5), (Domain::AuthAgent, 9)];

/// The child: it says its public key, then signs until its parent is gone.
fn hold_the_key(mut asked: impl Read, mut says: impl Write) -> anyhow::Result<()> {
    let key = IdentitySecretKey::generate(&OsRandom)?;
    says.write_all(key.public().as_bytes())?;
    says.flush()?;
    let mut length = [0; 4];
    while asked.read_exact(&mut length).is_ok() {
        let mut message = Vec::new();
        asked.by_ref().take(u64::from(u32::from_be_bytes(length))).read_to_end(&mut message)?;
        match may_sign(&message) {
            true => says.write_all(&[&[1], &key.sign(&message).to_bytes()[..]].concat())?,
            false => says.write_all(&[0; 65])?,
        }
        says.flush()?;
    }
    Ok(())
}

/// Whether a message is a whole transcript of one of those domains: a zero byte, the domain, its fields, and no more.
fn may_sign(message: &[u8]) -> bool {
    let Some((0, rest)) = message.split_first() else { return false };
    let mut rest = Some(rest);
    let mut field = || {
        let (length, after) = rest.and_then(<[u8]>::split_first_chunk::<4>)?;
        let (field, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        rest = Some(after);
        Some(field)
    };
    let domain = field();
    let known = SIGNED.iter().find(|(known, _)| domain == Some(known.as_str().as_bytes()));
    let whole = known.is_some_and(|(_, count)| (0..*count).all(|_| field().is_some()));
    whole && rest.is_some_and(<[u8]>::is_empty)
}

/// The parent's end.
#[derive(Debug)]
struct KeyProcess {
    public: [u8; 32],
    pipes: Mutex<(ChildStdin, ChildStdout)>,
}

impl KeyProcess {
    fn start() -> anyhow::Result<(Arc<Self>, Child)> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg(HOLD_THE_KEY).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (stdin, mut stdout) =
            child.stdin.take().zip(child.stdout.take()).context("they were asked for")?;
        let mut public = [0; 32];
        stdout.read_exact(&mut public)?;
        Ok((Arc::new(Self { public, pipes: Mutex::new((stdin, stdout)) }), child))
    }

    fn ask(&self, message: &[u8]) -> Result<Signature, Box<dyn std::error::Error + Send + Sync>> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let (stdin, stdout) = &mut *pipes;
        stdin.write_all(&[&u32::try_from(message.len())?.to_be_bytes()[..], message].concat())?;
        let (mut yes, mut signature) = ([0], [0; 64]);
        stdout.read_exact(&mut yes)?;
        stdout.read_exact(&mut signature)?;
        if yes == [1] {
            Ok(Signature::from_bytes(signature))
        } else {
            Err("the key's process will not sign this".into())
        }
    }
}

impl Signer for KeyProcess {
    fn public_key(&self) -> [u8; 32] {
        self.public
    }

    /// Waits for the pipe here and now, which takes some microseconds. What takes longer must not block a runtime.
    fn sign<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<Signature, SignerError>> {
        ready(self.ask(message).map_err(SignerError))
    }
}

/// An agent's keys, of which the identity key is elsewhere.
#[derive(Debug)]
struct Keys {
    identity: Arc<KeyProcess>,
    others: Mutex<Option<AgentKeyring>>,
}

impl AgentKeyStore for Keys {
    fn open(&self) -> BoxFuture<'_, Result<Option<AgentKeyring>, StoreError>> {
        ready(Ok(self.others.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }

    /// Of the three new keys one is not used.
    fn replace(&self, keys: AgentSecretKeys) -> BoxFuture<'_, Result<AgentKeyring, StoreError>> {
        let keyring = AgentKeyring { identity: self.identity.clone(), ..keys.into() };
        *self.others.lock().unwrap_or_else(PoisonError::into_inner) = Some(keyring.clone());
        ready(Ok(keyring))
    }
}

/// Enrolls and handshakes as any agent does, at a server in memory, on virtual time.
async fn agent(identity: Arc<KeyProcess>) -> anyhow::Result<()> {
    let (world, keys) = (World::new(1), Arc::new(Keys { identity, others: Mutex::default() }));
    let peer = world.agent(0);
    let (store, link) = (peer.store.clone(), peer.link.clone());
    let driver = AgentDriver::new(store, keys, link, world.clock.clone(), Arc::new(OsRandom));
    let (peer, code) = (AgentPeer { driver, ..peer }, world.server.create_code().await);
    let online = peer.enroll(&world, "site-1", &code).await?;
    let caller = world.server.driver.authenticate(&online.session.token.hash()).await?;
    println!("agent {} is online; its identity key is in another process", caller.agent_id);
    Ok(())
}

fn main() -> anyhow::Result<()> {
    if std::env::args().any(|argument| argument == HOLD_THE_KEY) {
        return hold_the_key(std::io::stdin().lock(), std::io::stdout().lock());
    }
    let (signer, mut child) = KeyProcess::start()?;
    for not_ours in [&b"eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.e30"[..], b"", b"\0\0\0\0\x10fleet/v1/command"] {
        let refused = block_on(signer.sign(not_ours)).is_err();
        ensure!(refused, "it signs what is no agent's to sign");
    }
    println!("a miner's token and a command were not signed");
    block_on(agent(signer))?;
    ensure!(child.wait()?.success(), "it ends with its parent's pipe");
    Ok(())
}
