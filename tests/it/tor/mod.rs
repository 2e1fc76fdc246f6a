//! Over a private Tor network of real C tor nodes (`script/tornet`), with the real binary: `script/test tor` runs these.

mod axon; // beside an Axon BBS
mod ctor; // C tor's clients and services, and ours
mod hidden; // restricted discovery
mod leaks; // nothing goes around Tor
mod struck; // processes are killed, rights end, the network goes away
mod whole; // the whole way
