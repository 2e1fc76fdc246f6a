//! Pure values: identifiers, cryptography, formats, peers and their rights.
//!
//! Nothing in here awaits, opens a file, reads the clock or draws randomness: `now` and `rng` are arguments.

pub mod access; // what somebody may do on the admin plane
pub mod alert; // what an admin is told of, unasked
pub mod audit; // who did what: lines that hold each other's hashes
pub mod axon; // what Axon BBS instances say and keep: keys, manifests, payloads, signed headers, backups
pub mod channel; // who is told, as it was said while the server ran
pub mod chunk; // sealed bytes that hold fragments
pub mod content; // what must hold of an application's files
pub mod crypto; // hash, aead, kdf, keywrap, sign, secret
pub mod dotenv; // the variables in an .env file
pub mod entity; // something of an application, and its lines in lists
pub mod envelope; // a snapshot key wrapped for one recipient
pub mod escrow; // an application's secrets that are not in its data, kept under the recovery key
pub mod feed; // what changed, in order
pub mod fetch; // what to ask whom next
pub mod id; // one type for each kind of identifier
pub mod identity; // the signed document by which an instance shows itself
pub mod invite; // one line that lets another instance in
pub mod limits; // how much, how fast and when a peer is sent chunks
pub mod manifest; // the document that describes a snapshot
pub mod metadata; // the sealed tree of files
pub mod onion; // onion addresses
pub mod peer; // addresses, trust, rights
pub mod preset; // what is known of an application
pub mod proof; // that somebody keeps a snapshot
pub mod reconcile; // which snapshots the other side has
pub mod retention; // which snapshots stay and which go
pub mod run; // what is put on record as a run
pub mod schedule; // when work is done by itself
pub mod scrub; // when what is stored is read again, and how fast
pub mod segment; // plain lists of chunks
pub mod succession; // who leads a collection, and who took over from whom
pub mod tar; // a folder of small files in one piece
pub mod target; // other places that hold copies: where they are
pub mod text; // names that others gave, as they are shown
pub mod wire; // signed requests, frames of a chunk stream
pub mod words; // numbers, sizes and times as people read them
