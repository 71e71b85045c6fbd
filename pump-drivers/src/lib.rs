//! pump-drivers
