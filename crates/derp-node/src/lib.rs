//! Bindings and conversions, nothing else: what there is to test lies one crate down.
#![deny(missing_docs)]

mod convert;
mod error;
#[cfg(feature = "fault-injection")]
mod fault_injection;
mod ffi_unsafe;
mod notify;
mod records;
mod wake;
mod words;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;

use derp_net::{Adoption, CloseReason, Event, OsHooks, Plane, Policy};
use derp_proto::counters::{Counter, Counters};
use derp_proto::key::{NodeKey, SecretKey};
use derp_proto::wire::PeerGoneReason;
use napi::CleanupEnvHook;
use napi::bindgen_prelude::{ArrayBuffer, Env, Function, Result, Uint8Array, Uint8ArraySlice};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::convert::{
    BindingAdoption, BindingCertificate, BindingEvent, BindingPolicy, BindingSnapshot, BindingTarget, certificate_set,
    rate,
};
use crate::error::{Code, invalid, throw};
use crate::wake::Wake;
use crate::words::Words;

/// The version that the loader checks against its own.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The names of a policy's numbers, in the order in which they cross: `limits.headBytes` is `policy.limits.headBytes`.
#[napi]
pub fn policy_rows() -> Vec<&'static str> {
    Policy::rows().collect()
}

const OS_HOOKS: OsHooks = OsHooks {
    #[cfg(target_os = "linux")]
    round_trip: Some(ffi_unsafe::round_trip),
    #[cfg(target_os = "linux")]
    bound_unsent: Some(ffi_unsafe::bound_unsent),
    #[cfg(target_os = "linux")]
    unacknowledged: Some(ffi_unsafe::unacknowledged),
    #[cfg(not(target_os = "linux"))]
    round_trip: None,
    #[cfg(not(target_os = "linux"))]
    bound_unsent: None,
    #[cfg(not(target_os = "linux"))]
    unacknowledged: None,
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    give_back: Some(ffi_unsafe::give_back),
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    give_back: None,
};

/// Says something to a service manager, in its own words (`READY=1`, a line each). `socket` is a path, or an abstract name
/// behind an `@`.
#[napi]
pub fn notify(env: Env, socket: String, state: String) -> Result<()> {
    notify::notify(&socket, &state).or_else(|error| throw(&env, Code::Internal, &error))
}

/// A listener that is open.
#[napi(object)]
pub struct BindingListening {
    /// Its number.
    pub id: f64,
    /// The IP address that it is bound to.
    pub address: String,
    /// The port that it is bound to.
    pub port: u16,
}

/// One plane. `wake` is called, on JavaScript's thread, when there are events to take. Every call of a method here, and
/// every call of `wake`, is counted on the counters page.
#[napi]
pub struct BindingPlane {
    plane: Arc<Plane>,
    /// Events for which the bytes of the last call had no room.
    untaken: RefCell<VecDeque<Event>>,
    /// Gone after `shutdown`, and with it what keeps JavaScript's function, and all that it refers to, alive.
    wake: RefCell<Option<Arc<Wake>>>,
    /// Ends the plane with its environment, if it has not ended before.
    hook: Cell<Option<CleanupEnvHook<Weak<Plane>>>>,
}

#[napi]
impl BindingPlane {
    /// `workers` threads; 0 for one per CPU that the process may use.
    #[napi(constructor)]
    pub fn new(
        env: Env,
        private_key: Uint8Array,
        policy: BindingPolicy,
        workers: u32,
        wake: Function<(), ()>,
    ) -> Result<Self> {
        let policy = policy.try_into().or_else(|error: &str| invalid(&env, error))?;
        let secret: [u8; 32] =
            private_key.as_ref().try_into().or_else(|_| invalid(&env, "a private key has 32 bytes"))?;
        let counters = Arc::new(Counters::default());
        let counted = counters.clone();
        let wake = wake.build_threadsafe_function().weak::<true>().max_queue_size::<1>().build_callback(move |_| {
            counted.add(Counter::CROSSINGS_UP, 1);
            Ok(())
        })?;
        let wake = Arc::new(wake);
        let woken = Arc::downgrade(&wake);
        let call = Box::new(move || {
            if let Some(wake) = woken.upgrade() {
                wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
            }
        });
        let workers =
            if workers > 0 { workers as usize } else { thread::available_parallelism().map_or(1, Into::into) };
        let secret = SecretKey::from_bytes(secret);
        let plane = ffi_unsafe::without_signals(|| Plane::new(secret, policy, workers, counters, OS_HOOKS, call));
        let plane = Arc::new(plane.or_else(|error| throw(&env, Code::Internal, &error))?);
        // Later than that of `wake`, and so called before it: the threads are gone before what they call is.
        let hook = env.add_env_cleanup_hook(Arc::downgrade(&plane), |plane| {
            if let Some(plane) = plane.upgrade() {
                plane.shutdown();
            }
        })?;
        plane.counters().add(Counter::CROSSINGS_DOWN, 1);
        let untaken = RefCell::default();
        Ok(Self { plane, untaken, wake: RefCell::new(Some(wake)), hook: Cell::new(Some(hook)) })
    }

    /// The counters, as a view over the plane's own memory. To be called once. Nothing where JavaScript may not have such
    /// views.
    #[napi]
    pub fn counters<'env>(&self, env: &'env Env) -> Result<Option<ArrayBuffer<'env>>> {
        ffi_unsafe::counters(env, self.called().counters().clone())
    }

    /// The counters as they are now.
    #[napi]
    pub fn copy_counters(&self) -> Vec<f64> {
        self.called().counters().cells().iter().map(|cell| cell.load(Ordering::Relaxed) as f64).collect()
    }

    /// Opens a TCP listener. From here on until `shutdown` the process is kept alive, as by listeners of Node's.
    #[napi]
    pub fn listen(&self, env: Env, host: String, port: u32, derp: bool, tls: bool) -> Result<BindingListening> {
        let address = socket_address(&env, &host, port)?;
        self.opened(&env, self.called().listen(address, derp, tls))
    }

    /// Answers STUN requests; keeps the process alive as the others do.
    #[napi]
    pub fn listen_stun(&self, env: Env, host: String, port: u32) -> Result<BindingListening> {
        let address = socket_address(&env, &host, port)?;
        self.opened(&env, ffi_unsafe::without_signals(|| self.called().listen_stun(address)))
    }

    /// The same with a socket that listens already, by its descriptor, which stays the caller's to close.
    #[napi]
    pub fn listen_on(&self, env: Env, fd: i32, derp: bool, tls: bool) -> Result<BindingListening> {
        self.opened(&env, ffi_unsafe::duplicate(fd).and_then(|socket| self.called().listen_on(socket, derp, tls)))
    }

    /// The same with a socket that is bound already.
    #[napi]
    pub fn listen_stun_on(&self, env: Env, fd: i32) -> Result<BindingListening> {
        let listen = |socket| ffi_unsafe::without_signals(|| self.called().listen_stun_on(socket));
        self.opened(&env, ffi_unsafe::duplicate(fd).and_then(listen))
    }

    /// Asks the workers for a sign of life; the event `pulse` with this id follows.
    #[napi]
    pub fn pulse(&self, id: f64) {
        self.called().pulse(id as u64);
    }

    /// Replaces the certificates. `otherwise` says what becomes of other server names: `first`, `refuse` or `ask`.
    #[napi]
    pub fn certificates(&self, env: Env, certificates: Vec<BindingCertificate>, otherwise: String) -> Result<()> {
        let Some(otherwise) = Words::of(&otherwise) else { return invalid(&env, "no such rule for other names") };
        match certificate_set(certificates, otherwise) {
            Ok(set) => self.called().certificates(set),
            Err(error) => return invalid(&env, &error.to_string()),
        }
        Ok(())
    }

    /// Replaces the policy.
    #[napi]
    pub fn policy(&self, env: Env, policy: BindingPolicy) -> Result<()> {
        self.called().policy(policy.try_into().or_else(|error: &str| invalid(&env, error))?);
        Ok(())
    }

    /// Lets a client in; with a receive limit of its own, bytes per second and bytes at once, if both are given.
    #[napi]
    pub fn admit(&self, id: f64, mesh: bool, per_second: Option<f64>, burst: Option<f64>) {
        self.called().admit(id as u64, mesh, rate(per_second, burst));
    }

    /// Gives an admitted connection a receive limit of its own: bytes per second and bytes at once. Without them it has the policy's.
    #[napi]
    pub fn limit(&self, id: f64, per_second: Option<f64>, burst: Option<f64>) {
        self.called().limit(id as u64, rate(per_second, burst));
    }

    /// Ends a connection, or a handshake that is parked. `reason` is a word of `CloseReason`.
    #[napi]
    pub fn close(&self, env: Env, id: f64, reason: String) -> Result<()> {
        let Some(reason) = CloseReason::parse(&reason) else { return invalid(&env, "no such reason to close") };
        self.called().close(id as u64, reason);
        Ok(())
    }

    /// Nothing, or why the target cannot be dialled; then nothing of the link is heard.
    #[napi]
    pub fn dial(&self, link: f64, target: BindingTarget) -> Option<&'static str> {
        let plane = self.called();
        target.try_into().map(|target| plane.dial(link as u64, target)).err()
    }

    /// Ends a link, or a dial under way.
    #[napi]
    pub fn hang_up(&self, link: f64) {
        self.called().hang_up(link as u64);
    }

    /// Says which link leads to a key that has no connection here; none if `via` is absent.
    #[napi]
    pub fn route(&self, env: Env, key: Uint8Array, via: Option<f64>) -> Result<()> {
        self.called().route(&node_key(&env, &key)?, via.map(|link| link as u64));
        Ok(())
    }

    /// Says that a key is nowhere, in answer to a `lookup`.
    #[napi]
    pub fn missing(&self, env: Env, key: Uint8Array) -> Result<()> {
        self.called().missing(&node_key(&env, &key)?);
        Ok(())
    }

    /// Tells connections that were sent packets of a key that it has left: `reason` 0 if it has disconnected, 1 if it is not here.
    #[napi]
    pub fn gone(&self, env: Env, key: Uint8Array, reason: u8) -> Result<()> {
        let key = node_key(&env, &key)?;
        let reason = match reason {
            0 => PeerGoneReason::Disconnected,
            1 => PeerGoneReason::NotHere,
            _ => return invalid(&env, "no such reason to be gone"),
        };
        self.called().gone(&key, reason);
        Ok(())
    }

    /// Sends whole control frames to admitted connections. With `pull` the event `pulled` follows when there is room for more.
    #[napi]
    pub fn send(&self, ids: Vec<f64>, frames: Uint8Array, pull: bool) {
        self.called().send(ids.into_iter().map(|id| id as u64), &frames, pull);
    }

    /// A number for a connection that comes another way than through a listener.
    #[napi]
    pub fn new_id(&self) -> f64 {
        self.called().new_id() as f64
    }

    /// Takes a connection over, by its descriptor, which stays the caller's to close.
    #[napi]
    pub fn adopt(&self, env: Env, id: f64, fd: i32, how: BindingAdoption) -> Result<()> {
        let stream = self
            .plane
            .may_duplicate()
            .and_then(|()| ffi_unsafe::duplicate(fd))
            .and_then(|socket| {
                let stream = TcpStream::from(socket);
                stream.set_nonblocking(true)?;
                Ok(stream)
            })
            .or_else(|error| throw(&env, Code::Internal, &error))?;
        let BindingAdoption { listener, address, port, leftover, not_ideal, web_socket } = how;
        let (leftover, listener) = (leftover.to_vec(), listener as u64);
        let how = Adoption { leftover, listener, not_ideal, web_socket, uncounted: false };
        self.called().adopt(id as u64, stream, peer(&address, port), how);
        Ok(())
    }

    /// The socket of a connection that was given away, and not over TLS, is closed.
    #[napi]
    pub fn left(&self, id: f64) {
        self.called().left(id as u64);
    }

    /// A pipe whose far end is a connection of the plane's, which `uncounted` keeps out of sight. Returns the descriptor of the
    /// near end, the caller's to close.
    #[napi]
    pub fn attach(&self, env: Env, id: f64, address: String, port: u16, uncounted: bool) -> Result<i32> {
        let (near, far) = ffi_unsafe::pipe().or_else(|error| throw(&env, Code::Internal, &error))?;
        self.called().adopt(id as u64, far, peer(&address, port), Adoption { uncounted, ..Adoption::default() });
        Ok(near)
    }

    /// Figures of the admitted connections from the `offset`th on, at most `limit` of them, and of all open links.
    #[napi]
    pub fn snapshot(&self, after: f64, limit: u32) -> BindingSnapshot {
        let plane = self.called();
        let (total, figures) = plane.snapshot(after as u64, limit as usize);
        BindingSnapshot::new(total, &figures, &plane.links())
    }

    /// What has happened since the last call: records in the bytes, as `src/plane/event-records.ts` reads them, and the
    /// events that have none. The head of the bytes says whether there are more.
    #[napi]
    pub fn take_events(&self, mut records: Uint8ArraySlice<'_>) -> Vec<BindingEvent> {
        let mut untaken = self.untaken.borrow_mut();
        untaken.extend(self.called().take_events());
        let others = records::write(ffi_unsafe::bytes_of(&mut records), &mut untaken);
        others.into_iter().filter_map(BindingEvent::of).collect()
    }

    /// Whether the tap was off, and is on now.
    #[napi]
    pub fn tap(&self, env: Env, key: Option<Uint8Array>, snap_length: u32) -> Result<bool> {
        let key = key.map(|key| node_key(&env, &key)).transpose()?;
        Ok(self.called().tap(key, snap_length as usize))
    }

    /// A slab of the tap's, as it lies in memory: `src/plane/native-tap.ts` reads it.
    #[napi]
    pub fn take_tapped<'env>(&self, env: &'env Env) -> Result<Option<ArrayBuffer<'env>>> {
        self.called().take_tapped().map(|slab| ffi_unsafe::slab(env, slab)).transpose()
    }

    /// Gives the memory of a slab back. What is left in JavaScript's hands has no bytes any more.
    #[napi]
    pub fn release_tapped(&self, env: Env, slab: ArrayBuffer) -> Result<()> {
        self.called();
        ffi_unsafe::detach(&env, &slab)
    }

    /// Ends the tap, and forgets what was not taken.
    #[napi]
    pub fn stop_tap(&self) {
        self.called().stop_tap();
    }

    /// Closes everything, and waits for the threads, which takes them one turn. What happened until then can be taken.
    #[napi]
    pub fn shutdown(&self, env: Env) -> Result<()> {
        self.called().shutdown();
        self.wake.take();
        self.hook.take().map_or(Ok(()), |hook| env.remove_env_cleanup_hook(hook))
    }
}

impl BindingPlane {
    /// What has become of opening a listener.
    fn opened(&self, env: &Env, opened: io::Result<(u64, SocketAddr)>) -> Result<BindingListening> {
        let (id, bound) = opened.or_else(|error| {
            // Whatever is not the system's is the plane's own: it has ended.
            let code = error.raw_os_error().map_or(Code::State, |_| Code::Listen);
            throw(env, code, &error)
        })?;
        if let Some(wake) = &*self.wake.borrow() {
            ffi_unsafe::keep_alive(env, wake)?;
        }
        Ok(BindingListening { id: id as f64, address: bound.ip().to_string(), port: bound.port() })
    }

    /// The plane, for a call from JavaScript.
    fn called(&self) -> &Plane {
        self.plane.counters().add(Counter::CROSSINGS_DOWN, 1);
        &self.plane
    }
}

fn socket_address(env: &Env, host: &str, port: u32) -> Result<SocketAddr> {
    let Ok(ip) = host.parse::<IpAddr>() else { return invalid(env, "not an address") };
    let Ok(port) = u16::try_from(port) else { return invalid(env, "not a port") };
    Ok(SocketAddr::new(ip, port))
}

fn node_key(env: &Env, bytes: &[u8]) -> Result<NodeKey> {
    let key: [u8; 32] = bytes.try_into().or_else(|_| invalid(env, "a node key has 32 bytes"))?;
    Ok(NodeKey::from_bytes(key))
}

/// Text that is no address stands for one that is not known.
fn peer(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap_or(Ipv4Addr::UNSPECIFIED.into()), port)
}
