//! The DERP protocol without sockets, clocks or threads: what stands in the bytes, and the rules that follow from it.
//!
//! Everything here is a function of its arguments; time and randomness are arguments. The TypeScript under
//! `src/protocol` and `src/plane/js` is the twin of this crate, and `__test__/vectors` holds both to upstream.
//!
//! | module | what is inside |
//! |---|---|
//! | [`wire`] | the constants, each beside its byte layout |
//! | [`key`] | node, secret, shared and mesh keys |
//! | [`decode`] | cuts a byte stream into frames |
//! | [`frame_rules`] | which frames a client may send |
//! | [`frame`] | encodes frames, and rewrites the relayed ones in place |
//! | [`server_frame`] | what a client reads |
//! | [`login`] | ClientInfo and ServerInfo, in their boxes |
//! | [`client_login`] | the client's side of a login, for links to other relays |
//! | [`client_info`] | their JSON, read as Go reads it |
//! | [`http_head`] | which requests become raw DERP, and the answer |
//! | [`websocket`] | WebSocket frames around a DERP stream |
//! | [`stun`] | the requests that are answered, and the answers |
//! | [`fair_queue`], [`codel`], [`drain_rate`] | what waits for a destination: whose turn it is, what is too old, how fast it leaves |
//! | [`token_bucket`], [`duplicates`] | token bucket, which of a key's connections is active |
//! | [`sender_sketch`] | how many peers have sent to one client, estimated |
//! | [`drop_reason`], [`counters`] | why packets are dropped, and everything that is counted |
//! | [`sync`] | the shared-memory primitives, swapped for loom's when a test asks |
#![forbid(unsafe_code)]
#![deny(missing_docs)]
// A new variant is never swallowed.
#![warn(clippy::wildcard_enum_match_arm)]
// A panic takes every connection with it: where one cannot happen, the code has to say why.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod client_info;
pub mod client_login;
pub mod codel;
pub mod counters;
pub mod decode;
pub mod drain_rate;
pub mod drop_reason;
pub mod duplicates;
pub mod fair_queue;
pub mod frame;
pub mod frame_rules;
pub mod http_head;
mod json;
pub mod key;
pub mod login;
pub mod sender_sketch;
pub mod server_frame;
pub mod stun;
pub mod sync;
pub mod token_bucket;
pub mod websocket;
pub mod wire;
