//! What can happen, as plain data, and its form as text.

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeMap;

use super::Field;
use crate::driver::Point;

/// Who crashes, or whose clock is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the protocol knows these two sides")]
pub enum Peer {
    /// The server.
    Server,
    /// An agent, by its number.
    Agent(u8),
}

/// How an attacker changes a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a bit of its own, or what another message says")]
pub enum Change {
    /// Turns one bit over.
    Flip(u8),
    /// Takes the field of another message that has it, so many back.
    From(u8),
}

/// A line that is no action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActionError {
    /// There is no such action.
    #[error("no such action")]
    Verb,
    /// A field is missing, or is not what it should be.
    #[error("{field} is missing or malformed")]
    Field {
        /// Which field.
        field: &'static str,
    },
    /// A word that is not `field=value`, or names a field twice or one that the action does not have.
    #[error("a word is not one of the action's fields")]
    Word,
}

/// A value as it stands after a field's `=`.
trait Word: Sized {
    /// `None` if the field is left out.
    fn show(&self) -> Option<String>;
    fn read(word: Option<&str>) -> Option<Self>;
}

macro_rules! actions {
    ($($(#[$doc:meta])* $verb:literal $name:ident { $($(#[$of:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        /// One thing that happens. Numbers never miss: they count modulo what there is, so that whatever is left of a
        /// schedule after shrinking still means something. An action that has nothing to act on does nothing.
        ///
        /// As text it is a verb and its fields, `enroll agent=0 code=0 name=1`.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Action {
            $($(#[$doc])* $name { $($(#[$of])* $field: $type),* },)*
        }

        impl fmt::Display for Action {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name { $($field),* } => {
                        f.write_str($verb)?;
                        $(if let Some(word) = $field.show() {
                            write!(f, concat!(" ", stringify!($field), "={}"), word)?;
                        })*
                        Ok(())
                    })*
                }
            }
        }

        impl FromStr for Action {
            type Err = ActionError;

            fn from_str(line: &str) -> Result<Self, ActionError> {
                let mut words = line.split_whitespace();
                let verb = words.next().unwrap_or_default();
                let mut fields = BTreeMap::new();
                for word in words {
                    let (field, value) = word.split_once('=').ok_or(ActionError::Word)?;
                    if fields.insert(field, value).is_some() {
                        return Err(ActionError::Word);
                    }
                }
                let action = match verb {
                    $($verb => Self::$name {
                        $($field: Word::read(fields.remove(stringify!($field)))
                            .ok_or(ActionError::Field { field: stringify!($field) })?),*
                    },)*
                    _ => return Err(ActionError::Verb),
                };
                if fields.is_empty() { Ok(action) } else { Err(ActionError::Word) }
            }
        }
    };
}

actions! {
    /// An agent and its operator do the next thing that brings the agent online, or keeps it there: deliver what is
    /// under way, give up what hangs, make a code, enroll, confirm, ask again, handshake, call.
    "go" Go {
        /// The agent.
        agent: u8,
        /// Stops the server before the store's n-th next operation; [`Action::Resume`] or another step goes on.
        pause: Option<u8>,
    }
    /// [`Action::Go`] until the agent has made a call under a session.
    "online" Online {
        /// The agent.
        agent: u8
    }
    /// An operator makes a code.
    "code" Code {
        /// The operator's organization.
        org: u8
    }
    /// An agent enrolls with a code, or takes up an enrollment with the same one.
    "enroll" Enroll {
        /// The agent.
        agent: u8,
        /// The code, by how many were made since.
        code: u8,
        /// The name, out of a few.
        name: u8,
    }
    /// An agent that waits to be confirmed asks again.
    "poll" Poll {
        /// The agent.
        agent: u8
    }
    /// An agent makes a session, or a new one.
    "handshake" Handshake {
        /// The agent.
        agent: u8
    }
    /// An operator pastes the api_key of a confirmed agent, and the agent handshakes with it.
    "paste" Paste {
        /// The agent.
        agent: u8
    }
    /// An agent gives up the call that it waits for.
    "give-up" GiveUp {
        /// The agent.
        agent: u8
    }
    /// An agent begins anew with an empty state directory.
    "wipe" Wipe {
        /// The agent.
        agent: u8
    }
    /// An operator confirms whoever registered with a code, typing what an agent shows.
    "confirm" Confirm {
        /// The code.
        code: u8,
        /// Whose operator: 0 for the organization that made the code, 1 for the other.
        by: u8,
        /// The agent whose fingerprint is typed.
        shown: u8,
        /// As in [`Action::Go`].
        pause: Option<u8>,
    }
    /// An operator cancels an enrollment.
    "cancel" Cancel {
        /// The code.
        code: u8,
        /// Whose operator: 0 for the organization that made the code, 1 for the other.
        by: u8,
        /// As in [`Action::Go`].
        pause: Option<u8>,
    }
    /// An operator revokes whoever registered with a code.
    "revoke" Revoke {
        /// The code.
        code: u8,
        /// Whose operator: 0 for the organization that made the code, 1 for the other.
        by: u8,
        /// As in [`Action::Go`].
        pause: Option<u8>,
    }
    /// An operator issues the manifest of an organization anew: it says the same, under a new epoch.
    "reissue" Reissue {
        /// The organization.
        org: u8
    }
    /// The server expires what is due.
    "sweep" Sweep {
        /// As in [`Action::Go`].
        pause: Option<u8>,
    }
    /// The network delivers a message, whether or not it did before: what is never delivered is lost, what is
    /// delivered later is delayed, what is delivered twice is a duplicate or a replay.
    "deliver" Deliver {
        /// The message, by how many were sent since.
        back: u8,
        /// As in [`Action::Go`].
        pause: Option<u8>,
    }
    /// The network delivers a reply to an agent that it was not made for.
    "misdeliver" Misdeliver {
        /// The reply, by how many messages were sent since.
        back: u8,
        /// The agent.
        agent: u8,
    }
    /// An attacker delivers a message that it has seen, with one field changed.
    "forge" Forge {
        /// The field; it says of which kind the message is.
        field: Field,
        /// The message, by how many that have the field were sent since.
        back: u8,
        /// What becomes of the field.
        change: Change,
    }
    /// An attacker who has seen a code registers keys of its own with it.
    "thief" Thief {
        /// The code.
        code: u8,
        /// The name.
        name: u8,
    }
    /// Somebody calls under a session that they have seen being made.
    "use" Use {
        /// The session, by how many were made since.
        back: u8,
        /// As in [`Action::Go`].
        pause: Option<u8>,
    }
    /// The same, opening a control stream.
    "take-over" TakeOver {
        /// The session, by how many were made since.
        back: u8,
        /// As in [`Action::Go`].
        pause: Option<u8>,
    }
    /// A call that was stopped goes on.
    "resume" Resume {
        /// The call, by how many were stopped since.
        back: u8,
        /// As in [`Action::Go`].
        pause: Option<u8>,
    }
    /// A peer crashes and starts again from its store.
    "crash" Crash {
        /// Who.
        peer: Peer
    }
    /// A peer is to crash when it next reaches a point.
    "arm" Arm {
        /// Who.
        peer: Peer,
        /// Where.
        point: Point,
    }
    /// Time passes for everybody.
    "pass" Pass {
        /// How much.
        seconds: u32
    }
    /// Somebody sets a peer's wall clock. No time passes: the monotonic clock stays.
    "jump" Jump {
        /// Whose.
        peer: Peer,
        /// How far, forward or back.
        seconds: i32,
    }
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Word for $type {
            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }

            fn read(word: Option<&str>) -> Option<Self> {
                word?.parse().ok()
            }
        }
    )*};
}

numbers!(u8, u32, i32);

impl Word for Option<u8> {
    fn show(&self) -> Option<String> {
        self.map(|value| value.to_string())
    }

    fn read(word: Option<&str>) -> Option<Self> {
        match word {
            None => Some(None),
            Some(word) => word.parse().ok().map(Some),
        }
    }
}

impl Word for Peer {
    fn show(&self) -> Option<String> {
        Some(match self {
            Self::Server => "server".to_owned(),
            Self::Agent(number) => format!("agent-{number}"),
        })
    }

    fn read(word: Option<&str>) -> Option<Self> {
        match word? {
            "server" => Some(Self::Server),
            word => word.strip_prefix("agent-")?.parse().ok().map(Self::Agent),
        }
    }
}

impl Word for Change {
    fn show(&self) -> Option<String> {
        Some(match self {
            Self::Flip(bit) => format!("flip-{bit}"),
            Self::From(back) => format!("from-{back}"),
        })
    }

    fn read(word: Option<&str>) -> Option<Self> {
        let (how, number) = word?.split_once('-')?;
        let number = number.parse().ok()?;
        match how {
            "flip" => Some(Self::Flip(number)),
            "from" => Some(Self::From(number)),
            _ => None,
        }
    }
}

impl Word for Point {
    fn show(&self) -> Option<String> {
        Some(self.name().to_owned())
    }

    fn read(word: Option<&str>) -> Option<Self> {
        let word = word?;
        Self::ALL.into_iter().find(|point| point.name() == word)
    }
}

impl Word for Field {
    fn show(&self) -> Option<String> {
        Some(self.name().to_owned())
    }

    fn read(word: Option<&str>) -> Option<Self> {
        let word = word?;
        Self::ALL.into_iter().find(|field| field.name() == word)
    }
}

/// A run, whole: everything that happens follows from the seed and the actions.
///
/// As text it is a line `seed N`, then an action a line; blank lines and what follows a `#` say nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "there is nothing else that a run depends on")]
pub struct Schedule {
    /// What every random choice of the peers follows from.
    pub seed: u64,
    /// What happens, in order.
    pub actions: Vec<Action>,
}

/// A text that is no schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The first line that says something is not `seed N`.
    #[error("the first line must be: seed NUMBER")]
    Seed,
    /// A line is no action.
    #[error("line {line}: {error}")]
    Action {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        error: ActionError,
    },
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        self.actions.iter().try_for_each(|action| writeln!(f, "{action}"))
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let mut lines = (1usize..)
            .zip(text.lines())
            .map(|(number, line)| (number, line.split('#').next().unwrap_or_default().trim()))
            .filter(|(_, line)| !line.is_empty());
        let (_, first) = lines.next().ok_or(ScheduleError::Seed)?;
        let seed = first.strip_prefix("seed ").and_then(|seed| seed.trim().parse().ok());
        let seed = seed.ok_or(ScheduleError::Seed)?;
        let actions = lines
            .map(|(line, text)| text.parse().map_err(|error| ScheduleError::Action { line, error }))
            .collect::<Result<_, _>>()?;
        Ok(Self { seed, actions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_read_as_it_is_written() {
        let text = "seed 7\nenroll agent=0 code=1 name=2\nrevoke code=0 by=1 pause=2\nsweep\n\
                    forge field=begin.api-key back=3 change=from-4\narm peer=agent-1 point=agent-keys-saved\n\
                    jump peer=server seconds=-90\n";
        let schedule: Schedule = text.parse().unwrap();
        assert_eq!(schedule.actions.len(), 6);
        assert_eq!(schedule.to_string(), text);
        let spaced = format!("# why\n\n{}", text.replace('\n', "   # because\n\n"));
        assert_eq!(spaced.parse::<Schedule>().unwrap(), schedule);
    }

    #[test]
    fn what_is_no_schedule_says_where() {
        let error = |text: &str| text.parse::<Schedule>().unwrap_err().to_string();
        assert_eq!(error(""), "the first line must be: seed NUMBER");
        assert_eq!(error("go agent=0"), "the first line must be: seed NUMBER");
        assert_eq!(error("seed 1\n\nfly agent=0"), "line 3: no such action");
        assert_eq!(error("seed 1\ngo"), "line 2: agent is missing or malformed");
        assert_eq!(error("seed 1\ngo agent=x"), "line 2: agent is missing or malformed");
        assert_eq!(error("seed 1\ngo agent=0 agent=1"), "line 2: a word is not one of the action's fields");
        assert_eq!(error("seed 1\ngo agent=0 org=1"), "line 2: a word is not one of the action's fields");
    }
}
