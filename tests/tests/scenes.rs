//! A quick part of `hil-sim scenes`: the driver's page, the real daemon and the reference platform's books.

use hil_sim::scenes::{Scene, Theatre, all, play};
use std::time::Duration;

#[tokio::test]
async fn a_driver_pays_on_the_page_and_commission_refund_release_and_expiry_are_booked() {
    let home = tempfile::tempdir().expect("a directory");
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts");
    let mut theatre = Theatre::new(home.path(), None, scripts.into(), Duration::ZERO);
    let quick = ["install", "pay", "commission", "under-fill", "zero-fill", "twice", "expired", "tank-low", "tamper"];
    let scenes: Vec<Scene> = all().into_iter().filter(|scene| quick.contains(&scene.name)).collect();
    assert_eq!(scenes.len(), quick.len());
    assert_eq!(play(&mut theatre, &scenes).await.expect("plays"), 0, "no scene failed");
    theatre.close().await.expect("the contract was kept");
}
