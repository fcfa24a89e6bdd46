//! Examples over the crates; the README beside this file says which to read first.
