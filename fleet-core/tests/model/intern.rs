//! Values as small numbers, so that a state of the model is a few words: equal values have one number, and a step that
//! was computed once is looked up by the numbers of what went into it.
// Looked up by key alone; nothing walks a table.
#![allow(clippy::disallowed_types)]

use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::sync::Arc;

pub(crate) type Memo<K, V> = HashMap<K, V>;

/// The number of a value of type `T`.
pub(crate) struct Id<T: ?Sized>(u32, PhantomData<fn() -> Box<T>>);

impl<T: ?Sized> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: ?Sized> Copy for Id<T> {}
impl<T: ?Sized> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T: ?Sized> Eq for Id<T> {}
impl<T: ?Sized> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T: ?Sized> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T: ?Sized> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<T: ?Sized> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// All values of one type that the model has met.
pub(crate) struct Interner<T> {
    buckets: HashMap<u64, Vec<u32>>,
    values: Vec<Arc<T>>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { buckets: HashMap::new(), values: Vec::new() }
    }
}

impl<T: Eq> Interner<T> {
    fn place(&mut self, digest: u64, value: T) -> Id<T> {
        let bucket = self.buckets.entry(digest).or_default();
        if let Some(id) = bucket.iter().find(|id| *self.values[**id as usize] == value) {
            return Id(*id, PhantomData);
        }
        let id = u32::try_from(self.values.len()).expect("fewer than 2^32 values");
        bucket.push(id);
        self.values.push(Arc::new(value));
        Id(id, PhantomData)
    }

    /// The number of a value.
    pub(crate) fn id(&mut self, value: T) -> Id<T>
    where
        T: Hash,
    {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        self.place(hasher.finish(), value)
    }

    /// The number of a record of the crate. Its `Debug`, which leaves secrets out, only says where to look; equality
    /// decides.
    pub(crate) fn record(&mut self, value: T) -> Id<T>
    where
        T: fmt::Debug,
    {
        let mut hasher = DefaultHasher::new();
        format!("{value:?}").hash(&mut hasher);
        self.place(hasher.finish(), value)
    }
}

impl<T> Interner<T> {
    /// The value of a number.
    pub(crate) fn get(&self, id: Id<T>) -> Arc<T> {
        Arc::clone(&self.values[id.0 as usize])
    }
}
