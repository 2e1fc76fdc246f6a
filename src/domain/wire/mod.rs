//! What goes over the wire between peers: signed requests and frames of a chunk stream.
