//! A signed order as a QR code, to be shown to a station whose uplink is down (the contract, section 2).

use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

/// The text does not fit into a QR code.
#[derive(Debug, thiserror::Error)]
#[error("{bytes} bytes do not fit into a QR code (at most 2953): the order's context is too large to be shown")]
pub struct TooLong {
    bytes: usize,
}

/// The text as an SVG picture of a QR code (ISO/IEC 18004, level L: an order is long, a screen is clean), black on white with its quiet
/// zone, without a size of its own.
pub fn svg(text: &str) -> Result<String, TooLong> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).map_err(|_| TooLong { bytes: text.len() })?;
    Ok(code
        .render::<svg::Color<'_>>()
        .min_dimensions(1, 1)
        .quiet_zone(true)
        .dark_color(svg::Color("#000"))
        .light_color(svg::Color("#fff"))
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_becomes_a_picture_and_a_novel_does_not() {
        let picture = svg(&"e".repeat(1_100)).expect("an order fits");
        assert!(picture.contains("<svg") && picture.contains("viewBox"));
        // Version 24 holds 1,171 bytes at level L: 113 modules and four of quiet zone on each side.
        assert!(picture.contains("viewBox=\"0 0 121 121\""), "{}", &picture[..200]);
        assert!(svg(&"e".repeat(3_000)).expect_err("too long").to_string().contains("3000 bytes"));
    }
}
