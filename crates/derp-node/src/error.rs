//! Errors as JavaScript gets them: with a code of `src/errors.ts`, and the system's number where the system has said no.

use std::io;

use napi::JsValue;
use napi::bindgen_prelude::{Env, Error, JsObjectValue, Result, Status};

/// What of the table of codes this side needs; a test compares the two.
#[derive(Clone, Copy)]
pub(crate) enum Code {
    Listen,
    State,
    Internal,
}

impl Code {
    fn as_str(self) -> &'static str {
        match self {
            Self::Listen => "ERR_LISTEN",
            Self::State => "ERR_STATE",
            Self::Internal => "ERR_INTERNAL",
        }
    }
}

/// What the system, or the plane, has refused. `errno` is negative, as in Node's own errors.
pub(crate) fn throw<T>(env: &Env, code: Code, error: &io::Error) -> Result<T> {
    let mut made = env.create_error(Error::new(Status::GenericFailure, error.to_string()))?;
    made.set_named_property("code", code.as_str())?;
    if let Some(errno) = error.raw_os_error() {
        made.set_named_property("errno", -errno)?;
    }
    Err(Error::from(made.to_unknown()))
}

/// A value that no caller of ours would pass.
pub(crate) fn invalid<T>(env: &Env, text: &str) -> Result<T> {
    throw(env, Code::Internal, &io::Error::new(io::ErrorKind::InvalidInput, text))
}
