//! Decisions that are read from the input, so that whoever changes the input changes the course of things.

/// What is left of them. When there is nothing left, every decision is the first of its kind.
pub(crate) struct Script<'i>(pub(crate) &'i [u8]);

impl<'i> Script<'i> {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// A number below `bound`, from as few bytes as it needs.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let count = match bound {
            0..=1 => return 0,
            2..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 4,
        };
        self.take(count).iter().fold(0, |number, &byte| number << 8 | usize::from(byte)) % bound
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    pub(crate) fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())]
    }

    /// Bytes as they are, as many as there are of them.
    pub(crate) fn take(&mut self, count: usize) -> &'i [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
