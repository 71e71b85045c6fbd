//! Names of serial ports that last. The kernel numbers `/dev/ttyUSB0` and its like in the order in which adapters are found: two of them may
//! have changed places after a restart, or after somebody touched a cable. udev keeps links beside them that belong to one adapter
//! (`by-id`, from its maker and serial number) or to one socket (`by-path`).

use std::path::{Path, PathBuf};

/// Where udev keeps its links, the better kind first.
const LINKS: [&str; 2] = ["/dev/serial/by-id", "/dev/serial/by-path"];

/// The name of a port that lasts. `None` where it is one already, or none is known here.
#[must_use]
pub fn lasting_name(port: &Path) -> Option<PathBuf> {
    LINKS.iter().find_map(|links| link_to(port, Path::new(links)))
}

/// Whether a port has a name that belongs to the next adapter that takes its number.
#[must_use]
pub fn is_numbered(port: &Path) -> bool {
    let name = port.to_str().unwrap_or_default();
    ["/dev/ttyUSB", "/dev/ttyACM"].iter().any(|numbered| name.starts_with(numbered))
}

/// The link in a directory that leads to a port; the first by name where there are two.
fn link_to(port: &Path, links: &Path) -> Option<PathBuf> {
    if port.parent() == Some(links) {
        return None;
    }
    let device = std::fs::canonicalize(port).ok()?;
    let mut found: Vec<PathBuf> = std::fs::read_dir(links)
        .ok()?
        .flatten()
        .map(|link| link.path())
        .filter(|link| std::fs::canonicalize(link).is_ok_and(|target| target == device))
        .collect();
    found.sort();
    found.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_link_that_leads_to_a_port_is_found_and_a_link_is_left_alone() {
        let home = tempfile::tempdir().expect("a directory");
        let (links, port) = (home.path().join("by-id"), home.path().join("ttyUSB7"));
        std::fs::create_dir(&links).expect("made");
        std::fs::write(&port, "").expect("made");
        std::fs::write(home.path().join("ttyUSB8"), "").expect("made");
        symlink("../ttyUSB8", links.join("usb-a-other-if00")).expect("linked");
        symlink("../ttyUSB9", links.join("usb-b-gone-if00")).expect("linked");
        assert_eq!(link_to(&port, &links), None);
        symlink("../ttyUSB7", links.join("usb-FTDI_FT232R_A1-if00")).expect("linked");
        assert_eq!(link_to(&port, &links), Some(links.join("usb-FTDI_FT232R_A1-if00")));
        assert_eq!(link_to(&links.join("usb-FTDI_FT232R_A1-if00"), &links), None);
        assert_eq!(link_to(&home.path().join("ttyUSB9"), &links), None, "a port that is not there");
    }

    #[test]
    fn only_names_that_count_are_numbered() {
        assert!(is_numbered(Path::new("/dev/ttyUSB0")) && is_numbered(Path::new("/dev/ttyACM12")));
        for lasting in ["/dev/ttyS0", "/dev/serial/by-id/usb-x", "/dev/pts/3", "/tmp/pumps"] {
            assert!(!is_numbered(Path::new(lasting)), "{lasting}");
        }
    }
}
