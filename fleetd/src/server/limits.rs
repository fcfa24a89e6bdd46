//! What callers may take, and what becomes of those who take more.
//!
//! Nobody is counted by address who has good credentials: any number of agents behind one address are one site, not one
//! attacker. Whatever a limit refuses is counted in the metrics and said in the log, once a minute for each limit.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fleet_core::code::SecretHash;
use fleet_core::driver::Gate;
use fleet_core::enrollment::RegisterResponse;
use fleet_core::id::{AgentId, UserId};
use fleet_core::store::AgentStatus;
use fleet_core::time::{Clock, Monotonic};
use fleet_proto::rpc::{Code, Context, Status};

use super::auth::Refused;
use super::connections::Subject;
use super::metrics::Metrics;
use crate::config::Rate;

/// How many addresses are remembered; more share one allowance until others have regained theirs.
const MAX_ADDRESSES: usize = 65_536;
/// No agent is told to come back later than this for a session: the crowd that it waits behind may be gone by then.
const LONGEST_QUEUE: Duration = Duration::from_secs(60);
/// How many agents' last Begins are remembered before those that do not matter any more are looked for.
const FORGET_AT: usize = 4096;
/// How often a signed-in operator may have a password checked: a login that was stolen is not for guessing.
const PASSWORD_TRIES: Rate = Rate { per_second: 1, burst: 5 };
/// When to come back for one more call where too many are open.
pub(super) const CALLS_AGAIN: Duration = Duration::from_secs(1);

/// The limits, by the option that sets each if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Limit {
    UnauthenticatedRate,
    SessionRate,
    Connections,
    UnauthenticatedConnections,
    StrangersCalls,
    CallsPerAgent,
    DevicesPerAgent,
    HeaderBytes,
    IdleTimeout,
}

impl Limit {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::UnauthenticatedRate => "unauthenticated-rate",
            Self::SessionRate => "session-rate",
            Self::Connections => "max-connections",
            Self::UnauthenticatedConnections => "max-unauthenticated-connections",
            Self::StrangersCalls => "unauthenticated-calls",
            Self::CallsPerAgent => "max-calls-per-agent",
            Self::DevicesPerAgent => "max-devices-per-agent",
            Self::HeaderBytes => "max-header-bytes",
            Self::IdleTimeout => "idle-timeout",
        }
    }
}

/// Counts what limits refuse.
#[derive(Debug)]
pub(super) struct Reached {
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    unsaid: Mutex<BTreeMap<Limit, (u64, Option<Monotonic>)>>,
}

impl Reached {
    const EVERY: Duration = Duration::from_secs(60);

    pub(super) fn new(metrics: Metrics, clock: Arc<dyn Clock>) -> Self {
        Self { metrics, clock, unsaid: Mutex::default() }
    }

    /// Notes that a limit refused something. Anybody can make it do so, so the log gets one line a minute.
    pub(super) fn note(&self, limit: Limit) {
        self.metrics.limited(limit.name());
        let now = self.clock.monotonic();
        let mut unsaid = self.unsaid.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, said_at) = unsaid.entry(limit).or_default();
        *count = count.saturating_add(1);
        if said_at.is_some_and(|said_at| now.since(said_at) < Self::EVERY) {
            return;
        }
        *said_at = Some(now);
        let times = std::mem::take(count);
        drop(unsaid);
        if limit == Limit::IdleTimeout {
            tracing::debug!(limit = limit.name(), times, "connections that said nothing more were closed");
        } else {
            tracing::warn!(limit = limit.name(), times, "a limit was reached; what is beyond it is refused");
        }
    }
}

/// How much of an allowance is left, and when that was.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Monotonic,
}

impl Bucket {
    fn full(rate: Rate, now: Monotonic) -> Self {
        Self { tokens: f64::from(rate.burst), at: now }
    }

    fn refilled(self, rate: Rate, now: Monotonic) -> Self {
        let gained = now.since(self.at).as_secs_f64() * f64::from(rate.per_second);
        Self { tokens: (self.tokens + gained).min(f64::from(rate.burst)), at: now }
    }
}

/// An allowance for each address: a bucket of tokens that refills.
#[derive(Debug)]
pub(super) struct Allowances {
    rate: Option<Rate>,
    buckets: Mutex<BTreeMap<IpAddr, Bucket>>,
}

impl Allowances {
    pub(super) const fn new(rate: Option<Rate>) -> Self {
        Self { rate, buckets: Mutex::new(BTreeMap::new()) }
    }

    /// Counts one call from `address`.
    ///
    /// # Errors
    /// `resource_exhausted`, and when to come back.
    pub(super) fn take(&self, address: IpAddr, now: Monotonic) -> Result<(), Status> {
        let Some(rate) = self.rate else { return Ok(()) };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = network(address);
        if buckets.len() >= MAX_ADDRESSES && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| bucket.refilled(rate, now).tokens < f64::from(rate.burst));
            if buckets.len() >= MAX_ADDRESSES {
                key = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            }
        }
        let bucket = buckets.entry(key).or_insert_with(|| Bucket::full(rate, now));
        *bucket = bucket.refilled(rate, now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let wait = Duration::from_secs_f64((1.0 - bucket.tokens) / f64::from(rate.per_second));
        drop(buckets);
        Err(exhausted("too many calls without credentials from this address", wait))
    }
}

/// `resource_exhausted`, and when to come back.
pub(super) fn exhausted(text: impl Into<String>, wait: Duration) -> Status {
    Status { retry_after: Some(wait), ..Status::new(Code::ResourceExhausted, text) }
}

/// Who has one IPv6 address has a /64 of them.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// What became of the credentials that a message carries itself; in the extensions of the request.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown(Arc<Outcome>);

#[derive(Debug, Default)]
struct Outcome {
    is_good: OnceLock<bool>,
    refused: OnceLock<Refused>,
    credential: OnceLock<SecretHash>,
}

impl Shown {
    /// Keeps why a call was refused, for whoever counts it to say or not.
    pub(super) fn keep(context: &Context, refused: Refused) {
        match context.extension::<Self>() {
            // A call has one answer.
            Some(shown) => drop(shown.0.refused.set(refused)),
            None => refused.say(),
        }
    }

    /// Notes by what its credentials are told from others, good or not.
    pub(super) fn by(context: &Context, credential: &str) {
        if let Some(shown) = context.extension::<Self>() {
            // A call has one message.
            let _ = shown.0.credential.set(SecretHash::of(credential));
        }
    }

    /// Whose credentials they are, if the message says so.
    pub(super) fn subject(&self) -> Option<Subject> {
        self.0.credential.get().copied().map(Subject::Credential)
    }

    /// Why the call was refused, if it was.
    pub(super) fn refused(&self) -> Option<&Refused> {
        self.0.refused.get()
    }

    /// Notes what a call came to. A fault of the server says nothing of the caller's credentials.
    pub(super) fn note<T>(context: &Context, answer: &Result<T, Status>) {
        let Some(shown) = context.extension::<Self>() else { return };
        let is_good = match answer.as_ref().map_err(|status| status.code) {
            Err(Code::Unauthenticated | Code::InvalidArgument) => return,
            Err(Code::Unavailable | Code::Internal) => false,
            Ok(_) | Err(_) => true,
        };
        // A call has one answer.
        let _ = shown.0.is_good.set(is_good);
    }

    /// The same of Register, whose repeats are answered also to an agent that was revoked, and whose refusals of a name
    /// or of a repeat that comes too soon use no code up.
    pub(super) fn note_register(context: &Context, answer: &Result<RegisterResponse, Status>) {
        let live = [AgentStatus::Pending, AgentStatus::Confirmed];
        match answer {
            Ok(answer) if live.contains(&answer.status) => Self::note(context, &Ok::<_, Status>(())),
            Ok(_) => {}
            Err(status) if matches!(status.code, Code::Unavailable | Code::Internal) => {
                Self::note::<()>(context, &Err(status.clone()));
            }
            Err(_) => {}
        }
    }

    /// Whether they were good; `None` if they were not, or if nobody got as far as looking at them.
    pub(super) fn verdict(&self) -> Option<bool> {
        self.0.is_good.get().copied()
    }
}

/// What a line of the log about an agent is about: one does not keep another out of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    /// Its control stream begins or ends.
    Online,
    /// A control message was refused.
    Control,
    /// An upload was refused or rejected.
    Upload,
}

/// How much one source may write into the log: so many lines, and then one a minute, which says how many were left out.
#[derive(Debug)]
pub(super) struct Lines<K> {
    burst: u32,
    sources: Mutex<BTreeMap<K, (Source, u64)>>,
}

/// How many lines a source has left, and when that was.
#[derive(Debug, Clone, Copy)]
struct Source {
    left: u32,
    at: Monotonic,
}

impl<K: Ord> Lines<K> {
    const EVERY: Duration = Duration::from_secs(60);
    /// How many sources are remembered. Beyond it those without a line in a minute are forgotten, and others are silent.
    const MOST: usize = 65_536;

    pub(super) const fn new(burst: u32) -> Self {
        Self { burst, sources: Mutex::new(BTreeMap::new()) }
    }

    /// Asks for one more line: how many were left out since the last one, or `None` if this one is to be as well.
    pub(super) fn take(&self, source: K, now: Monotonic) -> Option<u64> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= Self::MOST && !sources.contains_key(&source) {
            sources.retain(|_, (held, _)| now.since(held.at) < Self::EVERY);
            if sources.len() >= Self::MOST {
                return None;
            }
        }
        let (held, left_out) = sources.entry(source).or_insert((Source { left: self.burst, at: now }, 0));
        let minutes = now.since(held.at).as_secs() / Self::EVERY.as_secs();
        if minutes > 0 {
            let gained = u32::try_from(minutes).unwrap_or(u32::MAX);
            *held = Source { left: held.left.saturating_add(gained).min(self.burst), at: now };
        }
        match held.left.checked_sub(1) {
            Some(left) => {
                *held = Source { left, at: held.at };
                Some(std::mem::take(left_out))
            }
            None => {
                *left_out = left_out.saturating_add(1);
                None
            }
        }
    }
}

/// How many sessions begin: a bucket for the whole server.
///
/// Agents that are turned away are told to come back one after the other, as the bucket refills: if all were told the
/// same, all would come at once again.
#[derive(Debug)]
pub(super) struct Sessions {
    rate: Option<Rate>,
    /// The least time between two Begins of one agent.
    interval: Duration,
    reached: Arc<Reached>,
    /// When each agent asked last, of those that have lately.
    asked: Mutex<BTreeMap<AgentId, Monotonic>>,
    queue: Mutex<Option<Queue>>,
}

#[derive(Debug, Clone, Copy)]
struct Queue {
    bucket: Bucket,
    /// How many were told to come back and have not had the time to.
    promised: f64,
}

impl Sessions {
    pub(super) const fn new(rate: Option<Rate>, interval: Duration, reached: Arc<Reached>) -> Self {
        Self { rate, interval, reached, asked: Mutex::new(BTreeMap::new()), queue: Mutex::new(None) }
    }

    /// Whether an agent asks again sooner than it may, whatever it was told: one that does not wait takes nobody's
    /// place.
    fn asks_too_soon(&self, agent: AgentId, now: Monotonic) -> Result<(), Duration> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = asked.get(&agent).and_then(|at| self.interval.checked_sub(now.since(*at)))
            && !wait.is_zero()
        {
            return Err(wait);
        }
        if asked.len() >= FORGET_AT {
            asked.retain(|_, at| now.since(*at) < self.interval);
        }
        asked.insert(agent, now);
        Ok(())
    }
}

impl Gate for Sessions {
    fn admit(&self, agent: AgentId, now: Monotonic) -> Result<(), Duration> {
        let Some(rate) = self.rate else { return Ok(()) };
        self.asks_too_soon(agent, now)?;
        let per_second = f64::from(rate.per_second);
        let mut held = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = held.get_or_insert_with(|| Queue { bucket: Bucket::full(rate, now), promised: 0.0 });
        let gained = now.since(queue.bucket.at).as_secs_f64() * per_second;
        queue.promised = (queue.promised - gained).max(0.0);
        queue.bucket = queue.bucket.refilled(rate, now);
        if queue.bucket.tokens >= 1.0 {
            queue.bucket.tokens -= 1.0;
            return Ok(());
        }
        queue.promised = (queue.promised + 1.0).min(LONGEST_QUEUE.as_secs_f64() * per_second);
        let wait = Duration::from_secs_f64((queue.promised - queue.bucket.tokens) / per_second);
        drop(held);
        self.reached.note(Limit::SessionRate);
        Err(wait)
    }
}

/// How often each operator may have their password checked while signed in.
#[derive(Debug, Default)]
pub(super) struct PasswordTries(Mutex<BTreeMap<UserId, Bucket>>);

impl PasswordTries {
    /// Counts one.
    ///
    /// # Errors
    /// `resource_exhausted`, and when to come back.
    pub(super) fn take(&self, user: UserId, now: Monotonic) -> Result<(), Status> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(user).or_insert_with(|| Bucket::full(PASSWORD_TRIES, now));
        *bucket = bucket.refilled(PASSWORD_TRIES, now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let wait = Duration::from_secs_f64((1.0 - bucket.tokens) / f64::from(PASSWORD_TRIES.per_second));
        Err(exhausted("too many passwords of this operator are being checked", wait))
    }
}

/// How many calls of each agent are open.
#[derive(Debug)]
pub(super) struct Calls {
    most: usize,
    open: Mutex<BTreeMap<AgentId, usize>>,
}

/// A call that is counted until it is answered to the last byte.
#[derive(Debug)]
pub(super) struct OpenCall {
    calls: Arc<Calls>,
    agent: AgentId,
}

impl Calls {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, open: Mutex::new(BTreeMap::new()) }
    }

    /// Counts one more call of an agent.
    ///
    /// # Errors
    /// `resource_exhausted`.
    pub(super) fn take(self: &Arc<Self>, agent: AgentId) -> Result<OpenCall, Status> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(agent).or_default();
        if *count >= self.most {
            let text = format!("an agent may have {} calls open at once", self.most);
            return Err(exhausted(text, CALLS_AGAIN));
        }
        *count = count.saturating_add(1);
        drop(open);
        Ok(OpenCall { calls: Arc::clone(self), agent })
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut open = self.calls.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.agent) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.agent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 50 };

    fn at(millis: u64) -> Monotonic {
        Monotonic::new(Duration::from_millis(millis))
    }

    #[test]
    fn an_address_has_a_burst_and_then_a_rate() {
        let allowances = Allowances::new(Some(RATE));
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..50 {
            allowances.take(one, at(0)).unwrap();
        }
        let refused = allowances.take(one, at(0)).unwrap_err();
        assert_eq!(
            (refused.code, refused.retry_after),
            (Code::ResourceExhausted, Some(Duration::from_millis(100)))
        );
        allowances.take(other, at(0)).unwrap();
        allowances.take(one, at(100)).unwrap();
        assert!(allowances.take(one, at(100)).is_err());
        for _ in 0..50 {
            allowances.take(one, at(3_600_000)).unwrap();
        }
        assert!(allowances.take(one, at(3_600_000)).is_err(), "no more than the burst is saved up");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_a_mapped_one_is_its_own() {
        let network_of = |text: &str| network(text.parse().unwrap());
        assert_eq!(network_of("2001:db8:1:2:3:4:5:6"), network_of("2001:db8:1:2::1"));
        assert_ne!(network_of("2001:db8:1:2::1"), network_of("2001:db8:1:3::1"));
        assert_eq!(network_of("::ffff:192.0.2.1"), network_of("192.0.2.1"));
    }

    #[test]
    fn memory_is_bounded_and_whoever_is_known_keeps_an_own_allowance() {
        let allowances = Allowances::new(Some(RATE));
        let known = IpAddr::from([192, 0, 2, 1]);
        allowances.take(known, at(0)).unwrap();
        for number in 0..u32::try_from(MAX_ADDRESSES).unwrap() + 100 {
            let _ = allowances.take(IpAddr::from((0x0a00_0000 + number).to_be_bytes()), at(0));
        }
        assert!(allowances.buckets.lock().unwrap().len() <= MAX_ADDRESSES + 1);
        assert!(
            allowances.take(IpAddr::from([198, 51, 100, 1]), at(0)).is_err(),
            "the shared allowance is used up"
        );
        allowances.take(known, at(0)).unwrap();
        // Later the others have regained theirs and are forgotten.
        allowances.take(IpAddr::from([198, 51, 100, 1]), at(1000)).unwrap();
        assert!(allowances.buckets.lock().unwrap().len() < 10);
    }

    #[test]
    fn without_a_rate_nothing_is_counted() {
        let allowances = Allowances::new(None);
        for _ in 0..1000 {
            allowances.take(IpAddr::from([192, 0, 2, 1]), at(0)).unwrap();
        }
    }

    fn sessions(rate: Option<Rate>) -> (Sessions, Arc<Reached>) {
        let clock = Arc::new(fleet_core::testing::VirtualClock::default());
        let reached = Arc::new(Reached::new(Metrics::new(clock.now()), clock));
        (Sessions::new(rate, Duration::from_millis(250), Arc::clone(&reached)), reached)
    }

    #[test]
    fn agents_that_are_too_many_are_told_to_come_one_after_the_other() {
        let (sessions, reached) = sessions(Some(Rate { per_second: 100, burst: 2 }));
        let mut number = 0;
        // Each is another agent.
        let mut ask = |sessions: &Sessions, at| {
            number += 1;
            sessions.admit(AgentId::new(number).unwrap(), at)
        };
        let millis = |answer: Result<(), Duration>| answer.map_err(|wait| wait.as_millis());
        assert_eq!([ask(&sessions, at(0)), ask(&sessions, at(0))], [Ok(()); 2]);
        for expected in [10, 20, 30] {
            assert_eq!(millis(ask(&sessions, at(0))), Err(expected));
        }
        // They come when they were told to, and somebody else does too.
        assert_eq!(ask(&sessions, at(10)), Ok(()));
        assert_eq!(millis(ask(&sessions, at(10))), Err(30), "behind the two that wait");
        assert_eq!(ask(&sessions, at(20)), Ok(()));
        assert_eq!(ask(&sessions, at(30)), Ok(()));
        // Once nobody comes any more, nobody is waited for.
        assert_eq!([ask(&sessions, at(1000)), ask(&sessions, at(1000))], [Ok(()); 2]);
        assert_eq!(millis(ask(&sessions, at(1000))), Err(10));
        let longest = (0..10_000).filter_map(|_| ask(&sessions, at(1000)).err()).max();
        assert_eq!(longest, Some(LONGEST_QUEUE));
        assert!(reached.metrics.text(&Default::default()).contains("limit=\"session-rate\"} 10005"));
        let (open, _) = self::sessions(None);
        assert!((0..10_000).all(|_| ask(&open, at(0)).is_ok()));
    }

    #[test]
    fn an_agent_that_does_not_wait_takes_nobodys_place() {
        let (sessions, _) = sessions(Some(Rate { per_second: 100, burst: 2 }));
        let (hasty, other) = (AgentId::new(1).unwrap(), AgentId::new(2).unwrap());
        assert_eq!(sessions.admit(hasty, at(0)), Ok(()));
        for millis in 0..200 {
            let wait = sessions.admit(hasty, at(millis)).unwrap_err();
            assert_eq!(wait, Duration::from_millis(250 - millis), "it has to wait for its own next turn");
        }
        assert_eq!(sessions.admit(other, at(0)), Ok(()), "and there is room for another");
        assert_eq!(sessions.admit(hasty, at(250)), Ok(()));
        // Who is forgotten had its time to wait.
        for number in 0..2 * u32::try_from(FORGET_AT).unwrap() {
            let _ =
                sessions.admit(AgentId::new(i64::from(number) + 10).unwrap(), at(1000 + u64::from(number)));
        }
        assert!(sessions.asked.lock().unwrap().len() <= FORGET_AT);
    }

    #[test]
    fn an_operator_has_so_many_tries_and_another_has_theirs() {
        let tries = PasswordTries::default();
        let (one, other) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
        for _ in 0..5 {
            tries.take(one, at(0)).unwrap();
        }
        let refused = tries.take(one, at(0)).unwrap_err();
        assert_eq!(
            (refused.code, refused.retry_after),
            (Code::ResourceExhausted, Some(Duration::from_secs(1)))
        );
        tries.take(other, at(0)).unwrap();
        tries.take(one, at(1000)).unwrap();
        tries.take(one, at(1000)).unwrap_err();
    }

    #[test]
    fn a_source_writes_so_many_lines_and_then_one_a_minute_with_a_count() {
        let lines = Lines::new(3);
        let (minute, other) = (60_000, 2);
        assert_eq!([(); 5].map(|()| lines.take(1, at(0))), [Some(0), Some(0), Some(0), None, None]);
        assert_eq!(lines.take(other, at(0)), Some(0), "each for itself");
        assert_eq!(lines.take(1, at(minute - 1)), None);
        assert_eq!(lines.take(1, at(minute)), Some(3));
        assert_eq!([minute, minute * 2 - 1].map(|now| lines.take(1, at(now))), [None; 2]);
        assert_eq!(lines.take(1, at(minute * 2)), Some(2));
        assert_eq!(
            (0..10).filter_map(|_| lines.take(1, at(minute * 1000))).count(),
            3,
            "no more than the burst"
        );
    }

    #[test]
    fn sources_are_bounded() {
        let lines = Lines::new(1);
        for source in 0..Lines::<usize>::MOST + 10 {
            let is_said = lines.take(source, at(0)).is_some();
            assert_eq!(is_said, source < Lines::<usize>::MOST, "{source}");
        }
        assert_eq!(lines.take(usize::MAX, at(60_000)), Some(0));
        assert_eq!(lines.sources.lock().unwrap().len(), 1);
    }

    #[test]
    fn an_agent_has_so_many_calls_and_others_have_theirs() {
        let calls = Arc::new(Calls::new(2));
        let (one, other) = (AgentId::new(1).unwrap(), AgentId::new(2).unwrap());
        let first = calls.take(one).unwrap();
        let _second = calls.take(one).unwrap();
        let refused = calls.take(one).unwrap_err();
        assert_eq!(refused.code, Code::ResourceExhausted);
        assert!(refused.message.contains(" 2 calls") && refused.retry_after.is_some(), "{refused:?}");
        let _third = calls.take(other).unwrap();
        drop(first);
        drop(calls.take(one).unwrap());
        drop((_second, _third));
        assert!(calls.open.lock().unwrap().is_empty(), "nobody is remembered who has no call");
    }
}
