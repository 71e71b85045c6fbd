//! Records found in the bytes of a damaged file, wherever they lie: each proves itself by its own hash.

use cloud_sync::wire::chain::{self, Proven};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A record as stored begins so: the members of its canonical form are in the order of their names.
const BEGINS: &[u8] = b"{\"bootid\":\"";
/// Longest record looked for. Longer ones are spread over pages that need not lie side by side.
const LONGEST: usize = 8 * 1024;
/// Read at once.
const CHUNK: usize = 4 * 1024 * 1024;

/// Hands over every record in the file that proves itself, in the order they lie there; the same record may come several times.
/// `wanted` says by its sequence whether a record is worth the proof.
///
/// # Errors
/// Where the file cannot be read; what was handed over before stands.
pub(super) fn carve(
    path: &Path,
    mut wanted: impl FnMut(u64) -> bool,
    mut take: impl FnMut(Proven, &[u8]),
) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let mut window: Vec<u8> = Vec::with_capacity(CHUNK + LONGEST);
    loop {
        let read = file.by_ref().take(CHUNK as u64).read_to_end(&mut window)?;
        let ended = read < CHUNK;
        // A record that begins in the last part may go on in the next chunk.
        let until = if ended { window.len() } else { window.len() - LONGEST };
        let mut at = 0;
        while let Some(found) = find(window.get(at..until).unwrap_or_default(), &window[at.min(window.len())..]) {
            let begin = at + found;
            let rest = &window[begin..window.len().min(begin + LONGEST)];
            at = begin + BEGINS.len();
            if sequence_in(rest).is_some_and(&mut wanted)
                && let Some(length) = json_length(rest)
                && let Ok(proven) = chain::prove(&rest[..length])
            {
                take(proven, &rest[..length]);
            }
        }
        if ended {
            return Ok(());
        }
        window.drain(..until);
    }
}

/// The first place within `starts` where a record begins; it may reach beyond.
fn find(starts: &[u8], all: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(brace) = starts.get(from..)?.iter().position(|byte| *byte == BEGINS[0]) {
        let at = from + brace;
        if all[at..].starts_with(BEGINS) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// The sequence that a record names, without reading the whole of it.
fn sequence_in(bytes: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"\"sequence\":\"";
    let at = bytes.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    std::str::from_utf8(bytes.get(at..at + 12)?).ok().and_then(chain::read_sequence)
}

fn json_length(bytes: &[u8]) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<serde::de::IgnoredAny>();
    values.next()?.ok()?;
    Some(values.byte_offset())
}
