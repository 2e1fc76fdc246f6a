//! Axon BBS, another system's formats: what its instances say to each other and keep in their backup directories.
//!
//! Goals: bytes that a real instance accepts, and reading what it writes without believing it. Everything that came from
//! elsewhere is checked where it is parsed: a [`ContentHash`](crate::domain::id::ContentHash) can never be a path, depth and sizes are bounded, a
//! plaintext counts only once its hash was compared. Fields that we do not know are kept in their place, and what is read
//! is written again byte for byte.
//!
//! Non-goals: asking and answering (this module moves no bytes), and mending the format. Its keys are named by MD5, its
//! ciphertext has no authentication beyond the hash in an unsigned manifest, its headers sign nothing but a time; so they
//! are used with Axon instances only, and nothing of Bulbil's own rests on them.
//!
//! RSA keys have 2,048 to 4,096 bits. Every operation with a private key is AWS-LC's and stays out of request handlers (R4).

pub mod action; // federated actions
pub mod address; // where an instance is
pub mod backup; // the JSON files of a backup directory
pub mod cipher; // AES-256-CBC over a whole payload, cut into chunks
pub mod export; // the exported configuration
pub mod fernet; // the instance key under SECRET_KEY
pub mod json; // JSON as Python reads and writes it
pub mod kept; // a typed reading of an object that keeps the object
pub mod key; // public keys, their names, wrapping for them
pub mod manifest; // the document that describes one sealed item
pub mod moment; // points in time as Axon writes and accepts them
pub mod payload; // message, file, private message, applet code, applet data
pub mod private; // private keys, unwrapping and signing with them
pub mod pss; // the signature scheme
pub mod signature; // the three headers of a peer's request
pub mod uuid; // identifiers of applets, rows and actions
