//! Loopback addresses that no other process on this host uses.

use std::{
    fmt, io,
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
};

/// A block 127.0.x.0/24, reserved for whoever holds the value.
///
/// The reservation is a listening socket on the block's last address, which the system gives to
/// one process at a time and takes back when that dies: no file is left behind, and test processes
/// that run at the same time get different blocks.
#[derive(Debug)]
pub struct LoopbackBlock {
    third: u8,
    next: AtomicU8,
    _lock: TcpListener,
}

/// There is no address to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoopbackError {
    /// Every block is reserved, or loopback addresses other than 127.0.0.1 cannot be used here.
    #[error("no loopback block is free")]
    NoBlock(#[source] io::Error),
    /// The block's addresses are used up.
    #[error("the loopback block has no address left")]
    Exhausted,
}

impl LoopbackBlock {
    const FIRST_BLOCK: u8 = 16;
    const LAST_BLOCK: u8 = 239;
    const LAST_ADDRESS: u8 = 250;
    const LOCK_ADDRESS: u8 = 254;
    const LOCK_PORT: u16 = 4027;

    /// Reserves a block.
    ///
    /// # Errors
    /// [`LoopbackError::NoBlock`].
    pub fn reserve() -> Result<Self, LoopbackError> {
        let count = u32::from(Self::LAST_BLOCK - Self::FIRST_BLOCK) + 1;
        // Processes start at different blocks, so that they seldom try the same one, and a process
        // does not come back to the block it had just now.
        static TURN: AtomicU32 = AtomicU32::new(0);
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        let start = std::process::id().wrapping_mul(2_654_435_761).wrapping_add(turn);
        let mut failure = io::Error::from(io::ErrorKind::AddrInUse);
        for step in 0..count {
            let offset = u8::try_from(start.wrapping_add(step) % count).unwrap_or(0);
            let third = Self::FIRST_BLOCK + offset;
            match TcpListener::bind((Ipv4Addr::new(127, 0, third, Self::LOCK_ADDRESS), Self::LOCK_PORT)) {
                Ok(lock) => return Ok(Self { third, next: AtomicU8::new(1), _lock: lock }),
                Err(error) => failure = error,
            }
        }
        Err(LoopbackError::NoBlock(failure))
    }

    /// An address of the block that was not given out before.
    ///
    /// # Errors
    /// [`LoopbackError::Exhausted`] after 250.
    pub fn address(&self) -> Result<Ipv4Addr, LoopbackError> {
        let step = |next| (next <= Self::LAST_ADDRESS).then_some(next + 1);
        let last = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
            .map_err(|_| LoopbackError::Exhausted)?;
        Ok(Ipv4Addr::new(127, 0, self.third, last))
    }

    /// The block as a range to scan, for example `127.0.77.0/24`.
    #[must_use]
    pub fn cidr(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for LoopbackBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "127.0.{}.0/24", self.third)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn blocks_are_given_to_one_holder_at_a_time() {
        let blocks: Vec<LoopbackBlock> = (0..4).map(|_| LoopbackBlock::reserve().unwrap()).collect();
        let ranges: BTreeSet<String> = blocks.iter().map(LoopbackBlock::cidr).collect();
        assert_eq!(ranges.len(), 4);
    }

    #[test]
    fn addresses_are_given_once_and_run_out() {
        let block = LoopbackBlock::reserve().unwrap();
        let addresses: BTreeSet<Ipv4Addr> = (0..250).map(|_| block.address().unwrap()).collect();
        assert_eq!(addresses.len(), 250);
        assert!(matches!(block.address(), Err(LoopbackError::Exhausted)));
    }
}
