//! The process's own memory, and how a secret is looked for without being held.

use core::hint::black_box;
use std::{any::Any, fs::File, io, io::Read as _, ops::Range, os::unix::fs::FileExt as _};

use fleet_core::{random::SecureRandom as _, testing::SeededRandom};

/// What a secret is kept as, so that looking for it does not find the test.
const MASK: u8 = 0xa5;
/// The allocator writes into what is freed, so a secret is found by any of its pieces, not as a whole.
const PIECE: usize = 8;
const CHUNK: usize = 1 << 20;
const MOST_PIECES: usize = 512;
const MOST_FOUND: usize = 4096;

/// Does what puts a secret on the stack, and overwrites that: whatever is then moved to the heap brings bytes of the
/// stack along where it has none of its own.
pub(crate) fn forgetting<T>(work: impl FnOnce() -> T) -> T {
    #[inline(never)]
    fn apart<T>(work: impl FnOnce() -> T) -> T {
        work()
    }
    #[inline(never)]
    fn clear() {
        black_box(&mut [0_u8; 1 << 16]);
    }
    let result = apart(work);
    clear();
    result
}

/// A secret that is looked for, masked.
#[derive(Clone)]
pub(crate) struct Masked {
    name: &'static str,
    bytes: Vec<u8>,
}

impl Masked {
    pub(crate) fn new(name: &'static str, secret: impl IntoIterator<Item = u8>) -> Self {
        // Masked one by one: no copy of the secret is collected.
        let bytes: Vec<u8> = forgetting(|| secret.into_iter().map(|byte| byte ^ MASK).collect());
        assert!(bytes.len() >= 2 * PIECE, "{name} is short enough to be found by chance");
        Self { name, bytes }
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// The bytes that a seeded source draws next, of which the first `skip` draws are somebody else's.
    pub(crate) fn drawn(name: &'static str, seed: u64, skip: &[usize]) -> Self {
        forgetting(|| Self::new(name, draw(seed, skip)))
    }
}

/// What a seeded source draws after others have drawn.
pub(crate) fn draw(seed: u64, skip: &[usize]) -> [u8; 32] {
    let random = SeededRandom::new(seed);
    let mut drawn = [0; 32];
    for length in skip {
        random.fill(&mut drawn[..*length]).unwrap();
    }
    random.fill(&mut drawn).unwrap();
    drawn
}

/// Everything that the search needs is there before it begins: it would otherwise be given what was freed last, and
/// overwrite what it looks for.
pub(crate) struct Memory {
    file: File,
    /// What is read goes here, and this is not searched.
    buffer: Vec<u8>,
    maps: Vec<u8>,
    pieces: Vec<(&'static str, [u8; PIECE])>,
    found: Vec<(&'static str, u64)>,
    dropped: usize,
}

impl Memory {
    pub(crate) fn open() -> io::Result<Self> {
        let mut memory = Self {
            file: File::open("/proc/self/mem")?,
            buffer: vec![0; CHUNK],
            maps: Vec::with_capacity(CHUNK),
            pieces: Vec::with_capacity(MOST_PIECES),
            found: Vec::with_capacity(MOST_FOUND),
            dropped: 0,
        };
        let address = address_of(memory.buffer.as_slice());
        memory.file.read_exact_at(&mut memory.buffer[..1], address)?;
        Ok(memory)
    }

    /// Where any piece of the secrets is, and which it is of. Looks at everything that can be written, but the stack
    /// and its own buffer.
    pub(crate) fn find(&mut self, secrets: &[Masked]) -> &[(&'static str, u64)] {
        self.found.clear();
        self.pieces.clear();
        for secret in secrets {
            self.pieces.extend(secret.bytes.as_chunks::<PIECE>().0.iter().map(|piece| (secret.name, *piece)));
        }
        assert!(self.pieces.len() <= MOST_PIECES, "there are more secrets than were thought");
        self.maps.clear();
        File::open("/proc/self/maps").unwrap().read_to_end(&mut self.maps).unwrap();
        assert!(self.maps.len() < CHUNK, "the list of mappings is longer than was thought");
        let maps = std::mem::take(&mut self.maps);
        let own = address_of(self.buffer.as_slice());
        for line in str::from_utf8(&maps).unwrap().lines() {
            let mut words = line.split_whitespace();
            let (range, rights) = (words.next().unwrap(), words.next().unwrap());
            let name = words.nth(3).unwrap_or_default();
            if !rights.starts_with("rw") || name == "[stack]" {
                continue;
            }
            let (from, to) = range.split_once('-').unwrap();
            let parse = |hex| u64::from_str_radix(hex, 16).unwrap();
            let (from, to) = (parse(from), parse(to));
            self.find_in(from..to.min(own.max(from)));
            self.find_in(from.max(to.min(own + CHUNK as u64))..to);
        }
        self.maps = maps;
        // A piece that two chunks share is there twice.
        self.found.dedup();
        &self.found
    }

    fn find_in(&mut self, region: Range<u64>) {
        let Self { file, buffer, pieces, found, .. } = self;
        let mut begins = [false; 256];
        pieces.iter().for_each(|(_, piece)| begins[usize::from(piece[0] ^ MASK)] = true);
        let mut at = region.start;
        while at < region.end {
            let length = usize::try_from(region.end - at).unwrap().min(CHUNK);
            // What was unmapped meanwhile holds nothing.
            if file.read_exact_at(&mut buffer[..length], at).is_ok() {
                for (offset, window) in buffer[..length].windows(PIECE).enumerate() {
                    if !begins[usize::from(window[0])] {
                        continue;
                    }
                    for (name, piece) in &*pieces {
                        if window.iter().zip(piece).all(|(byte, masked)| byte ^ MASK == *masked) {
                            assert!(found.len() < MOST_FOUND, "{name} is everywhere");
                            found.push((name, at + offset as u64));
                        }
                    }
                }
            }
            // A piece may begin in one chunk and end in the next.
            at += if length == CHUNK { CHUNK - PIECE + 1 } else { length } as u64;
        }
        buffer.fill(0);
    }

    /// Makes a value, finds the secrets that it holds, drops it, and finds none of all the secrets any more.
    #[track_caller]
    pub(crate) fn gone_with<T: 'static>(
        &mut self,
        holds: &[&Masked],
        others: &[&Masked],
        make: impl FnOnce() -> T,
    ) {
        let names: Vec<_> = holds.iter().map(|secret| secret.name).collect();
        let all: Vec<Masked> = holds.iter().chain(others).copied().cloned().collect();
        assert_eq!(self.find(&all), [], "before there is any {}", std::any::type_name::<T>());
        let crowd = crowded();
        let living = Living::new(make(), names, all);
        drop(crowd);
        self.gone(living);
    }

    /// The same for a value that there is.
    #[track_caller]
    pub(crate) fn gone(&mut self, living: Living) {
        let Living { what, value, holds, all } = living;
        let found = self.find(&all);
        for secret in holds {
            assert!(
                found.iter().any(|(name, _)| *name == secret),
                "{secret} is not found in a living {what}"
            );
        }
        drop(value);
        assert_eq!(self.find(&all), [], "after {what} was dropped");
        self.dropped += 1;
    }

    /// How many values were dropped and left nothing.
    pub(crate) const fn dropped(&self) -> usize {
        self.dropped
    }
}

/// A heap with gaps of every small size between what is in use. What grows in one must move, and leaves a copy behind;
/// at the end of a heap it would grow where it is.
pub(crate) fn crowded() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> =
        (1..40).flat_map(|size| (0..8).map(move |_| vec![0; size * 16 - 8])).collect();
    let mut keep = false;
    all.retain(|_| {
        keep = !keep;
        keep
    });
    all
}

/// A value on the heap, the names of the secrets that it holds, and all that must be gone when it is.
pub(crate) struct Living {
    what: &'static str,
    value: Box<dyn Any>,
    holds: Vec<&'static str>,
    all: Vec<Masked>,
}

impl Living {
    pub(crate) fn new<T: 'static>(value: T, holds: Vec<&'static str>, all: Vec<Masked>) -> Self {
        Self { what: std::any::type_name::<T>(), value: Box::new(value), holds, all }
    }
}

/// Where something lies.
pub(crate) fn address_of<T: ?Sized>(value: &T) -> u64 {
    std::ptr::from_ref(value).cast::<u8>().addr() as u64
}
