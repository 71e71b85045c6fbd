//! `hil-sim scenes`: what the reference platform must show, played one after another with the real daemon, and checked.
//!
//! A scene that what exists cannot show says so and why. It counts as not shown, never as passed.

mod failing;
mod forecourt;
mod money;
mod proof;
mod selling;
mod theatre;

pub use theatre::Theatre;

use crate::rig::workshop::{in_directory, interrupted};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, Instant};

/// No scene takes longer.
const LIMIT: Duration = Duration::from_secs(90);

/// Which scenes, and with what.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Scenes by name or number; all of them where none is named.
    pub names: Vec<String>,
    /// Numbers, names and titles.
    #[arg(long)]
    pub list: bool,
    /// The daemon's program, if it is not beside this one.
    #[arg(long)]
    pub daemon: Option<PathBuf>,
    /// Keeps configuration, store, books and logs there instead of in a directory that is removed at the end.
    #[arg(long)]
    pub directory: Option<PathBuf>,
    /// How long the uplink is out in the scene of it, in seconds; a few if it is less than the scene needs.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub outage: u64,
    /// Where the fault scripts are.
    #[arg(long, default_value = "tests/scripts")]
    pub scripts: PathBuf,
}

/// What a scene came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All of it, in these lines.
    Shown(Vec<String>),
    /// These lines, without what is named last.
    Partly(Vec<String>, String),
}

/// What a scene is while it is played.
pub type Playing<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Outcome>> + 'a>>;

/// One scene.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Its place, from 1.
    pub number: usize,
    /// One word or two.
    pub name: &'static str,
    /// What it is to show.
    pub title: &'static str,
    play: for<'a> fn(&'a mut Theatre) -> Playing<'a>,
}

/// All scenes in their order.
#[must_use]
pub fn all() -> Vec<Scene> {
    let mut scenes = Vec::new();
    let mut add = |name, title, play: for<'a> fn(&'a mut Theatre) -> Playing<'a>| {
        scenes.push(Scene { number: scenes.len() + 1, name, title, play });
    };
    add("install", "install and layout", |theatre| Box::pin(selling::install(theatre)));
    add("price-set", "a price set, confirmed by each pump", |theatre| Box::pin(selling::price_set(theatre)));
    add("pay", "a driver pays 200, armed in 1 s", |theatre| Box::pin(selling::pay(theatre)));
    add("fuel", "fuel, hang up, sale", |theatre| Box::pin(selling::fuel(theatre)));
    add("commission", "commission 10.00 and 1.60 within 10 s, points, poster", |theatre| {
        Box::pin(money::commission(theatre))
    });
    add("under-fill", "under-fill: refund and commission on the true amount", |theatre| {
        Box::pin(money::under_fill(theatre))
    });
    add("coupon", "coupon 200-10, looked at again on what flowed", |theatre| Box::pin(money::coupon(theatre)));
    add("group", "group of three, 0.30 a litre back", |theatre| Box::pin(money::group(theatre)));
    add("zero-fill", "zero fill: release, full refund, no commission", |theatre| Box::pin(money::zero_fill(theatre)));
    add("wrong-nozzle", "wrong nozzle, the order moved", |theatre| Box::pin(forecourt::wrong_nozzle(theatre)));
    add("twice", "duplicate order and duplicate sale", |theatre| Box::pin(forecourt::twice(theatre)));
    add("queue", "two orders on one nozzle", |theatre| Box::pin(forecourt::queue(theatre)));
    add("expired", "an expired order", |theatre| Box::pin(forecourt::expired(theatre)));
    add("tank-low", "a low tank hides its nozzles in 5 s", |theatre| Box::pin(forecourt::tank_low(theatre)));
    add("price-change", "a price change in the middle of a fuelling", |theatre| {
        Box::pin(failing::price_change(theatre))
    });
    add("power-cut", "a power cut in the middle of a fuelling", |theatre| Box::pin(failing::power_cut(theatre)));
    add("wan-out", "uplink out for 30 minutes, signed orders, drain", |theatre| Box::pin(failing::wan_out(theatre)));
    add("clock-jump", "the wall clock jumps", |theatre| Box::pin(failing::clock_jump(theatre)));
    add("reconcile", "night reconciliation, injected faults found", |theatre| Box::pin(proof::night(theatre)));
    add("tamper", "one changed byte, found by the verifier", |theatre| Box::pin(proof::tamper(theatre)));
    scenes
}

/// Plays them. False if one failed.
///
/// # Errors
/// A name that no scene has, or what could not be started.
pub async fn run(args: Args) -> anyhow::Result<bool> {
    let scenes = chosen(&args.names)?;
    if args.list {
        scenes.iter().for_each(|scene| println!("{:>2} {:<14} {}", scene.number, scene.name, scene.title));
        return Ok(true);
    }
    in_directory(args.directory.as_deref(), async |directory: &Path| {
        let mut theatre =
            Theatre::new(directory, args.daemon.clone(), args.scripts.clone(), Duration::from_secs(args.outage));
        let failed = play(&mut theatre, &scenes).await?;
        theatre.close().await?;
        if failed > 0 && args.directory.is_none() {
            anyhow::bail!("{failed} scenes failed");
        }
        Ok(failed == 0)
    })
    .await
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<Scene>> {
    let all = all();
    if names.is_empty() {
        return Ok(all);
    }
    let find = |name: &String| {
        let scene = all.iter().find(|scene| scene.name == name || scene.number.to_string() == *name);
        scene.copied().ok_or_else(|| anyhow::anyhow!("there is no scene {name}: `hil-sim scenes --list` shows them"))
    };
    names.iter().map(find).collect()
}

/// Plays scenes and tells each; how many failed.
///
/// # Errors
/// If it is interrupted.
pub async fn play(theatre: &mut Theatre, scenes: &[Scene]) -> anyhow::Result<usize> {
    let begun = Instant::now();
    let [mut shown, mut partly, mut failed] = [0; 3];
    let limit = LIMIT + theatre.outage;
    for scene in scenes {
        let started = Instant::now();
        let mut played = tokio::select! {
            played = tokio::time::timeout(limit, (scene.play)(theatre)) => {
                played.unwrap_or_else(|_| Err(anyhow::anyhow!("it did not end within {limit:?}")))
            }
            () = interrupted() => anyhow::bail!("stopped in scene {}", scene.number),
        };
        if let Err(error) = theatre.check().await {
            played = played.and(Err(error));
        }
        let took = started.elapsed().as_millis();
        let head = |word: &str| println!("{:>2} {word:<9} {} ({took} ms)", scene.number, scene.title);
        match played {
            Ok(Outcome::Shown(lines)) => {
                head("shown");
                lines.iter().for_each(|line| println!("             {line}"));
                shown += 1;
            }
            Ok(Outcome::Partly(lines, without)) => {
                head("partly");
                lines.iter().for_each(|line| println!("             {line}"));
                println!("             NOT SHOWN: {without}");
                partly += 1;
            }
            Err(error) => {
                head("FAILED");
                println!("             {error:#}");
                failed += 1;
            }
        }
    }
    println!(
        "{} scenes: {shown} shown, {partly} partly, {failed} failed, in {} s",
        scenes.len(),
        begun.elapsed().as_secs()
    );
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_twenty_scenes_each_found_by_its_name_and_its_number() {
        assert_eq!(all().len(), 20);
        for scene in all() {
            for name in [scene.name.to_owned(), scene.number.to_string()] {
                assert_eq!(chosen(&[name]).expect("found")[0].title, scene.title);
            }
        }
        assert!(chosen(&["nothing".into()]).is_err());
    }
}
