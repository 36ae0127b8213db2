//! Sends the cases and notes what comes back; finds out whether the handler is still there. Judges nothing.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::battery::battery;
use super::case::{Case, Change, How, Place, Step, Wants};
use super::diagnose::{self, Probed};
use super::judge;
use super::probes::probes;
use super::report::{Answered, Class, Line, Mark, Report};
use super::{CheckError, Plan};
use crate::dial::{Dialer, Peer};
use crate::forward::{Client, Exchange, HostHeader, Interrupt, TargetUrl};

/// How long a handler that has gone may take to come back, for those that are started again by somebody.
const COMES_BACK: Duration = Duration::from_secs(2);
/// How long to wait before looking whether it has gone, and between looks.
const LOOK: Duration = Duration::from_millis(100);

/// After so many cases in a row without an answer in time no more are run.
const SILENT: usize = 3;

/// Where the requests go, and by what.
struct Runner<'a> {
    place: &'a Place,
    to: &'a TargetUrl,
    dialer: Dialer,
    limit: Duration,
}

/// The whole check. `told` hears of each case as it is done.
pub(super) async fn run(plan: &Plan, mut told: impl FnMut(&Line)) -> Result<Report, CheckError> {
    let began = Instant::now();
    let place = plan.place()?;
    let also = plan.profiles.get(1..).unwrap_or_default();
    let cases = plan.select(battery(&place, also, plan.seed))?;
    let dialer = Dialer::new(plan.trust.clone());
    let runner = Runner { place: &place, to: &plan.target, dialer, limit: plan.limit };
    let reached = tokio::time::timeout(plan.limit, runner.dialer.dial(&plan.target.peer)).await;
    match reached {
        Ok(Ok(_)) => {}
        Ok(Err(e)) => return Err(CheckError::Unreachable(e.to_string())),
        Err(_) => {
            let why = format!("{} did not accept a connection within {} s", plan.target, plan.limit.as_secs_f64());
            return Err(CheckError::Unreachable(why));
        }
    }
    let mut lines: Vec<Line> = Vec::new();
    let mut gone = false;
    for case in &cases {
        let line = if gone { judge::not_run(case) } else { runner.case(case).await? };
        gone |= line.crashed;
        told(&line);
        lines.push(line);
        // Whoever has stopped answering would be waited for in every case that is left.
        gone |= lines.len() >= SILENT && lines.iter().rev().take(SILENT).all(|l| l.class == Some(Class::TimedOut));
    }
    let mut probed = Probed::default();
    if !gone && refuses_all(&cases, &lines) {
        probed = runner.probe(plan.seed.wrapping_add(1_000_000)).await?;
    }
    let count = |mark| lines.iter().filter(|l| l.mark == mark).count();
    Ok(Report {
        target: plan.target.url(&place.sent),
        signed_path: place.signed.clone(),
        profile: place.reading.to_string(),
        ok: count(Mark::Fail) == 0,
        passed: count(Mark::Pass),
        warned: count(Mark::Warn),
        failed: count(Mark::Fail),
        not_run: count(Mark::NotRun),
        requests: lines.iter().map(|l| l.requests.len()).sum::<usize>() + probed.sent,
        duration_ms: began.elapsed().as_micros() as f64 / 1000.0,
        findings: diagnose::diagnose(&lines, &probed, &place),
        cases: lines,
    })
}

/// Whether valid deliveries were sent and each was answered with a refusal or a failure.
fn refuses_all(cases: &[Case], lines: &[Line]) -> bool {
    let mut classes = cases.iter().zip(lines).filter(|(c, _)| c.wants == Wants::Accepted).map(|(_, l)| l.class);
    let mut any = false;
    classes.all(|class| {
        any = true;
        matches!(class, Some(Class::Refused | Class::Failed))
    }) && any
}

impl Runner<'_> {
    /// A client with no connections, so that what one case leaves on a connection cannot be the next one's.
    fn client(&self) -> Client {
        Client::new(self.dialer.clone(), HostHeader::Sent, Interrupt::default())
    }

    async fn case(&self, case: &Case) -> Result<Line, CheckError> {
        let client = self.client();
        let mut answers = Vec::with_capacity(case.steps.len());
        match case.how {
            How::AtOnce => {
                let all = join_all(case.steps.iter().map(|step| self.send(&client, step))).await;
                for answer in all {
                    answers.push(answer?);
                }
            }
            How::InTurn | How::InPieces => {
                for step in &case.steps {
                    let answer = match case.how {
                        How::InPieces => {
                            let out = step.request(self.place)?;
                            let exchange = super::slow::exchange(&self.dialer, self.to, &out, self.limit).await;
                            judge::answered(step.label.clone(), &exchange)
                        }
                        _ => self.send(&client, step).await?,
                    };
                    let unanswered = matches!(answer.class, Class::Unreachable | Class::TimedOut);
                    answers.push(answer);
                    // The rest would only be more of it, and take its time.
                    if unanswered {
                        break;
                    }
                }
            }
        }
        let suspicious = answers.iter().any(|a| matches!(a.class, Class::Unreachable | Class::Closed));
        let crashed = suspicious && !self.is_there().await;
        Ok(judge::judge(case, answers, crashed))
    }

    async fn send(&self, client: &Client, step: &Step) -> Result<Answered, CheckError> {
        let out = step.request(self.place)?;
        let exchange: Exchange = client.exchange(self.to, &out, self.limit, judge::ANSWER).await;
        Ok(judge::answered(step.label.clone(), &exchange))
    }

    /// Whether something accepts connections, within the time that a restart takes.
    async fn is_there(&self) -> bool {
        let peer: &Peer = &self.to.peer;
        let look = async {
            loop {
                tokio::time::sleep(LOOK).await;
                if self.dialer.dial(peer).await.is_ok() {
                    return;
                }
            }
        };
        tokio::time::timeout(COMES_BACK, look).await.is_ok()
    }

    /// What a handler that refuses everything does accept: the first path and the first reading, if there are any.
    async fn probe(&self, seed: u64) -> Result<Probed, CheckError> {
        let client = self.client();
        let mut probed = Probed::default();
        for step in probes(self.place, seed) {
            let found = match &step.change {
                Change::SignedFor(_) => probed.path.is_some(),
                _ => probed.reading.is_some(),
            };
            if found {
                continue;
            }
            probed.sent += 1;
            let answer = self.send(&client, &step).await?;
            match (answer.class, step.change) {
                (Class::Accepted, Change::SignedFor(path)) => probed.path = Some(path),
                (Class::Accepted, Change::As(reading)) => probed.reading = Some(reading),
                // It has gone, or it answers no more: what it would have said is not worth the wait.
                (Class::Unreachable | Class::TimedOut, _) => break,
                _ => {}
            }
        }
        Ok(probed)
    }
}
