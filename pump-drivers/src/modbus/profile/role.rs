//! What a point is for, by the word of the profile.

/// In which unit a point counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    /// Millilitres: `unit = "ml"`.
    Millilitres,
    /// Minor units of the currency: `unit = "minor"`.
    Minor,
    /// Millionths of the major unit for a litre: `unit = "micros"`.
    Micros,
    /// A bare number or a word.
    Plain,
}

impl Unit {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Millilitres => "ml",
            Self::Minor => "minor",
            Self::Micros => "micros",
            Self::Plain => "",
        }
    }
}

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $unit:ident, [$($value:literal),*];)*) => {
        /// What a point is for.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Role {
            $($(#[$doc])* $name,)*
        }

        impl Role {
            pub(super) const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word of the profile.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            pub(super) const fn unit(self) -> Unit {
                match self {
                    $(Self::$name => Unit::$unit,)*
                }
            }

            /// The words that its counts may stand for; none where it is a number.
            pub(super) const fn words(self) -> &'static [&'static str] {
                match self {
                    $(Self::$name => &[$($value),*],)*
                }
            }
        }
    };
}

roles! {
    /// What the dispenser does.
    State = "state", Plain, ["idle", "calling", "authorised", "fuelling", "paused", "finished", "fault"];
    /// Logical number of the nozzle that is out, 0 for none.
    Nozzle = "nozzle", Plain, [];
    /// Volume of the running or last fuelling.
    Volume = "volume", Millilitres, [];
    /// Amount of the running or last fuelling.
    Amount = "amount", Minor, [];
    /// Price in force for the nozzle that is out.
    Price = "price", Micros, [];
    /// Whether the limit is a volume or an amount.
    PresetKind = "preset-kind", Plain, ["volume", "amount"];
    /// The limit, counted as `volume` or `amount` count.
    PresetValue = "preset-value", Plain, [];
    /// Price to be charged, written before a release.
    SetPrice = "set-price", Micros, [];
    /// What it is to do; an edge counts.
    Command = "command", Plain, ["authorise", "stop", "pause", "resume", "release"];
    /// What became of the command.
    CommandResult = "command-result", Plain, ["pending", "done", "refused"];
    /// Number of the last sale.
    SaleSequence = "sale-sequence", Plain, [];
    /// Volume of the last sale.
    SaleVolume = "sale-volume", Millilitres, [];
    /// Amount of the last sale.
    SaleAmount = "sale-amount", Minor, [];
    /// Price of the last sale.
    SalePrice = "sale-price", Micros, [];
    /// Number of the sale that was acknowledged.
    SaleAck = "sale-ack", Plain, [];
    /// Volume totaliser of the first nozzle.
    TotalVolume = "total-volume", Millilitres, [];
    /// Volume totaliser of the second nozzle.
    TotalVolume2 = "total-volume-2", Millilitres, [];
    /// Volume totaliser of the third nozzle.
    TotalVolume3 = "total-volume-3", Millilitres, [];
    /// Volume totaliser of the fourth nozzle.
    TotalVolume4 = "total-volume-4", Millilitres, [];
    /// Amount totaliser.
    TotalAmount = "total-amount", Minor, [];
    /// The dispenser's own fault, 0 for none.
    ErrorCode = "error-code", Plain, [];
    /// A counter that runs while the device has power and begins anew with it.
    Heartbeat = "heartbeat", Plain, [];
    /// A value that tells the right device: `expect` says which.
    Identity = "identity", Plain, [];
    /// A number that changes whenever live values do: it guards values that do not fit one request.
    Guard = "guard", Plain, [];
    /// Pulses of a meter, never reset.
    PulseCounter = "pulse-counter", Millilitres, [];
    /// Spare register in which the controller counts the counter's overflows.
    PulseOverflow = "pulse-overflow", Plain, [];
    /// Relay of the main valve, energised to open.
    ValveMain = "valve-main", Plain, [];
    /// Relay of the slow-flow valve.
    ValveSlow = "valve-slow", Plain, [];
    /// Relay that enables the pump.
    PumpEnable = "pump-enable", Plain, [];
    /// Input of the nozzle's switch, on while it is lifted.
    NozzleSwitch = "nozzle-switch", Plain, [];
    /// Input that shows the emergency stop; seen, never caused.
    EsdTripped = "esd-tripped", Plain, [];
    /// Input that shows that the valve's contactor has moved.
    ContactorFeedback = "contactor-feedback", Plain, [];
    /// Relay of a light.
    Light = "light", Plain, [];
    /// Relay of a buzzer.
    Buzzer = "buzzer", Plain, [];
}

impl Role {
    /// The totaliser of each logical nozzle, the first first.
    pub const TOTALS: [Self; 4] = [Self::TotalVolume, Self::TotalVolume2, Self::TotalVolume3, Self::TotalVolume4];
    /// What tells how a fuelling goes, with the number of the last sale.
    pub const LIVE: [Self; 7] =
        [Self::State, Self::Nozzle, Self::Volume, Self::Amount, Self::Price, Self::SaleSequence, Self::ErrorCode];
    /// The record of the last sale.
    pub const SALE: [Self; 4] = [Self::SaleSequence, Self::SaleVolume, Self::SaleAmount, Self::SalePrice];

    /// Whether the controller writes it.
    pub(super) const fn is_written(self) -> bool {
        matches!(
            self,
            Self::PresetKind
                | Self::PresetValue
                | Self::SetPrice
                | Self::Command
                | Self::SaleAck
                | Self::PulseOverflow
                | Self::ValveMain
                | Self::ValveSlow
                | Self::PumpEnable
                | Self::Light
                | Self::Buzzer
        )
    }

    /// Whether it is on or off.
    pub(super) const fn is_bit(self) -> bool {
        matches!(
            self,
            Self::ValveMain
                | Self::ValveSlow
                | Self::PumpEnable
                | Self::NozzleSwitch
                | Self::EsdTripped
                | Self::ContactorFeedback
                | Self::Light
                | Self::Buzzer
        )
    }
}
