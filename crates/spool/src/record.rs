//! What is known of one tunnel besides its deliveries: which are there, who has taken what, what was dropped. Pure.
//!
//! Deliveries are only ever added at the end and removed at the beginning, so those that are there are exactly `first..next`.

use tunnel_delivery::{DeviceKey, DeviceName, Timestamp};

use crate::{DevicePlace, Gap, Place, Role, Seq, Why};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Stands for the tunnel's name in the keys of its deliveries.
    pub(crate) id: u32,
    /// The oldest delivery that is there; `next` if there is none.
    pub(crate) first: Seq,
    /// The number that the next delivery gets.
    pub(crate) next: Seq,
    /// The stored bytes of the deliveries that are there.
    pub(crate) bytes: u64,
    pub(crate) dropped_age: u64,
    pub(crate) dropped_size: u64,
    /// What was dropped while there was no device: the first device is told.
    pub(crate) gap: Option<Gap>,
    pub(crate) devices: Vec<Device>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) name: DeviceName,
    pub(crate) role: Role,
    /// It was given what comes after this, and nothing before.
    pub(crate) began: Seq,
    /// The last delivery it has taken; always before `Record::next`.
    pub(crate) after: Seq,
    /// What was dropped behind it; ends after `after`, or is none.
    pub(crate) gap: Option<Gap>,
    pub(crate) joined: Timestamp,
    /// Deliveries may be sealed to it.
    pub(crate) key: Option<DeviceKey>,
}

/// Adds a dropped run to a gap that may be there; the run always lies behind it.
fn widened(gap: Option<Gap>, from: Seq, upto: Seq, why: Why) -> Gap {
    Gap { from: gap.map_or(from, |g| g.from.min(from)), upto, why }
}

impl Record {
    pub(crate) fn new(id: u32) -> Record {
        Record {
            id,
            first: Seq(1),
            next: Seq(1),
            bytes: 0,
            dropped_age: 0,
            dropped_size: 0,
            gap: None,
            devices: Vec::new(),
        }
    }

    pub(crate) fn last(&self) -> Seq {
        self.next.prev()
    }

    pub(crate) fn device(&self, name: &DeviceName) -> Option<&Device> {
        self.devices.iter().find(|d| d.name == *name)
    }

    /// The devices for which deliveries are kept until they have them; those that only watch are not among them.
    fn takers(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|d| d.role == Role::Takes)
    }

    pub(crate) fn count(&self, role: Role) -> usize {
        self.devices.iter().filter(|d| d.role == role).count()
    }

    /// The place of a known device of that role, noting that it came again.
    pub(crate) fn rejoin(&mut self, name: &DeviceName, role: Role, now: Timestamp) -> Option<Place> {
        let first = self.first;
        let device = self.devices.iter_mut().find(|d| d.name == *name && d.role == role)?;
        device.joined = now;
        Some(Place { after: device.after.max(first.prev()), new: false, gap: device.gap })
    }

    /// Registers a device that has everything up to `after`.
    pub(crate) fn register(&mut self, name: DeviceName, role: Role, after: Seq, now: Timestamp) -> Place {
        // What was dropped before anybody came is told to the first device, unless it asks for later ones only. Whoever watches leaves it to that one.
        let gap = if role == Role::Takes { self.gap.take() } else { self.gap }.filter(|_| after < self.first);
        let after = after.min(self.last());
        let place = Place { after, new: true, gap };
        let standing = gap.map_or(after, |gap| gap.from.prev());
        self.devices.push(Device { name, role, began: after, after: standing, gap, joined: now, key: None });
        place
    }

    /// Notes that a device has everything up to `upto`. Whether that was news.
    pub(crate) fn taken(&mut self, name: &DeviceName, upto: Seq) -> bool {
        let last = self.last();
        let Some(device) = self.devices.iter_mut().find(|d| d.name == *name) else { return false };
        // An agent that acknowledges what it was never given must not step over what is still to come.
        let upto = upto.min(last);
        if upto <= device.after {
            return false;
        }
        device.after = upto;
        device.gap = device.gap.and_then(|gap| {
            (gap.upto > upto).then_some(Gap { from: gap.from.max(upto.next()), upto: gap.upto, why: gap.why })
        });
        true
    }

    /// Notes that a device came again at `at`. Whether that was news.
    pub(crate) fn came(&mut self, name: &DeviceName, at: Timestamp) -> bool {
        match self.devices.iter_mut().find(|d| d.name == *name) {
            Some(device) if device.joined < at => {
                device.joined = at;
                true
            }
            _ => false,
        }
    }

    /// Notes the key of a device. Whether there is such a device.
    pub(crate) fn set_key(&mut self, name: &DeviceName, key: DeviceKey) -> bool {
        let device = self.devices.iter_mut().find(|d| d.name == *name);
        device.map(|device| device.key = Some(key)).is_some()
    }

    pub(crate) fn forget(&mut self, name: &DeviceName) -> bool {
        let Some(at) = self.devices.iter().position(|d| d.name == *name) else { return false };
        let gone = self.devices.swap_remove(at);
        if gone.role == Role::Takes && self.takers().next().is_none() {
            // Whoever comes next stands in for it: what it was not told yet must not be forgotten with it.
            self.gap = gone.gap;
        }
        true
    }

    /// The first delivery that somebody still needs: all of them while there is no device, or only such that watch.
    pub(crate) fn needed_from(&self) -> Seq {
        if self.takers().next().is_none() {
            return self.first;
        }
        self.devices.iter().map(|d| d.after.next()).min().unwrap_or(self.first).max(self.first)
    }

    /// The last delivery of the run from the oldest on that some device which does not only watch has taken: those who have not are behind, but nothing in it is
    /// with nobody. Before `first` if there is none.
    pub(crate) fn with_somebody(&self) -> Seq {
        let mut upto = self.first.prev();
        while let Some(further) = self.takers().filter(|d| d.began <= upto).map(|d| d.after).max() {
            if further <= upto {
                break;
            }
            upto = further;
        }
        upto
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.next.0 - self.needed_from().0
    }

    /// Notes that everything before `first`, `bytes` in all, was deleted after all had taken it.
    pub(crate) fn trimmed(&mut self, first: Seq, bytes: u64) {
        self.first = first;
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Notes that everything before `first`, `bytes` in all, was dropped although somebody may still have needed it. The run that was
    /// really needed by somebody, if any.
    pub(crate) fn dropped(&mut self, first: Seq, bytes: u64, why: Why) -> Option<(Seq, Seq)> {
        let (from, upto) = (self.needed_from(), first.prev());
        self.trimmed(first, bytes);
        if from > upto {
            return None;
        }
        let count = upto.0 + 1 - from.0;
        match why {
            Why::Age => self.dropped_age += count,
            Why::Size => self.dropped_size += count,
            // What was asked for is not counted as a loss.
            Why::Removed => {}
        }
        if self.takers().next().is_none() {
            self.gap = Some(widened(self.gap, from, upto, why));
        }
        for device in &mut self.devices {
            if device.after < upto {
                device.gap = Some(widened(device.gap, from.max(device.after.next()), upto, why));
            }
        }
        Some((from, upto))
    }

    pub(crate) fn device_places(&self) -> Vec<DevicePlace> {
        // Others were given what comes after the place that they began at.
        let begun = |d: &Device| self.takers().filter(|other| other.name != d.name).map(|other| other.began).min();
        let only_here = |d: &Device| match begun(d) {
            Some(begun) if d.role == Role::Takes => (begun.0 + 1).saturating_sub(d.after.next().max(self.first).0),
            _ => 0,
        };
        let place = |d: &Device| DevicePlace {
            only_here: only_here(d),
            device: d.name.clone(),
            role: d.role,
            after: d.after,
            began: d.began,
            waiting: self.next.0 - d.after.next().max(self.first).0,
            gap: d.gap,
            joined: d.joined,
            key: d.key,
        };
        self.devices.iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(s: &str) -> DeviceName {
        s.parse().unwrap()
    }

    /// A tunnel that was given `n` deliveries of 10 bytes each.
    fn with(n: u64) -> Record {
        Record { next: Seq(n + 1), bytes: n * 10, ..Record::new(1) }
    }

    const NOW: Timestamp = Timestamp::from_micros(1);

    #[test]
    fn nobody_there_means_everything_is_needed() {
        let mut record = with(5);
        assert_eq!(record.needed_from(), Seq(1));
        record.register(name("a"), Role::Takes, Seq(0), NOW);
        record.register(name("b"), Role::Takes, Seq(3), NOW);
        record.taken(&name("a"), Seq(2));
        assert_eq!((record.needed_from(), record.waiting()), (Seq(3), 3));
        record.forget(&name("a"));
        assert_eq!((record.needed_from(), record.waiting()), (Seq(4), 2));
    }

    #[test]
    fn what_only_one_device_was_given_is_known() {
        let mut record = with(10);
        record.register(name("early"), Role::Takes, Seq(2), NOW);
        let only = |record: &Record| -> Vec<u64> { record.device_places().iter().map(|d| d.only_here).collect() };
        assert_eq!(only(&record), [0], "with nobody there, it stays for the first to come");
        record.register(name("looks"), Role::Watches, Seq(0), NOW);
        assert_eq!(only(&record), [0, 0], "who only looks has it for nobody");
        record.register(name("late"), Role::Takes, Seq(6), NOW);
        assert_eq!(only(&record), [4, 0, 0], "3 to 6");
        record.taken(&name("early"), Seq(4));
        assert_eq!(only(&record), [2, 0, 0]);
        record.trimmed(Seq(6), 50);
        assert_eq!(only(&record), [1, 0, 0], "what is gone is with nobody anyway");
        record.register(name("all"), Role::Takes, Seq(5), NOW);
        assert_eq!(only(&record), [0, 0, 0, 0]);
    }

    #[test]
    fn taking_goes_forward_only_and_never_past_the_end() {
        let mut record = with(5);
        record.register(name("a"), Role::Takes, Seq(0), NOW);
        assert!(record.taken(&name("a"), Seq(u64::MAX)));
        assert_eq!(record.device(&name("a")).unwrap().after, Seq(5));
        assert!(!record.taken(&name("a"), Seq(2)));
        assert!(!record.taken(&name("unknown"), Seq(2)));
    }

    #[test]
    fn what_somebody_has_is_told_from_what_nobody_has() {
        let mut record = with(10);
        assert_eq!(record.with_somebody(), Seq(0), "nobody is there");
        record.register(name("behind"), Role::Takes, Seq(0), NOW);
        record.register(name("late"), Role::Takes, Seq(6), NOW);
        record.taken(&name("late"), Seq(9));
        assert_eq!(record.with_somebody(), Seq(0), "the late one was never given 1 to 6");
        record.register(name("all"), Role::Takes, Seq(0), NOW);
        record.taken(&name("all"), Seq(4));
        assert_eq!(record.with_somebody(), Seq(4));
        record.taken(&name("all"), Seq(6));
        assert_eq!(record.with_somebody(), Seq(9), "one has the beginning, another the rest");
        record.forget(&name("all"));
        assert_eq!(record.with_somebody(), Seq(0), "what is not known to be with somebody is with nobody");
    }

    #[test]
    fn each_device_is_told_its_own_gap_until_it_is_past_it() {
        let mut record = with(10);
        record.register(name("a"), Role::Takes, Seq(0), NOW);
        record.register(name("b"), Role::Takes, Seq(3), NOW);
        assert_eq!(record.dropped(Seq(6), 50, Why::Age), Some((Seq(1), Seq(5))));
        assert_eq!((record.dropped_age, record.bytes, record.waiting()), (5, 50, 5));
        let told = |record: &mut Record, who: &str| record.rejoin(&name(who), Role::Takes, NOW).unwrap();
        let gap = |from, upto| Some(Gap { from: Seq(from), upto: Seq(upto), why: Why::Age });
        assert_eq!(told(&mut record, "a"), Place { after: Seq(5), new: false, gap: gap(1, 5) });
        assert_eq!(told(&mut record, "b"), Place { after: Seq(5), new: false, gap: gap(4, 5) });
        // b had one of them on its way when it was dropped.
        record.taken(&name("b"), Seq(4));
        assert_eq!(told(&mut record, "b").gap, gap(5, 5));
        record.taken(&name("b"), Seq(5));
        assert_eq!(told(&mut record, "b").gap, None);
        // A second run grows a's gap and gives b a new one.
        assert_eq!(record.dropped(Seq(8), 20, Why::Size), Some((Seq(6), Seq(7))));
        assert_eq!(told(&mut record, "a").gap, Some(Gap { from: Seq(1), upto: Seq(7), why: Why::Size }));
        assert_eq!(told(&mut record, "b").gap, Some(Gap { from: Seq(6), upto: Seq(7), why: Why::Size }));
    }

    #[test]
    fn what_nobody_needed_any_more_is_no_gap() {
        let mut record = with(4);
        record.register(name("a"), Role::Takes, Seq(3), NOW);
        assert_eq!(record.dropped(Seq(3), 20, Why::Age), None);
        assert_eq!(record.dropped_age, 0);
        assert_eq!(record.device(&name("a")).unwrap().gap, None);
    }

    #[test]
    fn the_first_device_is_told_what_was_dropped_before_it_came() {
        let mut record = with(4);
        record.dropped(Seq(3), 20, Why::Age);
        let place = record.register(name("a"), Role::Takes, Seq(2), NOW);
        assert_eq!(
            place,
            Place { after: Seq(2), new: true, gap: Some(Gap { from: Seq(1), upto: Seq(2), why: Why::Age }) }
        );
        assert_eq!(record.rejoin(&name("a"), Role::Takes, NOW).unwrap().gap, place.gap, "told again until it is taken");
        assert_eq!(record.register(name("b"), Role::Takes, Seq(2), NOW).gap, None, "only the first");
    }

    #[test]
    fn whoever_only_watches_takes_nothing_away() {
        let mut record = with(10);
        let place = record.register(name("eye"), Role::Watches, Seq(0), NOW);
        record.taken(&name("eye"), Seq(10));
        assert_eq!(place.after, Seq(0));
        assert_eq!((record.needed_from(), record.waiting(), record.with_somebody()), (Seq(1), 10, Seq(0)));
        assert_eq!(record.dropped(Seq(3), 20, Why::Age), Some((Seq(1), Seq(2))), "nobody has them");
        let first = record.register(name("desk"), Role::Takes, Seq(2), NOW);
        assert_eq!(first.gap, Some(Gap { from: Seq(1), upto: Seq(2), why: Why::Age }), "told to the first that takes");
        record.taken(&name("desk"), Seq(8));
        assert_eq!((record.needed_from(), record.with_somebody()), (Seq(9), Seq(8)));
        record.register(name("late-eye"), Role::Watches, Seq(4), NOW);
        assert_eq!(record.needed_from(), Seq(5), "it is kept for whoever watches too");
        assert!(record.rejoin(&name("eye"), Role::Takes, NOW).is_none());
        record.forget(&name("desk"));
        assert_eq!(record.needed_from(), record.first, "only such that watch are left");
    }
}
