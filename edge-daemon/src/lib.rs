//! edge-daemon
