//! Power cuts below the file system: every write to the disk is logged, and the disk is rebuilt as a cut would have left it.
//!
//! The store writes on ext4 on a loop device on a FUSE file (`nbdfuse`) on NBD on `qemu-storage-daemon` with its `blklogwrites` driver,
//! which logs writes and flushes in the order they came (format: the kernel's `dm-log-writes`). For a random place in that log, all
//! flushed writes are put on an image, and of those after the last flush all, none, or each 512-byte sector by chance (the two of
//! the superblock together). The image is mounted, which replays the journal of ext4, and the store is opened: everything acknowledged
//! before that place must be there.

use super::Verdict;
use super::trace::find;
use crate::prng::{PerMillion, Prng};
use anyhow::{Context as _, ensure};
use edge_daemon::store::{FILE_NAME, Store};
use forecourt::ids::{NozzleId, OrderId, StationId, UuidMaker};
use forecourt::ledger::Write;
use forecourt::order::ReleaseReason;
use forecourt::record::{OrderReleased, Record};
use forecourt::time::UtcTime;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DISK: u64 = 64 * 1024 * 1024;
const SECTOR: usize = 512;
/// The file system's superblock, which arrives whole or not at all: ext4 itself does not bear half of it (seed 2, 200 images: `e2fsck`
/// then takes an older copy and with it drops the journal), and a disk with sectors of 4 KiB never leaves half.
const SUPERBLOCK: std::ops::Range<u64> = 2..4;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const TOOLS: [&str; 7] = ["qemu-storage-daemon", "nbdfuse", "fusermount3", "losetup", "mkfs.ext4", "mount", "umount"];
/// What the helpers may take to be there.
const START: Duration = Duration::from_secs(10);

/// How many, and which way of writing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Images.
    #[arg(long, default_value_t = 300)]
    images: usize,
    /// Commits logged.
    #[arg(long, default_value_t = 200)]
    commits: u64,
    /// As the store writes, or the control that must lose commits.
    #[arg(long, value_enum, default_value_t = Mode::WalFull)]
    mode: Mode,
    /// Of the places and of the sectors.
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// How commits are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Mode {
    /// The store itself.
    WalFull,
    /// SQLite with a rollback journal, whose removal is not synced: the control.
    DeleteFull,
}

/// One write of the log.
#[derive(Clone, Copy, Debug)]
struct Entry {
    sector: u64,
    sectors: u64,
    flags: u64,
    data: u64,
}

/// Everything that must be taken down again, last first.
#[derive(Default)]
struct Rig {
    helpers: Vec<Child>,
    undo: Vec<Vec<String>>,
}

impl Rig {
    fn helper(&mut self, words: &[&str]) -> anyhow::Result<()> {
        let child = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        self.helpers.push(child.with_context(|| words[0].to_owned())?);
        Ok(())
    }

    fn undo_by(&mut self, words: &[&str]) {
        self.undo.push(words.iter().map(|word| (*word).to_owned()).collect());
    }

    fn down(&mut self) {
        while let Some(words) = self.undo.pop() {
            // What is down already cannot be taken down again.
            let _ = run_quietly(&words[0], &words[1..].iter().map(String::as_str).collect::<Vec<_>>());
        }
        for mut helper in self.helpers.drain(..).rev() {
            let begun = Instant::now();
            while matches!(helper.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(2) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = (helper.kill(), helper.wait());
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.down();
    }
}

fn run_quietly(program: &str, words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output().with_context(|| program.to_owned())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.success(), "{program} {}: {said}", words.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn wait_for(path: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !path.exists() {
        ensure!(begun.elapsed() < START, "{} does not appear", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Runs it.
///
/// # Errors
/// What could not be set up.
pub async fn run(args: &Args, directory: &Path) -> anyhow::Result<Verdict> {
    let missing: Vec<&str> = TOOLS.into_iter().filter(|tool| find(tool).is_none()).collect();
    if !missing.is_empty() {
        let why = format!("{} missing: apt-get install qemu-utils libnbd-bin fuse3 e2fsprogs", missing.join(", "));
        return Ok(Verdict::Skipped(why));
    }
    if !Path::new("/dev/fuse").exists() || !rustix::process::geteuid().is_root() {
        return Ok(Verdict::Skipped("loop devices and FUSE need root and /dev/fuse".into()));
    }
    let (acks, log) = match record(args, directory) {
        Ok(recorded) => recorded,
        Err(why) => return Ok(Verdict::Skipped(format!("the block devices cannot be set up here: {why:#}"))),
    };
    let entries = entries(&log)?;
    let flushes = entries.iter().filter(|entry| entry.flags & FLUSH != 0).count();
    let begun = Instant::now();
    let outcome = cut(args, directory, &log, &entries, &acks)?;
    let each = begun.elapsed().as_millis() / u128::try_from(args.images.max(1))?;
    let figures = format!(
        "{:?}: {} images from {} writes and {flushes} flushes of {} commits; {} lost a commit, {} could not be mounted; {each} ms each",
        args.mode,
        outcome.images,
        entries.len(),
        acks.len(),
        outcome.lost.len(),
        outcome.unmountable
    );
    match (args.mode, outcome.lost.is_empty()) {
        (Mode::WalFull, true) => Ok(Verdict::Held(figures)),
        (Mode::WalFull, false) => {
            Ok(Verdict::Broke([vec![figures], outcome.lost.into_iter().take(10).collect()].concat()))
        }
        (Mode::DeleteFull, false) => {
            Ok(Verdict::Held(format!("the control loses commits, so the rig sees losses: {figures}")))
        }
        (Mode::DeleteFull, true) => {
            Ok(Verdict::Broke(vec![format!("the control lost nothing, so the rig sees nothing: {figures}")]))
        }
    }
}

/// Writes commits on the logged disk. Gives, for each, how many entries the log had once it was acknowledged.
fn record(args: &Args, directory: &Path) -> anyhow::Result<(Vec<u64>, PathBuf)> {
    let at = |name: &str| directory.join(name);
    let log = at("log.raw");
    File::create(at("disk.raw"))?.set_len(DISK)?;
    File::create(&log)?.set_len(3 * 1024 * 1024 * 1024)?;
    std::fs::create_dir_all(at("mnt"))?;
    std::fs::create_dir_all(at("fuse"))?;
    let mut rig = Rig::default();
    let (socket, disk) = (text(&at("nbd.sock")), text(&at("disk.raw")));
    rig.helper(&[
        "qemu-storage-daemon",
        "--blockdev",
        &format!("driver=file,node-name=f0,filename={disk}"),
        "--blockdev",
        &format!("driver=file,node-name=l0,filename={}", text(&log)),
        "--blockdev",
        "driver=blklogwrites,node-name=lw,file=f0,log=l0,log-sector-size=512,log-super-update-interval=1",
        "--nbd-server",
        &format!("addr.type=unix,addr.path={socket},max-connections=1"),
        "--export",
        "type=nbd,id=e0,node-name=lw,writable=on,name=x",
    ])?;
    wait_for(&at("nbd.sock"))?;
    let (fuse, image, mount) = (text(&at("fuse")), text(&at("fuse/disk.img")), text(&at("mnt")));
    rig.helper(&["nbdfuse", "-C", "1", &image, &format!("nbd+unix:///x?socket={socket}")])?;
    rig.undo_by(&["fusermount3", "-u", "-z", &fuse]);
    wait_for(&at("fuse/disk.img"))?;
    let device = run_quietly("losetup", &["-f", "--show", &image])?;
    rig.undo_by(&["losetup", "-d", &device]);
    run_quietly("mkfs.ext4", &["-q", "-b", "4096", &device])?;
    run_quietly("mount", &[&device, &mount])?;
    rig.undo_by(&["umount", &mount]);
    let mut writer = Writer::open(&at("mnt"), args.mode)?;
    let mut acks = Vec::new();
    for number in 1..=args.commits {
        writer.commit(number)?;
        acks.push(entry_count(&log)?);
    }
    drop(writer);
    rig.down();
    Ok((acks, log))
}

/// Commits one record after the other.
enum Writer {
    Store(Box<Store>),
    Control(rusqlite::Connection),
}

impl Writer {
    fn open(directory: &Path, mode: Mode) -> anyhow::Result<Self> {
        let path = directory.join(FILE_NAME);
        match mode {
            Mode::WalFull => {
                let mut ids = UuidMaker::new([1; 32]);
                let (store, _) = Store::open_or_rescue(&path, &station()?, uuid::Uuid::nil(), &mut ids, now())?;
                Ok(Self::Store(Box::new(store)))
            }
            Mode::DeleteFull => {
                let connection = rusqlite::Connection::open(&path)?;
                connection.pragma_update(None, "journal_mode", "DELETE")?;
                connection.pragma_update(None, "synchronous", "FULL")?;
                connection
                    .execute_batch("CREATE TABLE event (sequence INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")?;
                Ok(Self::Control(connection))
            }
        }
    }

    fn commit(&mut self, number: u64) -> anyhow::Result<()> {
        match self {
            Self::Store(store) => {
                let released = OrderReleased {
                    order_id: OrderId::new(format!("o-{number}"))?,
                    nozzle: NozzleId(1),
                    reason: ReleaseReason::NoFlow,
                    at: now(),
                };
                let id = uuid::Uuid::from_u128(u128::from(number));
                let record = Box::new(Record::Released(released));
                store.apply(&[&[Write::Record { id, time: now(), record }]])?;
            }
            Self::Control(connection) => {
                let body = vec![b'x'; 600];
                connection.execute("INSERT INTO event VALUES (?1, ?2)", (i64::try_from(number)?, body))?;
            }
        }
        Ok(())
    }
}

fn station() -> anyhow::Result<StationId> {
    Ok(StationId::new("st-rig")?)
}

fn now() -> UtcTime {
    crate::platform::moment().utc
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn entry_count(log: &Path) -> anyhow::Result<u64> {
    let mut head = [0; 28];
    File::open(log)?.read_exact_at(&mut head, 0)?;
    Ok(word(&head, 16))
}

fn entries(log: &Path) -> anyhow::Result<Vec<Entry>> {
    let count = entry_count(log)?;
    let file = File::open(log)?;
    let mut at = SECTOR as u64;
    let mut entries = Vec::new();
    for _ in 0..count {
        let mut head = [0; 32];
        file.read_exact_at(&mut head, at)?;
        let data = at + SECTOR as u64;
        let entry = Entry { sector: word(&head, 0), sectors: word(&head, 8), flags: word(&head, 16), data };
        at = data + if entry.flags & DISCARD != 0 { 0 } else { entry.sectors * SECTOR as u64 };
        entries.push(entry);
    }
    Ok(entries)
}

#[derive(Default)]
struct Outcome {
    images: usize,
    lost: Vec<String>,
    unmountable: usize,
}

fn cut(args: &Args, directory: &Path, log: &Path, entries: &[Entry], acks: &[u64]) -> anyhow::Result<Outcome> {
    let log = File::open(log)?;
    let mut chance = Prng::new(args.seed);
    let first = acks.first().copied().unwrap_or(0).saturating_sub(20);
    let span = u64::try_from(entries.len())?.saturating_sub(first);
    let mut places: Vec<u64> = (0..args.images).map(|_| first + chance.below(span)).collect();
    places.sort_unstable();
    let mut durable = vec![0; usize::try_from(DISK)?];
    let mut pending: Vec<Entry> = Vec::new();
    let mut applied = 0;
    let mut outcome = Outcome::default();
    for (number, place) in places.into_iter().enumerate() {
        while applied < usize::try_from(place)? {
            let entry = entries[applied];
            applied += 1;
            if entry.flags & FLUSH != 0 {
                for written in pending.drain(..) {
                    put(&log, &written, &mut durable, |_| true)?;
                }
            }
            if entry.flags & FUA != 0 {
                put(&log, &entry, &mut durable, |_| true)?;
            } else if entry.sectors > 0 && entry.flags & DISCARD == 0 {
                pending.push(entry);
            }
        }
        let mut image = durable.clone();
        let half = PerMillion(500_000);
        for written in &pending {
            match number % 3 {
                0 => put(&log, written, &mut image, |_| true)?,
                1 => {}
                _ => {
                    let superblock = chance.chance(half);
                    put(&log, written, &mut image, |sector| {
                        if SUPERBLOCK.contains(&sector) { superblock } else { chance.chance(half) }
                    })?;
                }
            }
        }
        let acknowledged = acks.partition_point(|at| *at <= place);
        let path = directory.join("crash.raw");
        std::fs::write(&path, &image)?;
        outcome.images += 1;
        match look(&path, &directory.join("mnt"), args.mode) {
            Ok(there) if there >= u64::try_from(acknowledged)? => {}
            Ok(there) => outcome.lost.push(format!("after write {place}: {there} of {acknowledged} commits")),
            Err(Seen::Unmountable(_)) if acknowledged == 0 => outcome.unmountable += 1,
            Err(Seen::Unmountable(why)) => {
                // As a boot does with the data partition.
                let repaired = run_quietly("e2fsck", &["-fy", &text(&path)]);
                outcome.unmountable += 1;
                let still = match look(&path, &directory.join("mnt"), args.mode) {
                    Ok(there) if there >= u64::try_from(acknowledged)? => continue,
                    Ok(there) => format!("{there} of {acknowledged} commits"),
                    Err(Seen::Unmountable(why) | Seen::Store(why)) => why,
                };
                let e2fsck = repaired.map_or_else(|why| format!("e2fsck: {why:#}"), |_| "e2fsck mended it".into());
                outcome.lost.push(format!("after write {place}: {why}; {e2fsck}; then: {still}"));
            }
            Err(Seen::Store(_)) if acknowledged == 0 => {}
            Err(Seen::Store(why)) => outcome.lost.push(format!("after write {place}: {acknowledged} commits, {why}")),
        }
    }
    Ok(outcome)
}

/// Puts a write on an image, each sector of the disk where `arrives` says so.
fn put(log: &File, entry: &Entry, image: &mut [u8], mut arrives: impl FnMut(u64) -> bool) -> anyhow::Result<()> {
    let mut sector = [0; SECTOR];
    for number in 0..entry.sectors {
        if arrives(entry.sector + number) {
            log.read_exact_at(&mut sector, entry.data + number * SECTOR as u64)?;
            let at = usize::try_from(entry.sector + number)? * SECTOR;
            if let Some(place) = image.get_mut(at..at + SECTOR) {
                place.copy_from_slice(&sector);
            }
        }
    }
    Ok(())
}

enum Seen {
    Unmountable(String),
    Store(String),
}

/// How many commits are there once the disk is mounted again.
fn look(image: &Path, mount: &Path, mode: Mode) -> Result<u64, Seen> {
    let mut rig = Rig::default();
    let unmountable = |why: anyhow::Error| Seen::Unmountable(format!("{why:#}"));
    let device = run_quietly("losetup", &["-f", "--show", &text(image)]).map_err(unmountable)?;
    rig.undo_by(&["losetup", "-d", &device]);
    run_quietly("mount", &[&device, &text(mount)]).map_err(unmountable)?;
    rig.undo_by(&["umount", &text(mount)]);
    let path = mount.join(FILE_NAME);
    if !path.exists() {
        return Ok(0);
    }
    count(&path, mode).map_err(|why| Seen::Store(format!("{why:#}")))
}

fn count(path: &Path, mode: Mode) -> anyhow::Result<u64> {
    if mode == Mode::DeleteFull {
        let connection = rusqlite::Connection::open(path)?;
        let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        ensure!(sound == "ok", "{sound}");
        let count: i64 = connection.query_row("SELECT count(*) FROM event", [], |row| row.get(0))?;
        return Ok(u64::try_from(count)?);
    }
    let mut ids = UuidMaker::new([2; 32]);
    let (store, rescued) = Store::open_or_rescue(path, &station()?, uuid::Uuid::nil(), &mut ids, now())?;
    // A power cut is no damage: the store must not be taken for a damaged one.
    ensure!(rescued.is_none(), "taken for damaged: {:?}", rescued.map(|rescued| rescued.troubles));
    let report = store.verify_chain()?;
    ensure!(report.broken.is_none(), "{:?}", report.broken);
    Ok(report.good)
}
