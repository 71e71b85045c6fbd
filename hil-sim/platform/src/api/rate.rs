//! At most so many calls a second from one address.

use super::call::Problem;
use crate::refusal::Refusal;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Addresses remembered; when there are more, all begin anew.
const MOST: usize = 10_000;

/// A bucket for each address, filled at the rate and as large as one second of it.
#[derive(Debug)]
pub struct Buckets {
    rate: Option<u32>,
    /// Thousandths of a call, and when they were counted.
    left: Mutex<BTreeMap<IpAddr, (u64, Instant)>>,
}

impl Buckets {
    pub fn new(rate: Option<u32>) -> Self {
        Self { rate, left: Mutex::default() }
    }

    /// Whether this address may call now.
    fn take(&self, address: IpAddr, now: Instant) -> bool {
        let Some(rate) = self.rate.map(u64::from) else { return true };
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() >= MOST {
            left.clear();
        }
        let (level, counted) = left.entry(address).or_insert((rate * 1_000, now));
        let passed = u64::try_from(now.saturating_duration_since(*counted).as_millis()).unwrap_or(u64::MAX);
        *level = level.saturating_add(passed.saturating_mul(rate)).min(rate * 1_000);
        *counted = now;
        let may = *level >= 1_000;
        *level -= if may { 1_000 } else { 0 };
        may
    }
}

pub async fn limit(
    State(buckets): State<Arc<Buckets>>,
    ConnectInfo(caller): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if buckets.take(caller.ip(), Instant::now()) {
        return next.run(request).await;
    }
    Problem::from(Refusal::new("rate_limited", "more calls a second than one address may make")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_eleventh_call_within_a_second_is_refused_and_one_more_is_allowed_each_tenth() {
        let (buckets, start) = (Buckets::new(Some(10)), Instant::now());
        let one = IpAddr::from([127, 0, 0, 1]);
        assert!((0..10).all(|_| buckets.take(one, start)));
        assert!(!buckets.take(one, start));
        assert!(buckets.take(IpAddr::from([127, 0, 0, 2]), start), "another address has its own");
        assert!(buckets.take(one, start + Duration::from_millis(100)));
        assert!(!buckets.take(one, start + Duration::from_millis(100)));
    }
}
