//! Names the commit in a release build: `FORECOURT_COMMIT` where it is given, else what git says, else nothing.
//!
//! Other builds name none, so that a commit does not compile the daemon and its tests anew.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=FORECOURT_COMMIT");
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    // a given name is read by the compiler itself
    if !is_release || std::env::var_os("FORECOURT_COMMIT").is_some() {
        return;
    }
    for changes in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", changes]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo::rustc-env=FORECOURT_COMMIT={commit}");
    }
}

/// What git prints, or `None` without git or outside a checkout.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
