//! Scenarios that are there, by name.

/// A scenario that needs no file.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// What it is called.
    pub name: &'static str,
    /// Its text, to be copied and changed.
    pub toml: &'static str,
}

/// All of them.
pub fn ready() -> &'static [Ready] {
    const READY: &[Ready] = &[
        Ready {
            name: "chaos",
            toml: include_str!("../../scenarios/chaos.toml"),
        },
        Ready {
            name: "bad-links",
            toml: include_str!("../../scenarios/bad-links.toml"),
        },
        Ready {
            name: "sleepers",
            toml: include_str!("../../scenarios/sleepers.toml"),
        },
        Ready {
            name: "power-cut",
            toml: include_str!("../../scenarios/power-cut.toml"),
        },
        Ready {
            name: "intruders",
            toml: include_str!("../../scenarios/intruders.toml"),
        },
    ];
    READY
}
