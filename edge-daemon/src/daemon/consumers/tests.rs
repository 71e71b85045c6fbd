//! Consumers against a real store and a small server.

use super::*;
