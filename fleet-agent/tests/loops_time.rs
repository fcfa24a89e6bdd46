//! Uploads, heartbeats and the control stream on virtual time, over a gateway that misbehaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod memory;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use fleet_agent::{
    control,
    counters::{Counter, UploadKind},
    gateway::{ControlMessage, ControlStream, Gateway, Upload, UploadAnswer},
    heartbeat,
    keeper::SessionHandle,
    spool::{MAX_ITEMS, Spool, Spooled},
    uploads::Uploader,
};
use fleet_core::{
    code::SessionToken,
    future::{BoxFuture, ready},
    refusal::{Code, Refusal},
    testing::SeededRandom,
    time::{Clock, UnixMillis},
    transport::TransportError,
};
use memory::Bench;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Item(u32);

impl Spooled for Item {
    fn weight(&self) -> usize {
        4
    }
}

fn encode(items: &[Item]) -> Bytes {
    items.iter().flat_map(|item| item.0.to_be_bytes()).collect()
}

fn decode(payload: &[u8]) -> Vec<u32> {
    payload.chunks(4).map(|chunk| u32::from_be_bytes(chunk.try_into().unwrap())).collect()
}

/// How the gateway answers uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mood {
    #[default]
    Good,
    Gone,
    /// It stores, and the answer is lost.
    Deaf,
    /// It asks to be left alone for a while.
    Busy,
}

#[derive(Debug, Default)]
struct State {
    mood: Mood,
    /// An item that the server will not take.
    poison: Option<u32>,
    /// A session that it does not accept.
    refused_token: Option<String>,
    durable: i64,
    stored: Vec<u32>,
    payloads: BTreeMap<i64, Bytes>,
    calls: u32,
    heartbeats: Vec<Instant>,
    controls: Vec<(Instant, String)>,
}

#[derive(Debug)]
struct Fake {
    state: Mutex<State>,
    /// What the next control streams say.
    scripts: Mutex<Vec<mpsc::UnboundedReceiver<ControlMessage>>>,
}

impl Fake {
    fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), scripts: Mutex::default() })
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    fn of<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock().unwrap())
    }

    /// The next control stream; what is sent here is said on it, and dropping it closes it.
    fn script(&self, first: &[ControlMessage]) -> mpsc::UnboundedSender<ControlMessage> {
        let (say, script) = mpsc::unbounded_channel();
        for message in first {
            say.send(message.clone()).unwrap();
        }
        self.scripts.lock().unwrap().insert(0, script);
        say
    }
}

fn gone<T: Send + 'static>() -> BoxFuture<'static, Result<T, TransportError>> {
    ready(Err(TransportError::Unreachable("gone".into())))
}

fn refuse<T: Send + 'static>(
    code: Code,
    retry_after: Option<Duration>,
) -> BoxFuture<'static, Result<T, TransportError>> {
    ready(Err(Refusal { code, message: "no".to_owned(), retry_after }.into()))
}

impl Gateway for Fake {
    fn upload<'a>(
        &'a self,
        token: &'a SessionToken,
        _: UploadKind,
        messages: Vec<Upload>,
    ) -> BoxFuture<'a, Result<UploadAnswer, TransportError>> {
        let mut state = self.state.lock().unwrap();
        state.calls += 1;
        if state.refused_token.as_deref() == Some(token.expose()) {
            return refuse(Code::Unauthenticated, None);
        }
        match state.mood {
            Mood::Gone => return gone(),
            Mood::Busy => return refuse(Code::ResourceExhausted, Some(Duration::from_secs(300))),
            Mood::Good | Mood::Deaf => {}
        }
        let mut accepted = 0;
        for message in messages {
            let items = decode(&message.payload);
            if state.poison.is_some_and(|poison| items.contains(&poison)) {
                return refuse(Code::InvalidArgument, None);
            }
            let first = state.payloads.entry(message.sequence).or_insert_with(|| message.payload.clone());
            assert_eq!(*first, message.payload, "a sequence stands for one message");
            if message.sequence > state.durable {
                state.durable = message.sequence;
                state.stored.extend(items);
                accepted += 1;
            }
        }
        if state.mood == Mood::Deaf {
            return gone();
        }
        ready(Ok(UploadAnswer { accepted, rejected: 0, durable: state.durable }))
    }

    fn heartbeat<'a>(
        &'a self,
        _: &'a SessionToken,
        sent_at: UnixMillis,
    ) -> BoxFuture<'a, Result<UnixMillis, TransportError>> {
        self.set(|state| state.heartbeats.push(Instant::now()));
        if self.of(|state| state.mood) == Mood::Gone {
            return gone();
        }
        ready(Ok(sent_at))
    }

    fn control<'a>(
        &'a self,
        token: &'a SessionToken,
    ) -> BoxFuture<'a, Result<Box<dyn ControlStream>, TransportError>> {
        self.set(|state| state.controls.push((Instant::now(), token.expose().to_owned())));
        match self.scripts.lock().unwrap().pop() {
            Some(script) => ready(Ok(Box::new(Script(script)) as Box<dyn ControlStream>)),
            None => gone(),
        }
    }
}

#[derive(Debug)]
struct Script(mpsc::UnboundedReceiver<ControlMessage>);

impl ControlStream for Script {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<ControlMessage>, TransportError>> {
        Box::pin(async { Ok(self.0.recv().await) })
    }
}

struct Loops {
    bench: Bench,
    fake: Arc<Fake>,
    sessions: SessionHandle,
    spool: Arc<Spool<Item>>,
    stop: CancellationToken,
    next: u32,
    keeper: JoinHandle<()>,
}

impl Loops {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let keeper = bench.keeper();
        let sessions = keeper.handle();
        let keeper = tokio::spawn(async {
            drop(keeper.run().await);
        });
        let counter = Counter::new(bench.store.clone(), UploadKind::Telemetry);
        let spool = Arc::new(Spool::open(counter, 0).await.unwrap());
        let (fake, stop) = (Fake::new(), CancellationToken::new());
        Self { bench, fake, sessions, spool, stop, next: 0, keeper }
    }

    fn random() -> Arc<SeededRandom> {
        Arc::new(SeededRandom::new(9))
    }

    fn upload(&self) -> JoinHandle<()> {
        let uploader = Uploader::new(
            Arc::clone(&self.spool),
            (UploadKind::Telemetry, encode),
            self.fake.clone(),
            self.sessions.clone(),
            self.bench.clock.clone(),
            Self::random(),
        );
        tokio::spawn(uploader.run(self.stop.clone()))
    }

    fn control(&self) -> (JoinHandle<()>, watch::Receiver<bool>) {
        let (connected, seen) = watch::channel(false);
        let run = control::run(self.fake.clone(), self.sessions.clone(), Self::random(), connected);
        (tokio::spawn(run), seen)
    }

    fn push(&mut self, count: u32) {
        for _ in 0..count {
            self.spool.push(Item(self.next), self.bench.clock.now());
            self.next += 1;
        }
    }

    /// Waits until the spool is empty and says how long that took.
    async fn until_empty(&self) -> Duration {
        let began = Instant::now();
        let emptied = async {
            while !self.spool.is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(1_200), emptied).await.expect("emptied within 20 min");
        began.elapsed()
    }

    fn stored(&self) -> Vec<u32> {
        self.fake.of(|state| state.stored.clone())
    }
}

impl Drop for Loops {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

const BATCH: u32 = MAX_ITEMS as u32;

#[tokio::test(start_paused = true)]
async fn a_backlog_goes_at_once_and_everything_arrives_once_and_in_order() {
    let mut loops = Loops::new().await;
    loops.push(100 * BATCH + 7);
    let task = loops.upload();
    assert!(loops.until_empty().await < Duration::from_secs(4));
    assert_eq!(loops.stored(), (0..100 * BATCH + 7).collect::<Vec<_>>());
    // After that there is a rhythm.
    let calls = loops.fake.of(|state| state.calls);
    for _ in 0..600 {
        loops.push(1);
        sleep(Duration::from_millis(100)).await;
    }
    let calls = loops.fake.of(|state| state.calls) - calls;
    assert!((50..=61).contains(&calls), "{calls} uploads in a minute");
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_and_not_answered_is_sent_again_as_it_was() {
    let mut loops = Loops::new().await;
    let task = loops.upload();
    loops.fake.set(|state| state.mood = Mood::Deaf);
    for _ in 0..40 {
        loops.push(3);
        sleep(Duration::from_secs(1)).await;
    }
    assert!(!loops.spool.is_empty(), "nothing is deleted without the server's word");
    loops.fake.set(|state| state.mood = Mood::Good);
    loops.until_empty().await;
    assert_eq!(loops.stored(), (0..120).collect::<Vec<_>>());
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_server_will_not_take_holds_up_nothing() {
    let mut loops = Loops::new().await;
    loops.fake.set(|state| state.poison = Some(5 * BATCH + 3));
    loops.push(12 * BATCH);
    let task = loops.upload();
    loops.until_empty().await;
    let expected: Vec<u32> = (0..12 * BATCH).filter(|item| item / BATCH != 5).collect();
    assert_eq!(loops.stored(), expected);
    assert_eq!(loops.spool.depth().refused, u64::from(BATCH));
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_gone_is_asked_ever_more_slowly() {
    let mut loops = Loops::new().await;
    loops.fake.set(|state| state.mood = Mood::Gone);
    loops.push(1);
    let task = loops.upload();
    sleep(Duration::from_secs(3_600)).await;
    let calls = loops.fake.of(|state| state.calls);
    assert!((60..240).contains(&calls), "{calls} uploads in an hour");
    loops.fake.set(|state| state.mood = Mood::Good);
    assert!(loops.until_empty().await <= Duration::from_secs(60));
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_names_a_time_is_not_asked_before_it() {
    let mut loops = Loops::new().await;
    loops.fake.set(|state| state.mood = Mood::Busy);
    loops.push(1);
    let task = loops.upload();
    sleep(Duration::from_secs(290)).await;
    assert_eq!(loops.fake.of(|state| state.calls), 1);
    loops.fake.set(|state| state.mood = Mood::Good);
    loops.until_empty().await;
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn an_upload_under_a_session_that_is_refused_waits_for_another_session() {
    let mut loops = Loops::new().await;
    let first = loops.sessions.online().await;
    let token = first.token.expose().to_owned();
    loops.fake.set(|state| state.refused_token = Some(token));
    loops.push(1);
    let task = loops.upload();
    loops.until_empty().await;
    assert_eq!(loops.fake.of(|state| state.calls), 2, "once refused, once taken");
    assert_eq!(loops.sessions.online().await.number, 2);
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn stopping_sends_what_there_is() {
    let mut loops = Loops::new().await;
    loops.sessions.online().await;
    loops.push(1);
    let task = loops.upload();
    loops.until_empty().await;
    // In the middle of the rhythm.
    sleep(Duration::from_millis(100)).await;
    loops.push(40 * BATCH);
    loops.stop.cancel();
    timeout(Duration::from_secs(1), task).await.expect("it ends").unwrap();
    assert!(loops.spool.is_empty());
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_a_server_that_is_gone() {
    let mut loops = Loops::new().await;
    loops.sessions.online().await;
    loops.fake.set(|state| state.mood = Mood::Gone);
    loops.push(1);
    let task = loops.upload();
    sleep(Duration::from_secs(10)).await;
    loops.stop.cancel();
    timeout(Duration::from_secs(1), task).await.expect("it ends").unwrap();
    assert_eq!(loops.spool.depth().waiting, 1);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_their_interval_and_survive_failures() {
    let loops = Loops::new().await;
    let (last, seen) = watch::channel(None);
    let run = heartbeat::run(loops.fake.clone(), loops.sessions.clone(), loops.bench.clock.clone(), last);
    let task = tokio::spawn(run);
    sleep(Duration::from_secs(61)).await;
    let beats = loops.fake.of(|state| state.heartbeats.clone());
    assert_eq!(beats.len(), 5);
    assert!(beats.windows(2).all(|pair| pair[1] - pair[0] == heartbeat::INTERVAL));
    let before = seen.borrow().unwrap();
    loops.fake.set(|state| state.mood = Mood::Gone);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(seen.borrow().unwrap(), before, "what was not taken does not count");
    loops.fake.set(|state| state.mood = Mood::Good);
    sleep(Duration::from_secs(16)).await;
    assert!(seen.borrow().unwrap() > before);
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn the_control_stream_comes_back_after_goaway_and_after_a_loss() {
    let loops = Loops::new().await;
    let first = loops.fake.script(&[ControlMessage::Accepted]);
    let (task, mut connected) = loops.control();
    timeout(Duration::from_secs(60), connected.wait_for(|is| *is)).await.unwrap().unwrap();
    let command = ControlMessage::Command { command_id: "c1".to_owned(), sequence: 1 };
    first.send(command).unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(*connected.borrow(), "a command that cannot be verified does not end the stream");

    let second = loops.fake.script(&[ControlMessage::Accepted]);
    first.send(ControlMessage::Goaway { reason: "restarting".to_owned() }).unwrap();
    connected.wait_for(|is| !*is).await.unwrap();
    let lost = Instant::now();
    timeout(Duration::from_secs(5), connected.wait_for(|is| *is)).await.unwrap().unwrap();
    // Not at once, with all the others, and not late: another server may be there already.
    let pause = lost.elapsed();
    assert!((Duration::from_secs(1)..=Duration::from_secs(2)).contains(&pause), "{pause:?}");

    let _third = loops.fake.script(&[ControlMessage::Accepted]);
    drop(second);
    connected.wait_for(|is| !*is).await.unwrap();
    let lost = Instant::now();
    timeout(Duration::from_secs(5), connected.wait_for(|is| *is)).await.unwrap().unwrap();
    // The stream had been open, so this is a first failure again.
    let pause = lost.elapsed();
    assert!((Duration::from_secs(1)..=Duration::from_secs(2)).contains(&pause), "{pause:?}");
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_accepts_the_control_stream_is_asked_ever_more_slowly() {
    let loops = Loops::new().await;
    let silent: Vec<_> = (0..200).map(|_| loops.fake.script(&[])).collect();
    let (task, connected) = loops.control();
    sleep(Duration::from_secs(3_600)).await;
    assert!(!*connected.borrow());
    let tries = loops.fake.of(|state| state.controls.len());
    assert!((40..200).contains(&tries), "{tries} streams in an hour");
    drop(silent);
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_renewed_session_opens_a_control_stream_of_its_own() {
    let loops = Loops::new().await;
    let _first = loops.fake.script(&[ControlMessage::Accepted]);
    let _second = loops.fake.script(&[ControlMessage::Accepted]);
    // Scripts are taken in the order in which they were made.
    let (task, mut connected) = loops.control();
    connected.wait_for(|is| *is).await.unwrap();
    let mut sessions = loops.sessions.clone();
    let first = sessions.online().await;
    sessions.replaced(&first).await;
    let second = sessions.online().await;
    sleep(Duration::from_secs(1)).await;
    let tokens =
        loops.fake.of(|state| state.controls.iter().map(|(_, token)| token.clone()).collect::<Vec<_>>());
    assert_eq!(tokens, [first.token.expose(), second.token.expose()]);
    assert!(*connected.borrow());
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_would_use_up_the_sequences_is_not_believed() {
    let mut loops = Loops::new().await;
    loops.fake.set(|state| state.durable = i64::MAX);
    loops.push(1);
    let task = loops.upload();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(loops.spool.depth().waiting, 1);
    loops.fake.set(|state| state.durable = 0);
    loops.until_empty().await;
    assert_eq!(loops.stored(), [0]);
    task.abort();
}
