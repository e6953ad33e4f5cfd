//! Links: this relay's outgoing streams to its peers, and theirs to it.
//!
//! [`RelayView`] keeps which relays stream with this one both ways, publishes each change and logs it. It is told by
//! whoever runs the streams; it knows nothing of frames, of the store, or of sessions, which only watch it.

mod view;

pub use view::{Described, RelayView, Way};
