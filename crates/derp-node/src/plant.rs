//! Bugs on order, in builds for tests alone.

use derp_net::Fault;
use napi::bindgen_prelude::Result;
use napi_derive::napi;

use crate::{BindingPlane, invalid};

#[napi]
impl BindingPlane {
    /// Plants a bug by its name, or takes it away.
    #[napi]
    pub fn plant(&self, name: Option<String>) -> Result<()> {
        let fault = match name.as_deref() {
            None => None,
            Some("reorder") => Some(Fault::Reorder),
            Some("misroute") => Some(Fault::Misroute),
            Some("lost-peer-gone") => Some(Fault::LostPeerGone),
            Some("stale-route") => Some(Fault::StaleRoute),
            Some("panic") => Some(Fault::Panic),
            Some(_) => return Err(invalid("there is no such fault")),
        };
        self.plane.plant(fault);
        Ok(())
    }
}
