//! The one integration binary: every further one would link everything again. One module a topic.

mod cli;
mod layers;
mod replicate;
