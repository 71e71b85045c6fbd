//! A small file system fills up while fuel flows, and is emptied again.

use super::Verdict;
use super::bed::{Bed, Course, Setup};
use crate::broker::Broker;
use anyhow::{Context as _, ensure};
use forecourt::units::Volume;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Room for the reserve and some hundred commits.
const SIZE: &str = "size=32m";
/// Orders must be taken again so soon after there is space.
const RECOVERY: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(15);

/// Unmounts when dropped.
struct Mount<'a>(&'a Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // Left behind at worst; its content is of no worth.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// Runs it.
///
/// # Errors
/// What could not be started, or what was not as it must be.
pub async fn run(program: Option<&Path>, directory: &Path) -> anyhow::Result<Verdict> {
    let data = directory.join("small");
    std::fs::create_dir_all(&data)?;
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "rig"]).arg(&data).output();
    match mounted {
        Ok(output) if output.status.success() => {}
        _ => return Ok(Verdict::Skipped("a tmpfs cannot be mounted here: run it as root".into())),
    }
    let _mount = Mount(&data);
    let setup = Setup {
        dispensers: 1,
        data: Some(data.clone()),
        extra_toml: format!(
            "[disk]\nstop-free-mb = 3\n[trace]\ndirectory = \"{}\"\nsegments = 2\nsegment-kib = 64\n",
            data.join("trace").display()
        ),
        flow_litres: 1,
        ..Setup::default()
    };
    let mut bed = Bed::new(directory, program, Broker::embedded()?, &setup).await?;
    let mut life = bed.live(None)?;
    let nozzles = bed.plan.nozzles();
    bed.platform.nozzles_ready(&nozzles, PATIENCE).await?;

    let mut flowing = bed.pay_for(Volume::new(6_000))?;
    let begun = Instant::now();
    while !bed.pumps.view(flowing.nozzle).is_some_and(|view| view.flowing) {
        ensure!(begun.elapsed() < PATIENCE, "no fuel flows");
        bed.act(&mut flowing);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let junk = data.join("junk");
    fill(&junk)?;
    let held = |wanted: bool| {
        let nozzle = nozzles[0];
        bed.platform.wait_for("the hold store_full", PATIENCE, move |desk| {
            let state = desk.nozzle(nozzle)?;
            (state.holds.iter().any(|hold| hold == "store_full") == wanted).then_some(())
        })
    };
    held(true).await?;
    ensure!(bed.drive(&mut flowing, &mut life).await? == Course::Ended, "the daemon ended on a full disk");
    ensure!(bed.is_sold(&flowing), "the fuelling under way was not booked as a sale");
    let reserve_used = !data.join("ballast").exists();
    // Filled again, as the reserve is free now: the rest goes too.
    fill(&data.join("junk-2")).or_else(|error| if data.join("junk-2").exists() { Ok(()) } else { Err(error) })?;
    std::fs::remove_file(&junk)?;
    std::fs::remove_file(data.join("junk-2"))?;
    let freed = Instant::now();
    held(false).await?;
    let recovered = freed.elapsed();
    ensure!(recovered < RECOVERY, "orders are taken again only after {recovered:?}");
    let mut after = bed.pay_for(Volume::new(2_000))?;
    bed.drive(&mut after, &mut life).await?;
    let mut differences = bed.settle(&data).await.map(|()| Vec::new())?;
    differences.extend(bed.differences(&data)?);
    if !bed.is_sold(&after) {
        differences.push("an order after the disk was freed was not a sale".into());
    }
    let begun = Instant::now();
    while !data.join("ballast").exists() && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if !data.join("ballast").exists() {
        differences.push("the reserve did not come back".into());
    }
    life.terminate().await?;
    if !differences.is_empty() {
        return Ok(Verdict::Broke(differences));
    }
    Ok(Verdict::Held(format!(
        "held with store_full, the fuelling under way was booked (reserve given free: {reserve_used}), orders again {} ms after there \
         was space",
        recovered.as_millis()
    )))
}

/// Writes until nothing more goes.
fn fill(path: &Path) -> anyhow::Result<()> {
    let mut file = File::create(path).context("make the file that fills the disk")?;
    for size in [1024 * 1024, 4 * 1024, 64] {
        let block = vec![0x55; size];
        while file.write_all(&block).is_ok() {}
    }
    Ok(())
}
