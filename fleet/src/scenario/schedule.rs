//! Who does what, and when: a pure function of the scenario, the number of devices and the seed.
//!
//! Every device draws from chance of its own, so that one more event for one device moves nothing
//! of another's.

use super::{Chance, Cycle, Event, Group, Pace, Scenario, What, When};
use provisioning::RotationStage;
use std::time::Duration;

/// All that is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// For each device.
    pub devices: Vec<Script>,
    /// For the broker, in order.
    pub broker: Vec<BrokerStep>,
}

/// All that one device is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The place of its group in the scenario.
    pub group: usize,
    /// In order.
    pub steps: Vec<Step>,
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, since the beginning.
    pub at: Duration,
    /// What.
    pub action: Action,
}

/// What a device may have to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect: for the first time, or after a sleep.
    Come,
    /// Say something.
    Publish,
    /// Be told something.
    Command,
    /// Leave.
    Sleep,
    /// Come from another address.
    Roam,
    /// Undergo this, for so long where it lasts.
    Undergo(What, Duration),
}

/// One thing to happen to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerStep {
    /// When, since the beginning.
    pub at: Duration,
    /// What.
    pub change: Change,
}

/// What may happen to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It ends, and starts again after this time.
    Ends(Outage, Duration),
    /// The authorities that follow those it trusts come to this stage.
    Rotates(RotationStage),
}

/// How a broker may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// In good order.
    Stop,
    /// Without a word.
    Kill,
}

/// What is drawn for a rotation moves nothing else.
const ROTATION: u64 = 0x5707_a7e5;

/// Between the end of a device's ramp and its first event at a rate.
const CALM: Duration = Duration::from_millis(500);

impl Schedule {
    /// For so many devices.
    pub fn new(scenario: &Scenario, devices: u32, seed: u64) -> Self {
        let count = usize::try_from(devices).unwrap_or(usize::MAX);
        let mut scripts: Vec<_> = groups(scenario, count, seed)
            .into_iter()
            .zip(0..)
            .map(|(group, number)| script(scenario, (group, number), (devices, seed)))
            .collect();
        let events = scenario.events.iter().zip(1..);
        for (event, number) in events.filter(|(event, _)| !event.what.befalls_broker()) {
            let mut chance = Chance::of(seed, u64::MAX - number);
            for index in befallen(count, event.share, &mut chance) {
                if let Some(script) = scripts.get_mut(index) {
                    befall(script, event, (scenario, &mut chance));
                }
            }
        }
        for event in rotations(scenario) {
            for (script, number) in scripts.iter_mut().zip(0..) {
                let chance = Chance::of(seed ^ ROTATION, number);
                follow(script, event, (scenario, chance));
            }
        }
        for script in &mut scripts {
            script.steps.sort_by_key(|step| step.at);
        }
        Self {
            devices: scripts,
            broker: broker_steps(scenario, seed),
        }
    }
}

/// The group of each device, in exact shares and any order.
fn groups(scenario: &Scenario, devices: usize, seed: u64) -> Vec<usize> {
    let mut groups = Vec::with_capacity(devices);
    let mut share = 0;
    for (index, group) in scenario.groups.iter().enumerate() {
        share += usize::try_from(group.share).unwrap_or_default();
        groups.resize((devices * share).div_ceil(100).min(devices), index);
    }
    groups.resize(devices, 0);
    Chance::of(seed, u64::MAX).shuffle(&mut groups);
    groups
}

/// What a device does of its own.
fn script(scenario: &Scenario, (group, number): (usize, u32), of: (u32, u64)) -> Script {
    let (devices, seed) = of;
    let mut chance = Chance::of(seed, number.into());
    // Evenly, each anywhere in its part of the ramp.
    let part = scenario.ramp / devices.max(1);
    let begin = part * number + chance.up_to(part);
    let come = Step {
        at: begin,
        action: Action::Come,
    };
    let mut script = Script {
        group,
        steps: vec![come],
    };
    if let Some(group) = scenario.groups.get(group) {
        behave(&mut script, group, (begin..scenario.length, &mut chance));
    }
    script
}

fn behave(script: &mut Script, group: &Group, of: (std::ops::Range<Duration>, &mut Chance)) {
    let (time, chance) = of;
    let paced = [
        (group.telemetry, Action::Publish),
        (group.commands, Action::Command),
        (group.roam, Action::Roam),
    ];
    for (pace, action) in paced {
        if let Some(Pace { every, jitter }) = pace {
            // Anywhere in the first interval, so that not all speak at once.
            let mut due = time.start + chance.up_to(every);
            while due < time.end {
                let at = chance.around(due, every * jitter / 200).max(time.start);
                script.steps.push(Step { at, action });
                due += every;
            }
        }
    }
    if let Some(Cycle { awake, asleep }) = group.sleep {
        let mut due = time.start + awake / 2 + chance.up_to(awake);
        while due < time.end {
            let (sleep, wake) = (due, due + asleep);
            for (at, action) in [(sleep, Action::Sleep), (wake, Action::Come)] {
                script.steps.push(Step { at, action });
            }
            due = wake + chance.around(awake, awake / 4);
        }
    }
}

/// Whom an event befalls, at least one.
fn befallen(devices: usize, share: u32, chance: &mut Chance) -> Vec<usize> {
    let mut all: Vec<_> = (0..devices).collect();
    chance.shuffle(&mut all);
    all.truncate((devices * usize::try_from(share).unwrap_or(100)).div_ceil(100));
    all
}

fn befall(script: &mut Script, event: &Event, (scenario, chance): (&Scenario, &mut Chance)) {
    let first = script
        .steps
        .first()
        .map_or(Duration::ZERO, |come| come.at + CALM);
    for at in moments(event, first..scenario.length, chance) {
        let action = Action::Undergo(event.what, event.lasting);
        script.steps.push(Step { at, action });
    }
}

fn moments(event: &Event, time: std::ops::Range<Duration>, chance: &mut Chance) -> Vec<Duration> {
    match event.when {
        When::At { at, spread } => vec![(at + chance.up_to(spread)).min(time.end)],
        When::Every(every) => {
            let mut moments = Vec::new();
            // Evenly up to twice the mean: no two devices keep step.
            let mut at = time.start + chance.up_to(2 * every);
            while at < time.end {
                moments.push(at);
                at += chance.up_to(2 * every).max(Duration::from_millis(1));
            }
            moments
        }
    }
}

/// A device gets its certificate from the authority that follows, after the switch to it.
fn follow(script: &mut Script, event: &Event, (scenario, mut chance): (&Scenario, Chance)) {
    for (stage, at) in stages(event, scenario.length) {
        if stage == RotationStage::Switch {
            let action = Action::Undergo(event.what, Duration::ZERO);
            let at = at + chance.up_to(event.lasting / 4);
            script.steps.push(Step { at, action });
        }
    }
}

fn rotations(scenario: &Scenario) -> impl Iterator<Item = &Event> {
    let events = scenario.events.iter();
    events.filter(|event| event.what == What::CaRotation)
}

/// The stages, evenly over the time of the event.
fn stages(event: &Event, end: Duration) -> impl Iterator<Item = (RotationStage, Duration)> {
    let at = match event.when {
        When::At { at, .. } => Some(at),
        // A file that says so is refused.
        When::Every(_) => None,
    };
    let part = event.lasting / 3;
    at.into_iter().flat_map(move |at| {
        let all = RotationStage::ALL.into_iter().zip(0..);
        all.map(move |(stage, number)| (stage, (at + part * number).min(end)))
    })
}

fn broker_steps(scenario: &Scenario, seed: u64) -> Vec<BrokerStep> {
    let mut chance = Chance::of(seed, u64::MAX / 2);
    let mut steps = Vec::new();
    for event in &scenario.events {
        let outage = match event.what {
            What::RestartBroker => Outage::Stop,
            What::KillBroker => Outage::Kill,
            _ => continue,
        };
        let moments = moments(event, Duration::ZERO..scenario.length, &mut chance);
        steps.extend(moments.into_iter().map(|at| BrokerStep {
            at,
            change: Change::Ends(outage, event.lasting),
        }));
    }
    for event in rotations(scenario) {
        let stages = stages(event, scenario.length);
        steps.extend(stages.map(|(stage, at)| BrokerStep {
            at,
            change: Change::Rotates(stage),
        }));
    }
    steps.sort_by_key(|step| step.at);
    steps
}
