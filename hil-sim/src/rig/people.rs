//! Customers at served dispensers, in real time.

use super::pumps::{DECIMALS, Pumps};
use crate::customer::{Customer, Habits, Plan};
use crate::prng::Prng;
use forecourt::ids::NozzleId;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often a customer looks at the pump.
const GLANCE: Duration = Duration::from_millis(20);

/// Lets a customer come to a nozzle and do what the plan says. `ready` tells that the nozzle is ready; if it is dropped, nobody
/// ever says so. Returns whether fuel flowed. Nothing happens if there is no such nozzle.
pub async fn visit(
    pumps: &Pumps,
    nozzle: NozzleId,
    plan: Plan,
    habits: Habits,
    chance: Prng,
    mut ready: oneshot::Receiver<()>,
) -> bool {
    let epoch = pumps.epoch();
    let Some(place) = pumps.place(nozzle) else { return false };
    let Some(line) = pumps.line(place.line) else { return false };
    let mut customer = Customer::new(plan, place.index, DECIMALS, habits, chance, epoch.now());
    let mut told = false;
    while !customer.is_gone() {
        if !told && ready.try_recv().is_ok() {
            told = true;
            customer.told_ready(epoch.now());
        }
        if let Some(view) = line.view(place.device) {
            customer.observe(&view, epoch.now());
        }
        customer.handle_timeout(epoch.now());
        while let Some(action) = customer.poll_action() {
            line.act(place.device, action);
        }
        tokio::time::sleep(GLANCE).await;
    }
    customer.has_fuelled()
}
