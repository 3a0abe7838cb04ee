//! A connection's way in: its request head, its login, its frames, and the packets of one read; and links to other relays.

pub(crate) mod fanout;
pub(crate) mod forward;
pub(crate) mod mesh_dial;
pub(crate) mod mesh_link;
pub(crate) mod packet;
pub(crate) mod request_head;
pub(crate) mod session;
