//! A directory to work in, removed when all went well and kept when there is something to look at; and the wish to end.

use anyhow::Context as _;
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};

/// Works in `given`, which is made and kept, or in a new directory that is kept only if the work fails.
///
/// # Errors
/// Those of the work, or if there is no directory.
pub async fn in_directory<T>(
    given: Option<&Path>,
    work: impl AsyncFnOnce(&Path) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if let Some(given) = given {
        std::fs::create_dir_all(given).with_context(|| format!("directory {}", given.display()))?;
        return work(&std::path::absolute(given)?).await;
    }
    let temporary = tempfile::Builder::new().prefix("forecourt-").tempdir().context("a directory to work in")?;
    let done = work(temporary.path()).await;
    if done.is_err() {
        eprintln!("configuration, store and logs are kept in {}", temporary.keep().display());
    }
    done
}

/// Waits until somebody wants this process to end: Ctrl-C, SIGTERM, or the terminal gone. From the first call on these signals
/// no longer end it by themselves, so that the daemon is never left behind.
pub async fn interrupted() {
    let on = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => signals.recv().await,
            // Without a handler the signal still does what it always did.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = on(SignalKind::interrupt()) => {}
        _ = on(SignalKind::terminate()) => {}
        _ = on(SignalKind::hangup()) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[tokio::test]
    async fn only_what_failed_is_kept() {
        let mut used = PathBuf::new();
        let good = in_directory(None, async |path: &Path| Ok(path.to_owned())).await.expect("good");
        assert!(!good.exists());
        let bad: anyhow::Result<()> = in_directory(None, async |path: &Path| {
            used = path.to_owned();
            anyhow::bail!("as it happens")
        })
        .await;
        assert!(bad.is_err() && used.is_dir());
        let given = used.join("given");
        in_directory(Some(&given), async |_: &Path| Ok(())).await.expect("good");
        assert!(given.is_dir(), "a given directory stays");
        std::fs::remove_dir_all(used).expect("removed");
    }
}
