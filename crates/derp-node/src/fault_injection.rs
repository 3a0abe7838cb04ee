//! What tests plant, and look at from inside. Only in builds with the feature `fault-injection`.

use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::Ordering;

use derp_net::{CloseReason, Fault, Policy};
use derp_proto::drop_reason::{DropReason, PacketKind};
use derp_tls::{Otherwise, Version};
use napi::bindgen_prelude::{ArrayBuffer, Env, Result};
use napi_derive::napi;

use crate::BindingPlane;
use crate::convert::BindingPolicy;
use crate::error::invalid;
use crate::words::{EventKind, Words};

#[napi]
impl BindingPlane {
    /// Plants a bug by its name, or takes it away.
    #[napi]
    pub fn plant(&self, env: Env, name: Option<String>) -> Result<()> {
        let fault = match name.as_deref().map(Fault::of) {
            None => None,
            Some(Some(fault)) => Some(fault),
            Some(None) => return invalid(&env, "there is no such fault"),
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

    /// The policy that is in force.
    #[napi]
    pub fn policy_in_force(&self) -> BindingPolicy {
        BindingPolicy::from(&*self.plane.policy_in_force())
    }

    /// The policy of a relay without settings, as the crates know it.
    #[napi]
    pub fn default_policy(&self) -> BindingPolicy {
        BindingPolicy::from(&Policy::default())
    }

    /// The words of every enum that crosses, by the name of its type in TypeScript.
    #[napi]
    pub fn words(&self) -> HashMap<&'static str, Vec<&'static str>> {
        HashMap::from([
            ("CloseReason", CloseReason::ALL.iter().map(|reason| reason.as_str()).collect()),
            ("DropReason", DropReason::ALL.iter().map(|reason| reason.as_str()).collect()),
            ("PacketKind", PacketKind::ALL.iter().map(|kind| kind.as_str()).collect()),
            ("TlsVersion", all::<Version>()),
            ("Otherwise", all::<Otherwise>()),
            ("EventKind", all::<EventKind>()),
            ("Fault", all::<Fault>()),
        ])
    }
}

fn all<W: Words>() -> Vec<&'static str> {
    W::ALL.iter().map(|variant| variant.word()).collect()
}
