//! What becomes of the devices of a token that is revoked or opens a tunnel no more: told by `token revoke|withdraw`, which ask nobody. It only looks and
//! tells; who forgets devices is the running relay.

use std::path::Path;

use tunnel_delivery::{DeviceName, TunnelName};

use super::tell;
use crate::control::{Device, Question, Told, ask_running};
use crate::registry::Snapshot;
use crate::tokens::TokenId;
use crate::whose::Whose;

/// The most devices that are told one by one.
const MOST: usize = 20;

/// Devices that came with a token, as they stand before it ends.
pub(super) struct Bereft {
    devices: Vec<(TunnelName, DeviceName)>,
    before: Vec<Device>,
}

/// The devices of a running relay; nothing without one, since the spool would have to be opened, with its key.
fn running(data: &Path) -> Option<Vec<Device>> {
    match ask_running(data, &Question::Devices { tunnel: None }) {
        Ok(Some(Told::Devices { devices, .. })) => Some(devices),
        _ => None,
    }
}

fn waiting(of: &[Device], tunnel: &TunnelName, device: &DeviceName) -> Option<u64> {
    of.iter().find(|one| one.tunnel == *tunnel && one.device == *device).map(|one| one.waiting)
}

impl Bereft {
    /// Looks which devices came with that token, to that tunnel or to any.
    pub(super) fn of(data: &Path, token: &TokenId, only: Option<&TunnelName>) -> Bereft {
        let mut devices = Whose::load(&data.join("spool")).came_with(token);
        devices.retain(|(tunnel, _)| only.is_none_or(|only| only == tunnel));
        let before = if devices.is_empty() { None } else { running(data) };
        Bereft { devices, before: before.unwrap_or_default() }
    }

    /// Says what has become of them.
    pub(super) fn tell(&self, data: &Path, all: &Snapshot) {
        let after = if self.devices.is_empty() { None } else { running(data) };
        for line in self.lines(after.as_deref(), |tunnel| all.tunnels.get(tunnel).is_some_and(|its| its.seal)) {
            tell(&line);
        }
    }

    fn lines(&self, after: Option<&[Device]>, sealed: impl Fn(&TunnelName) -> bool) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        if self.devices.is_empty() {
            lines.push("no device is known that came with it: nothing is kept that nobody can fetch now".to_owned());
        }
        for (tunnel, device) in self.devices.iter().take(MOST) {
            let before = waiting(&self.before, tunnel, device);
            let fate = match after.map(|after| waiting(after, tunnel, device)) {
                Some(None) if before == Some(0) => "is forgotten; nothing waited for it".to_owned(),
                Some(None) => {
                    let one = before.is_none_or(|n| n == 1);
                    let others =
                        after.is_some_and(|after| after.iter().any(|one| one.tunnel == *tunnel && !one.only_looks));
                    let fate = match (others, one) {
                        (true, true) => "is not kept for it any more",
                        (true, false) => "are not kept for it any more",
                        // It was the last: what was kept for it stays for whoever comes.
                        (false, true) => "waits for the next device that comes",
                        (false, false) => "wait for the next device that comes",
                    };
                    format!("is forgotten; {} {fate}", deliveries(before))
                }
                Some(still) => format!(
                    "keeps {} under its name, since no other device was given all of that, or can open it; `healthie-relay tunnel forget {tunnel} {device}` drops it",
                    deliveries(still)
                ),
                None => {
                    "is forgotten when the relay runs, unless something waits for it that no other device was given"
                        .to_owned()
                }
            };
            let seal = if sealed(tunnel) {
                "; the tunnel is sealed: what was sealed to this device alone nobody else can open"
            } else {
                ""
            };
            lines.push(format!("device {device} of tunnel {tunnel} {fate}{seal}"));
        }
        let more = self.devices.len().saturating_sub(MOST);
        if more > 0 {
            lines.push(format!("and {more} devices more; the audit log names those that are forgotten"));
        }
        lines
    }
}

fn deliveries(count: Option<u64>) -> String {
    match count {
        None => "what waited for it".to_owned(),
        Some(1) => "1 delivery that waited for it".to_owned(),
        Some(n) => format!("{n} deliveries that waited for it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tunnel_delivery::Timestamp;

    #[test]
    fn it_is_told_what_becomes_of_each_device() {
        let (team, desk, laptop): (TunnelName, DeviceName, DeviceName) =
            ("team".parse().unwrap(), "desk".parse().unwrap(), "laptop".parse().unwrap());
        let device = |device: &DeviceName, waiting| Device {
            tunnel: team.clone(),
            device: device.clone(),
            connected: false,
            only_looks: false,
            last_seen: Timestamp::default(),
            perhaps_longer: false,
            waiting,
            missed: 0,
        };
        let devices = vec![(team.clone(), desk.clone()), (team.clone(), laptop.clone())];
        let bereft = Bereft { devices, before: vec![device(&desk, 1), device(&laptop, 3)] };
        let after = [device(&laptop, 3)];
        let lines = bereft.lines(Some(&after), |_| false);
        assert_eq!(
            lines[0],
            "device desk of tunnel team is forgotten; 1 delivery that waited for it is not kept for it any more"
        );
        assert!(lines[1].contains("3 deliveries") && lines[1].contains("tunnel forget team laptop"), "{lines:?}");
        let sealed = bereft.lines(None, |tunnel| *tunnel == team);
        assert!(
            sealed.iter().all(|line| line.contains("when the relay runs") && line.contains("nobody else can open")),
            "{sealed:?}"
        );
        let unknown =
            Bereft { devices: vec![(team.clone(), desk.clone())], before: Vec::new() }.lines(Some(&[]), |_| false);
        assert_eq!(
            unknown,
            ["device desk of tunnel team is forgotten; what waited for it waits for the next device that comes"]
        );
        // Where it was the last, and who only looks stands in for nobody.
        let last = |waiting| {
            let eye = Device { only_looks: true, ..device(&laptop, 0) };
            let bereft = Bereft { devices: vec![(team.clone(), desk.clone())], before: vec![device(&desk, waiting)] };
            bereft.lines(Some(&[eye]), |_| false).remove(0)
        };
        assert!(last(3).ends_with("is forgotten; 3 deliveries that waited for it wait for the next device that comes"));
        assert!(last(1).ends_with("is forgotten; 1 delivery that waited for it waits for the next device that comes"));
        assert!(last(0).ends_with("is forgotten; nothing waited for it"));
        let none = Bereft { devices: Vec::new(), before: Vec::new() };
        assert!(none.lines(None, |_| true)[0].contains("no device is known"));
    }
}
