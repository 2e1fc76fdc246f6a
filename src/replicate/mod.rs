//! Between instances: what a peer may see here, envelopes for it, how it comes in; and pulling from others.

pub mod allowance; // how much a peer is still sent, how fast and when
pub mod call; // signed calls to a peer, checked answers
pub mod exposure; // what a peer already has
pub mod join; // joining an instance by its invite
pub mod pair; // letting an instance in
pub mod prove; // that a peer keeps what it says, and that we do
pub mod pull; // feed, keys and chunks of peers, brought here
pub mod rekey; // envelopes, just in time
pub mod renew; // peers whose keys have changed
pub mod rotate; // other keys for this instance
pub mod scope; // what of that which was granted may leave
pub mod serve; // what a peer may see
pub mod succession; // who leads a collection: heirs, taking over, telling each other
pub mod trust; // who is a peer, and what it may have, as the owner says
