//! `hil-sim bench`: figures of the real daemon on simulated lines with real pacing.

pub mod calibration;
pub mod stats;
