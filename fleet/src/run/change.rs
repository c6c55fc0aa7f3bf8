//! What happens to the broker of a run: it ends and starts again, or its authorities are followed
//! by others.

use super::{LOOK_EVERY, RunError};
use crate::device::Fleet;
use crate::scenario::{BrokerStep, Change, Outage};
use provisioning::RotationStage;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// Whoever a stage cuts off has heard of it by then.
const HEARD_WITHIN: Duration = Duration::from_millis(300);

/// Does what is due; `switched` is told once other authorities issue.
pub(super) async fn change(
    fleet: &Fleet,
    (step, switched): (BrokerStep, &watch::Sender<bool>),
) -> Result<(), RunError> {
    match step.change {
        Change::Ends(outage, lasting) => fail(fleet, outage, lasting).await,
        Change::Rotates(stage) => rotate(fleet, stage, switched).await,
    }
}

/// Ends the broker, and starts it again after a while.
async fn fail(fleet: &Fleet, outage: Outage, lasting: Duration) -> Result<(), RunError> {
    if let Some(mut broker) = fleet.world.broker_alone().await {
        match outage {
            Outage::Stop => broker.stop().await,
            Outage::Kill => broker.kill().await,
        }
        sleep(lasting).await;
        broker.restart().await?;
    }
    Ok(())
}

/// Nothing is retired that somebody needs: a run that ends before all have followed says so.
async fn rotate(
    fleet: &Fleet,
    stage: RotationStage,
    switched: &watch::Sender<bool>,
) -> Result<(), RunError> {
    fleet.ledger.stage_due();
    while stage == RotationStage::Retire && !fleet.ledger.have_all_followed() {
        if fleet.now() > fleet.scenario.length {
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
    fleet.ledger.stage_begun();
    fleet.world.rotate(stage).await?;
    if stage == RotationStage::Switch {
        switched.send_replace(true);
    }
    sleep(HEARD_WITHIN).await;
    fleet.ledger.stage_done();
    Ok(())
}
