//! Inputs as scripts: bytes that say what happens, one thing after the other. Whatever the bytes are they are a script,
//! and a seed can be written by hand.

/// What is left of a script.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) const fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// What is left.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Two bytes, the higher first.
    fn short(&mut self) -> Option<usize> {
        Some(usize::from(self.byte()?) << 8 | usize::from(self.byte()?))
    }

    /// So many bytes, or as many as there are.
    fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A length of two bytes and what follows.
    pub(crate) fn lengthy(&mut self) -> Option<&'a [u8]> {
        let length = self.short()?;
        Some(self.bytes(length))
    }

    /// A number of changes of up to 7, then each: where in two bytes, and what is added there without carry. A place
    /// beyond the end cuts the message short by what is added.
    pub(crate) fn changed(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let mut changed = message.to_vec();
        for _ in 0..self.byte()? & 7 {
            let (at, with) = (self.short()?, self.byte()?);
            match changed.get_mut(at) {
                Some(byte) => *byte ^= with,
                None => changed.truncate(changed.len().saturating_sub(usize::from(with))),
            }
        }
        Some(changed)
    }
}
