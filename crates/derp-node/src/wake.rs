//! The function that tells JavaScript that there are events.

use napi::threadsafe_function::ThreadsafeFunction;

/// Wakes JavaScript's thread: weak, so that it alone keeps no process alive, and with one call waiting at most.
pub(crate) type Wake = ThreadsafeFunction<(), (), (), napi::Status, false, true, 1>;
