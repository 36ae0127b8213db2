//! What followers are told, as server-sent events: written by the agent and read by commands, so both stand here. Pure.
//!
//! A `delivery` event has a line of the list as its data. A `place` event has an id: everything before it was told, and a client that comes
//! back with it as `Last-Event-ID` goes on from there. `missed` says how many are left out because the agent does not know them any more,
//! `failed` why it cannot go on. Deliveries have no id of their own, so that one that breaks off between two places is told again, not left out.

use serde::{Deserialize, Serialize};

use crate::arrivals::Place;
use crate::control::{ControlError, Told};

/// The content type of a stream of events.
pub(crate) const CONTENT_TYPE: &str = "text/event-stream";

#[derive(Serialize, Deserialize)]
struct AtPlace {
    place: String,
}

#[derive(Serialize, Deserialize)]
struct Missed {
    missed: u64,
}

/// A place as an event's id.
pub(crate) fn show_place(place: Place) -> String {
    format!("{:x}-{}", place.epoch, place.after)
}

/// A place from an event's id.
pub(crate) fn read_place(text: &str) -> Option<Place> {
    let (epoch, after) = text.split_once('-')?;
    Some(Place { epoch: u64::from_str_radix(epoch, 16).ok()?, after: after.parse().ok()? })
}

/// An event as it is sent.
///
/// # Errors
/// It cannot be written as JSON, which nothing in it can bring about.
pub(super) fn write(told: &Told) -> serde_json::Result<String> {
    let (name, id, data) = match told {
        Told::Delivery(line) => ("delivery", String::new(), serde_json::to_string(line)?),
        Told::At(place) => {
            let place = show_place(*place);
            ("place", format!("id: {place}\n"), serde_json::to_string(&AtPlace { place })?)
        }
        Told::Missed(missed) => ("missed", String::new(), serde_json::to_string(&Missed { missed: *missed })?),
        Told::Failed(e) => ("failed", String::new(), serde_json::to_string(e)?),
    };
    // JSON has no line ends of its own.
    Ok(format!("event: {name}\n{id}data: {data}\n\n"))
}

/// Events are read line by line.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    name: String,
    data: String,
}

impl Reader {
    /// One line, without its end; what it brought to its end, if that is something that is known. Others are passed over, as the
    /// format wants it.
    ///
    /// # Errors
    /// The data of an event is not what its name says.
    pub(crate) fn line(&mut self, line: &str) -> serde_json::Result<Option<Told>> {
        if line.is_empty() {
            let Reader { name, data } = std::mem::take(self);
            return match &*name {
                "delivery" => serde_json::from_str(&data).map(|line| Some(Told::Delivery(line))),
                "place" => {
                    let at: AtPlace = serde_json::from_str(&data)?;
                    Ok(read_place(&at.place).map(Told::At))
                }
                "missed" => serde_json::from_str(&data).map(|m: Missed| Some(Told::Missed(m.missed))),
                "failed" => serde_json::from_str(&data).map(|e: ControlError| Some(Told::Failed(e))),
                _ => Ok(None),
            };
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => self.data.push_str(value),
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Kind;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<Told> {
        let mut reader = Reader::default();
        text.lines().filter_map(|line| reader.line(line).unwrap()).collect()
    }

    fn shown(told: &Told) -> String {
        serde_json::to_string(told).unwrap()
    }

    #[test]
    fn events_come_back_as_they_went_whatever_is_in_them() {
        let mut line = crate::tui::sample::line(0);
        line.event_type = Some("a\nb\r\u{2028}data: x\n\nevent: failed".into());
        let all = [
            Told::Delivery(Box::new(line)),
            Told::At(Place { epoch: u64::MAX, after: 7 }),
            Told::Missed(3),
            Told::Failed(ControlError::new(Kind::Damaged, "torn\n").hint("x")),
        ];
        let text: String = all.iter().map(|told| write(told).unwrap()).collect();
        assert!(text.contains("id: ffffffffffffffff-7\n"));
        let back: Vec<_> =
            read(&format!(": still here\n\n{text}event: newer\ndata: {{}}\n\n")).iter().map(shown).collect();
        assert_eq!(back, all.iter().map(shown).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn places_go_round(epoch in any::<u64>(), after in any::<u64>()) {
            let place = Place { epoch, after };
            prop_assert_eq!(read_place(&show_place(place)), Some(place));
        }

        #[test]
        fn no_line_is_too_odd(lines in proptest::collection::vec("(event|data|id|)(:| |)( |)(place|delivery|missed|\\{\\}|[ -~]{0,8})", 0..12)) {
            let mut reader = Reader::default();
            for line in lines {
                let _ = reader.line(&line);
            }
        }
    }
}
