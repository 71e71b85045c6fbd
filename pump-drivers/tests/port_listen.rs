//! The shell of a line that only listens: nothing leaves it, whatever it is told.

mod common;

use common::{FP, NOZZLE, head, hex, order, price};
use core::time::Duration;
use forecourt::pump::{Preset, PumpCommand, PumpEvent, Token};
use forecourt::time::Instant;
use forecourt::units::Volume;
use pump_drivers::dart::DartEar;
use pump_drivers::line::{LineSettings, TraceFrame};
use pump_drivers::listen::Listener;
use pump_drivers::port::{LineReport, LineTask, Parity, SerialSettings, TraceSink, Transport, listen};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_serial::{SerialPort, SerialStream};

struct Nowhere;

impl TraceSink for Nowhere {
    fn take(&self, _frame: TraceFrame) {}
}

const SOON: Duration = Duration::from_secs(10);

/// The other end of the wire says a fuelling; the line is told everything the core can say; no byte may come back.
async fn nothing_leaves(transport: Transport, other: impl Future<Output = impl AsyncRead + AsyncWrite + Unpin>) {
    let (commands, commands_in) = mpsc::channel(16);
    let (reports_out, mut reports) = mpsc::channel(16);
    let settings = LineSettings::default();
    let line = Listener::new(settings, Box::new(DartEar::new(settings, vec![head()])));
    let (statistics, _) = watch::channel(line.statistics());
    let began = std::time::Instant::now();
    let running = tokio::spawn(listen(LineTask {
        transport,
        line,
        clock: Arc::new(move || Instant::from_micros(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX))),
        commands: commands_in,
        reports: reports_out,
        trace: Arc::new(Nowhere),
        statistics,
    }));
    let mut other = tokio::time::timeout(SOON, other).await.expect("in time");
    let up = tokio::time::timeout(SOON, reports.recv()).await.expect("in time");
    assert!(matches!(up, Some(LineReport::Link { up: true, .. })), "{up:?}");
    for frame in ["57 20 FA", "57 37 01 01 04 03 04 01 05 00 11 02 08 00 00 03 10 00 03 25 50 01 3C 03 FA", "57 C7 FA"]
    {
        other.write_all(&hex(frame)).await.expect("written");
    }
    let heard = tokio::time::timeout(SOON, reports.recv()).await.expect("in time");
    let fuelling = matches!(&heard, Some(LineReport::Pump(from)) if matches!(from.event, PumpEvent::Snapshot(_)));
    assert!(fuelling, "{heard:?}");
    let words = [
        order(1, Preset::Volume(Volume::new(20_000))),
        PumpCommand::Stop,
        PumpCommand::Withdraw,
        PumpCommand::Stored(Token(1)),
        PumpCommand::SetPrices([(NOZZLE, price(9_000))].into()),
        PumpCommand::Examine,
    ];
    for word in words {
        commands.send((FP, word)).await.expect("it lives");
    }
    // All words were taken once the authorise among them is refused.
    loop {
        let report = tokio::time::timeout(SOON, reports.recv()).await.expect("in time").expect("it lives");
        if matches!(report, LineReport::Pump(from) if matches!(from.event, PumpEvent::Refused { .. })) {
            break;
        }
    }
    drop(commands);
    tokio::time::timeout(SOON, running).await.expect("it ends").expect("no panic");
    let mut left = Vec::new();
    // A pty whose last user is gone gives an error, a connection its end.
    let _gone = tokio::time::timeout(SOON, other.read_to_end(&mut left)).await.expect("the wire is let go");
    assert_eq!(left, Vec::<u8>::new());
}

#[tokio::test]
async fn no_byte_leaves_a_serial_port_that_is_opened_to_listen() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pumps");
    let (other, line_side) = SerialStream::pair().expect("a pty");
    std::os::unix::fs::symlink(line_side.name().expect("a name"), &path).expect("a link");
    let transport = Transport::Serial(SerialSettings { path, baud: 9_600, parity: Parity::Odd, rs485: false });
    drop(line_side);
    nothing_leaves(transport, async { other }).await;
}

#[tokio::test]
async fn no_byte_leaves_a_device_server_that_is_opened_to_listen() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let transport = Transport::Tcp(listener.local_addr().expect("bound").to_string());
    nothing_leaves(transport, async { listener.accept().await.expect("the line connects").0 }).await;
}
