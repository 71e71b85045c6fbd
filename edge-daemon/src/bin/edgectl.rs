//! `edgectl`: see [`edge_daemon::ctl`].

use std::process::ExitCode;

fn main() -> ExitCode {
    edge_daemon::ctl::main()
}
