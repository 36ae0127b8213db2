//! The inspector as it is seen and used, on a screen of a test and with a store of samples.

mod behind;
mod hostile;
mod screens;
mod speed;
mod stories;
#[cfg(unix)]
mod terminal;

use std::collections::BTreeMap;

use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use tunnel_delivery::{DeliveryId, Stored, Summary, Timestamp};

use super::doc::Doc;
use super::keys::KeyMap;
use super::message::{Effect, Message};
use super::model::Model;
use super::sample;
use super::standing::Whose;
use super::theme::Theme;
use super::update::update;
use super::view::view;
use crate::control::{Figures, PageFound, Status, Waiting};
use crate::query::Query;
use crate::standing::{ConnectionStatus, State};

/// The inspector with a store of samples behind it: what it wants from the store is done at once, everything else is kept.
struct Bench {
    m: Model,
    all: BTreeMap<DeliveryId, Stored>,
    lines: BTreeMap<DeliveryId, Summary>,
    /// What was wanted and is not the store's.
    wanted: Vec<Effect>,
}

impl Bench {
    fn new(size: (u16, u16), colour: bool, n: u32) -> Bench {
        let now = Timestamp::from_micros(sample::BEGAN.as_micros() + 3_600_000_000);
        let mut m = Model::new(size, now, Theme { colour }, KeyMap::default());
        m.standing.whose = Whose::Ours;
        m.standing.target = Some("http://localhost:3000".into());
        m.standing.urls = vec!["https://relay.example.com/t/team".into()];
        m.standing.answer = Some("ack");
        m.standing.connection = Some(crate::notice::Connection::Connected);
        m.standing.since = Some(sample::BEGAN);
        m.standing.heard = Some(now.earlier(std::time::Duration::from_secs(4)));
        let all = (0..n).map(|n| (sample::id(n), sample::stored(n))).collect();
        let lines = (0..n).map(|n| (sample::id(n), sample::line(n))).collect();
        let mut bench = Bench { m, all, lines, wanted: Vec::new() };
        bench.happens(Message::Ready);
        bench
    }

    fn put(&mut self, stored: Stored) {
        let line = crate::summary::of_stored(&stored);
        self.lines.insert(line.id, line.clone());
        self.all.insert(line.id, stored);
        self.happens(Message::Notice(std::sync::Arc::new(crate::notice::Notice::Delivery(line.into()))));
    }

    fn happens(&mut self, message: Message) {
        let mut effects = update(&mut self.m, message);
        let mut steps = 0;
        while !effects.is_empty() {
            steps += 1;
            assert!(steps < 1000, "it goes on for ever: {effects:?}");
            let mut next = Vec::new();
            for effect in effects {
                if let Some(answer) = self.answer(effect) {
                    next.extend(update(&mut self.m, answer));
                }
            }
            effects = next;
        }
    }

    fn answer(&mut self, effect: Effect) -> Option<Message> {
        Some(match effect {
            Effect::Page(ask) => {
                let question = ask.question();
                let query = Query::read(&question.query, self.m.now).unwrap();
                let fits = |s: &&Summary| query.fits(s) && query.fits_body(&self.all[&s.id].delivery.body);
                let mut all: Vec<Summary> = self.lines.values().filter(fits).cloned().collect();
                if !question.oldest_first {
                    all.reverse();
                }
                let after = |s: &Summary| match &question.cursor {
                    None => true,
                    Some(at) if question.oldest_first => s.id.to_string() > *at,
                    Some(at) => s.id.to_string() < *at,
                };
                let mut rest = all.into_iter().filter(after);
                let items: Vec<Summary> = rest.by_ref().take(question.limit).collect();
                let next = rest.next().and(items.last().map(|s| s.id.to_string()));
                Message::Page(ask, Ok(PageFound { scanned: items.len() as u64, items, next }))
            }
            Effect::Load(id) => Message::Loaded(id, Ok(Box::new(self.all[&id].clone()))),
            Effect::SetOut(id, body, form, width) => {
                Message::SetOut(id, form, width, std::sync::Arc::new(Doc::new(body, form, width)))
            }
            Effect::Explain(id) => {
                let stored = &self.all[&id];
                let unknown = stored.signature.status == tunnel_delivery::SignatureStatus::NoSecret;
                let secret = tunnel_signature::Secret::new(sample::SECRET).unwrap();
                let known =
                    tunnel_signature::doctor::KnownSecret { label: "configured", secret: &secret, expected: true };
                let known = if unknown { Vec::new() } else { vec![known] };
                let request = crate::request_text::Written::of(&stored.delivery);
                let explained = crate::examine::examine(&request, &known, &crate::examine::Surroundings::default());
                Message::Explained(id, Ok(Box::new(explained)))
            }
            Effect::Status => Message::Status(Ok(Box::new(self.status()))),
            other => {
                self.wanted.push(other);
                return None;
            }
        })
    }

    /// How an agent is that has these deliveries.
    fn status(&self) -> Status {
        let connection = ConnectionStatus {
            state: State::Connected,
            since: Some(sample::BEGAN),
            heard_ms_ago: Some(4000),
            round_trip_ms: Some(12.4),
            attempt: 0,
            next_try_ms: None,
            reason: None,
            at_relay: None,
        };
        Status {
            sealed: None,
            running: true,
            pid: Some(42),
            software: "healthie-tunnel/0".into(),
            relay: None,
            tunnel: Some("team".into()),
            device: None,
            answer: Some("ack".into()),
            read_only: false,
            paused: self.m.standing.paused,
            public_urls: vec!["https://relay.example.com/t/team".into()],
            connection: Some(connection),
            waiting: Waiting { at_relay: Some(2), to_forward: 7, to_forward_more: false, to_retry: 0 },
            archive: Figures {
                deliveries: self.all.len() as u64,
                attempts: 7,
                body_bytes: 1 << 20,
                disk_bytes: 1 << 22,
            },
            upkeep: None,
            gaps: Vec::new(),
        }
    }

    /// Presses keys: characters as they are, others by name in angle brackets.
    fn press(&mut self, keys: &str) {
        let mut rest = keys;
        while let Some(c) = rest.chars().next() {
            let named = rest.strip_prefix('<').and_then(|r| r.split_once('>'));
            let (code, modifiers) = match named {
                Some((name, after)) => {
                    rest = after;
                    let (name, modifiers) = match name.strip_prefix("ctrl-") {
                        Some(name) => (name, KeyModifiers::CONTROL),
                        None => (name, KeyModifiers::NONE),
                    };
                    let code = match name {
                        "enter" => KeyCode::Enter,
                        "esc" => KeyCode::Esc,
                        "up" => KeyCode::Up,
                        "down" => KeyCode::Down,
                        "right" => KeyCode::Right,
                        "tab" => KeyCode::Tab,
                        "pagedown" => KeyCode::PageDown,
                        "end" => KeyCode::End,
                        "home" => KeyCode::Home,
                        one => KeyCode::Char(one.chars().next().unwrap()),
                    };
                    (code, modifiers)
                }
                None => {
                    rest = &rest[c.len_utf8()..];
                    (KeyCode::Char(c), KeyModifiers::NONE)
                }
            };
            self.happens(Message::Key(KeyEvent::new(code, modifiers)));
        }
    }

    fn buffer(&self) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, self.m.size.0, self.m.size.1));
        view(&self.m, &mut buffer);
        buffer
    }

    /// The screen's text.
    fn text(&self) -> String {
        text(&self.buffer())
    }

    /// The line of the screen that has this.
    fn line(&self, part: &str) -> String {
        let text = self.text();
        text.lines().find(|l| l.contains(part)).unwrap_or_else(|| panic!("no {part:?} in\n{text}")).to_owned()
    }

    fn shows(&self, part: &str) -> bool {
        self.text().contains(part)
    }
}

fn text(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut x = 0;
        let mut line = String::new();
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            x += (unicode_width::UnicodeWidthStr::width(symbol) as u16).max(1);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The looks of every row as runs: `12 green bold · 3 · 40 dim`, for screens that differ in looks only.
fn looks(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut runs: Vec<(String, u16)> = Vec::new();
        for x in 0..buffer.area.width {
            let name = look(buffer[(x, y)].style());
            match runs.last_mut() {
                Some((last, n)) if *last == name => *n += 1,
                _ => runs.push((name, 1)),
            }
        }
        if runs.last().is_some_and(|(name, _)| name.is_empty()) {
            runs.pop();
        }
        let runs: Vec<String> = runs.iter().map(|(name, n)| format!("{n}{name}")).collect();
        out.push_str(&format!("{y:>2}: {}\n", runs.join(" · ")));
    }
    out
}

fn look(style: Style) -> String {
    let mut out = String::new();
    match style.fg {
        None | Some(Color::Reset) => {}
        Some(colour) => out.push_str(&format!(" {}", colour.to_string().to_lowercase())),
    }
    assert!(matches!(style.bg, None | Some(Color::Reset)), "a background of its own: {style:?}");
    for (modifier, name) in [
        (Modifier::BOLD, " bold"),
        (Modifier::DIM, " dim"),
        (Modifier::UNDERLINED, " under"),
        (Modifier::REVERSED, " reversed"),
        (Modifier::CROSSED_OUT, " crossed"),
    ] {
        if style.add_modifier.contains(modifier) {
            out.push_str(name);
        }
    }
    out
}
