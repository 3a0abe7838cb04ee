//! How a thread of the plane ends.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a thread has come to; or a word about how it failed.
pub(crate) fn outcome<T>(who: &str, act: impl FnOnce() -> io::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(result) => result.map_err(|error| format!("{who} has failed: {error}")),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(format!("{who} has panicked: {}", text.unwrap_or_default()))
        }
    }
}
