//! hil-sim
