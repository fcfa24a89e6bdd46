//! Examples over `fleet-core`; the README beside this file says which to read first.
