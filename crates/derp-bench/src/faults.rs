//! What makes a run fail.

/// What went wrong that must not, and the first case of it in words.
#[derive(Clone, Default, Debug)]
pub(crate) struct Faults {
    pub(crate) corrupt: u64,
    pub(crate) disordered: u64,
    pub(crate) misdelivered: u64,
    /// Arrived without having been sent.
    pub(crate) invented: u64,
    pub(crate) disconnected: u64,
    pub(crate) first: Option<String>,
}

impl Faults {
    pub(crate) fn count(&self) -> u64 {
        self.corrupt + self.disordered + self.misdelivered + self.invented + self.disconnected
    }

    /// Keeps the first case.
    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        self.first.get_or_insert_with(what);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.corrupt += other.corrupt;
        self.disordered += other.disordered;
        self.misdelivered += other.misdelivered;
        self.invented += other.invented;
        self.disconnected += other.disconnected;
        self.first = self.first.take().or_else(|| other.first.clone());
    }
}
