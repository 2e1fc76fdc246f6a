//! Pages for people: rendered here, without a script that they need.

pub mod login; // /login, /confirm, /setup
