//! Bindings and conversions, nothing else: what there is to test lies one crate down.

mod convert;
mod external;
#[cfg(feature = "fault-injection")]
mod plant;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use derp_net::{CloseReason, Plane};
use derp_proto::key::{NodeKey, SecretKey};
use derp_proto::wire::PeerGoneReason;
use napi::bindgen_prelude::{BigUint64Array, Buffer, Error, Function, Result, Status, Uint8Array};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::convert::{BindingEvent, BindingPolicy, BindingSnapshot};

/// The version that the loader checks against its own.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// A listener that is open.
#[napi(object)]
#[expect(missing_docs, reason = "`src/plane/plane.ts` says what each is")]
pub struct BindingListening {
    pub id: f64,
    pub address: String,
    pub port: u16,
}

/// One plane. `wake` is called, on JavaScript's thread, when there are events to take.
#[napi]
pub struct BindingPlane {
    plane: Arc<Plane>,
}

#[napi]
#[expect(missing_docs, reason = "`src/plane/plane.ts` says what each does")]
impl BindingPlane {
    /// `workers` threads; 0 for one per CPU that the process may use.
    #[napi(constructor)]
    pub fn new(private_key: Uint8Array, policy: BindingPolicy, workers: u32, wake: Function<(), ()>) -> Result<Self> {
        let secret: [u8; 32] = private_key.as_ref().try_into().map_err(|_| invalid("a private key has 32 bytes"))?;
        // Weak: an idle relay's listeners keep the process alive, not its events. One call waits at most.
        let wake = wake.build_threadsafe_function().weak::<true>().max_queue_size::<1>().build()?;
        let wake = Box::new(move || {
            wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        });
        let workers =
            if workers > 0 { workers as usize } else { thread::available_parallelism().map_or(1, Into::into) };
        let plane = Plane::new(SecretKey::from_bytes(secret), policy.into(), workers, wake).map_err(system)?;
        Ok(Self { plane: Arc::new(plane) })
    }

    /// The counters, as a view over the plane's own memory.
    #[napi]
    pub fn counters(&self) -> BigUint64Array {
        external::counters(self.plane.counters().clone())
    }

    /// Opens a TCP listener; the error's text is the system's code.
    #[napi]
    pub fn listen(&self, host: String, port: u16, derp: bool) -> Result<BindingListening> {
        let ip = host.parse().map_err(|_| invalid("not an address"))?;
        let (id, bound) = self.plane.listen(SocketAddr::new(ip, port), derp).map_err(system)?;
        Ok(BindingListening { id: id as f64, address: bound.ip().to_string(), port: bound.port() })
    }

    #[napi]
    pub fn policy(&self, policy: BindingPolicy) {
        self.plane.policy(policy.into());
    }

    #[napi]
    pub fn admit(&self, id: f64, mesh: bool) {
        self.plane.admit(id as u64, mesh);
    }

    #[napi]
    pub fn close(&self, id: f64, reason: String) {
        self.plane.close(id as u64, CloseReason::parse(&reason).unwrap_or(CloseReason::Closed));
    }

    #[napi]
    pub fn gone(&self, key: Uint8Array, reason: u8) -> Result<()> {
        let key: [u8; 32] = key.as_ref().try_into().map_err(|_| invalid("a node key has 32 bytes"))?;
        let reason = if reason == 0 { PeerGoneReason::Disconnected } else { PeerGoneReason::NotHere };
        self.plane.gone(&NodeKey::from_bytes(key), reason);
        Ok(())
    }

    #[napi]
    pub fn send(&self, ids: Vec<f64>, frames: Uint8Array, pull: bool) {
        self.plane.send(ids.into_iter().map(|id| id as u64), &frames, pull);
    }

    #[napi]
    pub fn new_id(&self) -> f64 {
        self.plane.new_id() as f64
    }

    /// Takes a connection over, by its descriptor, which stays the caller's to close.
    #[napi]
    pub fn adopt(&self, id: f64, fd: i32, address: String, port: u16, leftover: Buffer, not_ideal: bool) -> Result<()> {
        let stream = external::duplicate(fd).map_err(system)?;
        let ip = address.parse().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
        self.plane.adopt(id as u64, stream, SocketAddr::new(ip, port), leftover.to_vec(), not_ideal);
        Ok(())
    }

    /// A pipe whose far end is a connection of the plane's. Returns the descriptor of the near end, the caller's to close.
    #[napi]
    pub fn attach(&self, id: f64, address: String, port: u16) -> Result<i32> {
        let (near, far) = external::pipe().map_err(system)?;
        let ip = address.parse().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
        self.plane.adopt(id as u64, far, SocketAddr::new(ip, port), Vec::new(), false);
        Ok(near)
    }

    #[napi]
    pub fn snapshot(&self, offset: u32, limit: u32) -> BindingSnapshot {
        let (total, figures) = self.plane.snapshot(offset as usize, limit as usize);
        BindingSnapshot::new(total, &figures)
    }

    #[napi]
    pub fn take_events(&self) -> Vec<BindingEvent> {
        self.plane.take_events().into_iter().map(BindingEvent::from).collect()
    }

    /// Closes everything, and waits for the threads, which takes them one turn.
    #[napi]
    pub fn shutdown(&self) {
        self.plane.shutdown();
    }
}

fn invalid(text: &str) -> Error {
    Error::new(Status::InvalidArg, text)
}

fn system(error: std::io::Error) -> Error {
    Error::new(Status::GenericFailure, error.to_string())
}
