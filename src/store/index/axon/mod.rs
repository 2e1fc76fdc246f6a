//! What is known of an Axon BBS: items, documents, instances that speak its protocol, and what they have fetched.
//!
//! Derived data: items and documents are those of the collection's newest snapshot, and what came since, which its peers tell
//! again. What is private is sealed by [`crate::store::axon`] before it comes here.

mod content;
mod lines;
mod looked;
mod peers;
mod served;

pub use content::{AxonState, SealedDocument, SealedItem};
pub use lines::ItemLine;
pub use looked::Looked;
pub use peers::{AxonPeer, AxonRights, AxonTrust};
pub(in crate::store) use peers::{all as all_peers, put as put_peer};
