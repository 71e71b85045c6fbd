//! The shell over a pty: odd parity is not kept there and must not matter; a missing port is reported and tried again.

mod common;

use common::{fast, head};
use core::time::Duration;
use forecourt::time::Instant;
use pump_drivers::dart::{DartDriver, Habits};
use pump_drivers::driver::Driver;
use pump_drivers::line::{Line, TraceFrame};
use pump_drivers::port::{LineReport, LineTask, Parity, SerialSettings, TraceSink, Transport, run};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};
use tokio_serial::{SerialPort, SerialStream};

struct Nowhere;

impl TraceSink for Nowhere {
    fn take(&self, _frame: TraceFrame) {}
}

#[tokio::test]
async fn a_missing_port_is_reported_and_used_once_it_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path: PathBuf = folder.path().join("pumps");
    let (commands, commands_in) = mpsc::channel(4);
    let (reports_out, mut reports) = mpsc::channel(4);
    let line = Line::new(fast(), vec![Box::new(DartDriver::new(head(), Habits::default())) as Box<dyn Driver>]);
    let (statistics, _) = watch::channel(line.statistics());
    let began = std::time::Instant::now();
    let transport =
        Transport::Serial(SerialSettings { path: path.clone(), baud: 9_600, parity: Parity::Odd, rs485: true });
    let running = tokio::spawn(run(LineTask {
        transport,
        line,
        clock: Arc::new(move || Instant::from_micros(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX))),
        commands: commands_in,
        reports: reports_out,
        trace: Arc::new(Nowhere),
        statistics,
    }));
    let down = reports.recv().await;
    assert!(
        matches!(&down, Some(LineReport::Link { up: false, detail }) if detail.contains("cannot open")),
        "{down:?}"
    );
    let (mut pump_side, line_side) = SerialStream::pair().expect("a pty");
    std::os::unix::fs::symlink(line_side.name().expect("a name"), &path).expect("a link");
    // an exclusive port opens once only
    drop(line_side);
    let up = tokio::time::timeout(Duration::from_secs(10), reports.recv()).await.expect("in time");
    assert!(matches!(up, Some(LineReport::Link { up: true, .. })), "{up:?}");
    let mut frame = [0; 3];
    tokio::time::timeout(Duration::from_secs(5), pump_side.read_exact(&mut frame))
        .await
        .expect("in time")
        .expect("read");
    assert_eq!(frame, [0x57, 0x20, 0xFA]);
    drop(commands);
    tokio::time::timeout(Duration::from_secs(5), running).await.expect("it ends").expect("no panic");
}
