//! What tests plant, and look at from inside. Only in builds with the feature `fault-injection`.

use std::ptr;
use std::sync::atomic::Ordering;

use derp_net::Fault;
use napi::bindgen_prelude::{ArrayBuffer, Env, Result};
use napi_derive::napi;

use crate::BindingPlane;
use crate::error::invalid;

#[napi]
impl BindingPlane {
    /// Plants a bug by its name, or takes it away.
    #[napi]
    pub fn plant(&self, env: Env, name: Option<String>) -> Result<()> {
        let fault = match name.as_deref() {
            None => None,
            Some("reorder") => Some(Fault::Reorder),
            Some("misroute") => Some(Fault::Misroute),
            Some("lost-peer-gone") => Some(Fault::LostPeerGone),
            Some("stale-route") => Some(Fault::StaleRoute),
            Some("panic") => Some(Fault::Panic),
            Some("hang") => Some(Fault::Hang),
            Some("accept") => Some(Fault::Accept),
            Some("register") => Some(Fault::Register),
            Some("pair") => Some(Fault::Pair),
            Some("duplicate") => Some(Fault::Duplicate),
            Some(_) => return invalid(&env, "there is no such fault"),
        };
        self.plane.plant(fault);
        Ok(())
    }

    /// Writes its own number, counted from 1, into each row of the counters page.
    #[napi]
    pub fn number_counters(&self) {
        for (row, cell) in self.plane.counters().cells().iter().enumerate() {
            cell.store(row as u64 + 1, Ordering::Relaxed);
        }
    }

    /// Whether a view is one of the counters page itself, no copy of it.
    #[napi]
    pub fn is_counters(&self, view: ArrayBuffer) -> bool {
        let cells = self.plane.counters().cells();
        ptr::eq(view.as_ptr(), cells.as_ptr().cast()) && view.len() == size_of_val(cells)
    }
}
