//! A dry run: the course as it would be with answers that take no time and are all 2xx.

use std::ops::ControlFlow;
use std::time::Duration;

use super::Plan;
use super::course::{Course, Shot};
use super::pace::{Next, Pacer};
use super::run::Items;
use crate::control::{Aimed, Control, ControlError};

/// Tells each request in its order, with its time after the beginning, and where it would go or why not. Sends nothing. Gives how many there
/// are, and how many would be left out by chaos.
///
/// # Errors
/// The deliveries cannot be read.
pub async fn preview(
    control: &Control,
    plan: &Plan,
    mut told: impl FnMut(&Shot, Duration, Result<&Aimed, &ControlError>) -> ControlFlow<()>,
) -> Result<(u64, u64), ControlError> {
    let mut manner = plan.manner;
    manner.interval = plan.pace.interval;
    let mut items = Items::new(control, plan).await?;
    let mut pacer = Pacer::new(Course::new(manner), plan.pace);
    let mut now = Duration::ZERO;
    let mut all = 0;
    loop {
        match pacer.next(now) {
            Next::Send(ticket, shot, _) => {
                let aimed = control.aim(&plan.copy.of(shot.id)).await;
                all += 1;
                if told(&shot, now, aimed.as_ref()).is_break() {
                    break;
                }
                pacer.answered(ticket, false, now);
            }
            Next::Wait(until) => now = until.unwrap_or(now).max(now),
            Next::Want(_) => match items.take() {
                Some(item) => pacer.offer(item),
                None => items.read().await?,
            },
            Next::Over => break,
        }
    }
    Ok((all, pacer.course().dropped()))
}
