//! The drivers on tokio, with a transport of your own: an agent enrolls and comes online over plain TCP.
//!
//! A driver never sleeps, spawns or names a runtime: when to ask again, how long a call may take and what goes on
//! meanwhile is decided here. What a transport alters is found by signatures and pins; that nobody listens takes TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use fleet_agent::clock::SystemClock;
use fleet_core::code::EnrollmentCode;
use fleet_core::driver::{AgentDriver, AgentError, EnrollmentProgress, ServerDriver};
use fleet_core::enrollment::server::CreateCode;
use fleet_core::enrollment::{RegisterRequest, RegisterResponse};
use fleet_core::handshake::agent::Online;
use fleet_core::handshake::{BeginRequest, BeginResponse, CompleteRequest, CompleteResponse};
use fleet_core::refusal::{Code, Refusal};
use fleet_core::store::{MemoryAgentStore, MemoryKeyStore, MemoryServerStore};
use fleet_core::transport::{Transport, TransportError};
use fleet_core::{fingerprint::Fingerprint, future::BoxFuture, name::Name, random::OsRandom};
use fleet_examples::{Acme, BEGIN, COMPLETE, REGISTER, acme, answer, confirm, parse};
use fleet_proto::{agentgateway::v1, convert::ConvertError, validate::Validate};
use prost::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::{sync::mpsc, time::sleep, time::timeout};

const ANSWER: u8 = 0;
const AGAIN: u8 = 1;
const REFUSED: u8 = 2;
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection for each call. A message is a byte for the call, or for what becomes of it, four for the length, protobuf.
#[derive(Debug)]
struct Tcp(SocketAddr);

async fn write(stream: &mut TcpStream, kind: u8, message: &[u8]) -> std::io::Result<()> {
    stream.write_u8(kind).await?;
    stream.write_u32(u32::try_from(message.len()).map_err(std::io::Error::other)?).await?;
    stream.write_all(message).await
}

async fn read(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let (kind, length, mut message) = (stream.read_u8().await?, stream.read_u32().await?, Vec::new());
    stream.take(u64::from(length.min(16 * 1024))).read_to_end(&mut message).await?;
    Ok((kind, message))
}

impl Tcp {
    async fn call<M, T>(&self, call: u8, request: impl Message) -> Result<T, TransportError>
    where
        M: Message + Default + Validate,
        T: TryFrom<M, Error = ConvertError>,
    {
        let exchange = async {
            let mut stream = TcpStream::connect(self.0).await?;
            write(&mut stream, call, &request.encode_to_vec()).await?;
            read(&mut stream).await
        };
        let refused = |code| Refusal { code, message: "the server refused".to_owned(), retry_after: None };
        match timeout(PATIENCE, exchange).await {
            Ok(Ok((ANSWER, answer))) => {
                parse::<M, T>(&answer).map_err(|error| TransportError::Malformed(error.into()))
            }
            Ok(Ok((AGAIN, _))) => Err(refused(Code::ResourceExhausted).into()),
            Ok(Ok(_)) => Err(refused(Code::Unauthenticated).into()),
            Ok(Err(error)) => Err(TransportError::Unreachable(Box::new(error))),
            Err(late) => Err(TransportError::Unreachable(Box::new(late))),
        }
    }
}

impl Transport for Tcp {
    fn register(&self, request: RegisterRequest) -> BoxFuture<'_, Result<RegisterResponse, TransportError>> {
        let message = v1::RegisterRequest::from(&request);
        Box::pin(self.call::<v1::RegisterResponse, _>(REGISTER, message))
    }

    fn begin(&self, request: BeginRequest) -> BoxFuture<'_, Result<BeginResponse, TransportError>> {
        let message = v1::BeginAuthHandshakeRequest::from(&request);
        Box::pin(self.call::<v1::BeginAuthHandshakeResponse, _>(BEGIN, message))
    }

    fn complete(&self, request: CompleteRequest) -> BoxFuture<'_, Result<CompleteResponse, TransportError>> {
        let message = v1::CompleteAuthHandshakeRequest::from(&request);
        Box::pin(self.call::<v1::CompleteAuthHandshakeResponse, _>(COMPLETE, message))
    }
}

async fn serve(server: ServerDriver, mut stream: TcpStream) -> anyhow::Result<()> {
    let (call, message) = timeout(PATIENCE, read(&mut stream)).await??;
    let (kind, answer) = match answer(&server, call, &message).await {
        Ok(answer) => (ANSWER, answer),
        Err(refusal) if refusal.code == Code::ResourceExhausted => (AGAIN, Vec::new()),
        Err(_) => (REFUSED, Vec::new()),
    };
    Ok(timeout(PATIENCE, write(&mut stream, kind, &answer)).await??)
}

async fn agent(
    server: SocketAddr,
    code: EnrollmentCode,
    shows: mpsc::Sender<Fingerprint>,
) -> anyhow::Result<Online> {
    let (store, keys) = (Arc::new(MemoryAgentStore::new()), Arc::new(MemoryKeyStore::new()));
    let driver =
        AgentDriver::new(store, keys, Arc::new(Tcp(server)), Arc::new(SystemClock), Arc::new(OsRandom));
    let mut enrolling = driver.enroll(code, "tcp://localhost", Name::new("site-1")?).await?;
    loop {
        match enrolling.poll().await {
            Ok(EnrollmentProgress::AskToJoin { organization }) => {
                println!("join {organization}? yes; the fingerprint is {}", enrolling.fingerprint());
                enrolling.join().await?;
                shows.send(*enrolling.fingerprint()).await?;
            }
            Ok(EnrollmentProgress::Enrolled) => break,
            Ok(EnrollmentProgress::NeedsApiKey) => bail!("the api_key was delivered before"),
            // A lost answer costs nothing, and one that comes too soon says so: ask again.
            Ok(EnrollmentProgress::Waiting) | Err(AgentError::Transport(TransportError::Unreachable(_))) => {}
            Err(AgentError::Transport(TransportError::Refused(said)))
                if said.code == Code::ResourceExhausted => {}
            Err(error) => return Err(error.into()),
        }
        sleep(Duration::from_secs(2)).await;
    }
    Ok(driver.handshake().await?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let store = Arc::new(MemoryServerStore::new());
    let Acme { server, operator, .. } = acme(store.clone()).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = server.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(serving.clone(), stream));
        }
    });
    let new = server.create_code(CreateCode::default(), &operator).await?;
    let (shows, mut shown) = mpsc::channel(1);
    let agent = tokio::spawn(agent(address, new.code.context("a managed root")?, shows));
    let fingerprint = shown.recv().await.context("the agent has ended")?;
    confirm(&server, store.as_ref(), operator, new.enrollment_id, fingerprint).await?;
    let online = agent.await??;
    let caller = server.authenticate(&online.session.token.hash()).await?;
    println!("agent {} is online", caller.agent_id);
    Ok(())
}
