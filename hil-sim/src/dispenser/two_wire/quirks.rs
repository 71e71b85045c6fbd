//! In what two-wire heads differ (two-wire sheet, sections 9, 11 and 14).

/// The character of a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a table of habits, one line each")]
pub struct Quirks {
    /// Six digits of price, eight of volume and money, twelve of totals.
    pub large: bool,
    /// Shows 8 between an authorise and the first fuel; else 9 at once, as captured.
    pub shows_authorised: bool,
    /// Shows B for one poll when the handle is hung up after a sale.
    pub shows_final_end: bool,
    /// A zero sale overwrites the record with zeros; else the previous sale stays there.
    pub records_zero_sale: bool,
    /// An authorise lets a stopped sale go on.
    pub resumes: bool,
    /// A preset outlives a hang-up.
    pub keeps_preset: bool,
    /// Does nothing on stop.
    pub ignores_stop: bool,
    /// Refuses a block with a wrong length word.
    pub checks_length: bool,
    /// So many answers after a sale its totals are still the old ones.
    pub late_totals: u8,
    /// Counts its totals up only when the handle is in.
    pub held_totals: bool,
    /// So many answers after a sale its record is still the old one.
    pub late_record: u8,
    /// Refuses every preset, as a head does that takes it in another form.
    pub refuses_presets: bool,
    /// Decimals of volume totals in litres.
    pub totals_decimals: u8,
    /// Decimals of a volume preset in litres.
    pub preset_decimals: u8,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            large: false,
            shows_authorised: false,
            shows_final_end: true,
            records_zero_sale: true,
            resumes: false,
            keeps_preset: false,
            ignores_stop: false,
            checks_length: true,
            late_totals: 0,
            held_totals: false,
            late_record: 0,
            refuses_presets: false,
            totals_decimals: 2,
            preset_decimals: 2,
        }
    }
}
