//! store
/// File.
pub const FILE_NAME: &str = "store.db";
