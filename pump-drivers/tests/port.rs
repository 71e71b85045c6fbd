//! The shell over real sockets: a device server that comes late, goes and comes back.

mod common;

use common::{Device, FP, Pump, fast, head};
use core::time::Duration;
use forecourt::pump::{FromPump, PumpCommand, PumpEvent};
use forecourt::time::Instant;
use pump_drivers::dart::frame::STOP_FLAG;
use pump_drivers::dart::{DartDriver, Habits};
use pump_drivers::driver::Driver;
use pump_drivers::line::{Line, TraceFrame};
use pump_drivers::port::{LineReport, LineTask, TraceSink, Transport, run};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

#[derive(Default)]
struct Counter(AtomicUsize);

impl TraceSink for Counter {
    fn take(&self, _frame: TraceFrame) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Answers for a pump until `frames` frames were heard.
async fn serve(mut stream: TcpStream, pump: &mut Pump, frames: usize) {
    let mut frame = Vec::new();
    let mut heard = 0;
    while heard < frames {
        let Ok(byte) = stream.read_u8().await else { return };
        frame.push(byte);
        let escaped = frame.len() > 3 && frame[1] >> 4 == 3 && frame[frame.len() - 2] != 3;
        if byte == STOP_FLAG && !escaped {
            heard += 1;
            if let Some(answer) = pump.hear(&core::mem::take(&mut frame)) {
                stream.write_all(&answer).await.expect("the line listens");
            }
        }
    }
}

#[tokio::test]
async fn a_device_server_that_goes_is_reported_and_connected_again_and_the_pump_read_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let (commands, commands_in) = mpsc::channel(16);
    let (reports_out, mut reports) = mpsc::channel(16);
    let trace = Arc::new(Counter::default());
    let line = Line::new(fast(), vec![Box::new(DartDriver::new(head(), Habits::default())) as Box<dyn Driver>]);
    let (statistics, _) = watch::channel(line.statistics());
    let began = std::time::Instant::now();
    let clock = Arc::new(move || Instant::from_micros(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)));
    let sink: Arc<dyn TraceSink> = trace.clone();
    let task = LineTask {
        transport: Transport::Tcp(address),
        line,
        clock,
        commands: commands_in,
        reports: reports_out,
        trace: sink,
        statistics,
    };
    let running = tokio::spawn(run(task));
    let pump = tokio::spawn(async move {
        let mut pump = Pump::new(0x57);
        for frames in [60, usize::MAX] {
            let (stream, _) = listener.accept().await.expect("the line connects");
            serve(stream, &mut pump, frames).await;
        }
    });
    let mut seen = Vec::new();
    let story = async {
        while seen.len() < 6 {
            let report = reports.recv().await.expect("the task lives");
            match report {
                LineReport::Link { up, .. } => seen.push(if up { "up" } else { "down" }),
                LineReport::Pump(FromPump { event: PumpEvent::Lost, .. }) => seen.push("lost"),
                LineReport::Pump(FromPump { event: PumpEvent::Snapshot(snapshot), .. }) => {
                    seen.push("snapshot");
                    commands.send((FP, PumpCommand::Stored(snapshot.token))).await.expect("the task lives");
                }
                LineReport::Pump(_) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), story).await.expect("in time");
    seen[2..4].sort_unstable();
    assert_eq!(seen, ["up", "snapshot", "down", "lost", "up", "snapshot"]);
    assert!(trace.0.load(Ordering::Relaxed) > 60);
    drop(commands);
    tokio::time::timeout(Duration::from_secs(5), running).await.expect("it ends when the core does").expect("no panic");
    pump.abort();
}
