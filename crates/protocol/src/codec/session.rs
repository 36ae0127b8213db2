//! What a session begins with and is steered by: hello, welcome, refusals, and how a tunnel answers its senders.

use std::time::Duration;

use bytes::Bytes;
use tunnel_delivery::{DeviceKey, Timestamp, TunnelName};

use super::{DecodeError, invalid, millis, parse, shown};
use crate::limits::MAX_BODY;
use crate::{AnswerMode, Answers, Hello, Refusal, Resume, Start, Welcome, wire};

impl Hello {
    pub(super) fn to_wire(&self) -> wire::Hello {
        let (start, start_at) = match self.start {
            Start::Now => (0, 0),
            Start::Beginning => (1, 0),
            Start::At(at) => (2, at.as_micros()),
        };
        wire::Hello {
            version_min: self.versions.0,
            version_max: self.versions.1,
            device: self.device.to_string(),
            software: self.software.clone(),
            start,
            start_at,
            window_deliveries: self.window_deliveries,
            window_bytes: self.window_bytes,
            resume_stream: self.resume.as_ref().map(|r| r.stream.clone()).unwrap_or_default(),
            resume_after: self.resume.as_ref().map_or(0, |r| r.after),
            device_key: self.device_key.map(|key| Bytes::copy_from_slice(key.as_bytes())).unwrap_or_default(),
        }
    }

    pub(super) fn from_wire(h: wire::Hello) -> Result<Hello, DecodeError> {
        Ok(Hello {
            versions: (h.version_min, h.version_max),
            device: parse("device name", &h.device)?,
            software: shown(h.software),
            start: match h.start {
                0 => Start::Now,
                1 => Start::Beginning,
                2 => Start::At(Timestamp::from_micros(h.start_at)),
                other => return Err(invalid("start", format!("is {other}, which this version does not know"))),
            },
            resume: (h.resume_after > 0 && !h.resume_stream.is_empty())
                .then(|| Resume { stream: h.resume_stream.clone(), after: h.resume_after }),
            window_deliveries: h.window_deliveries,
            window_bytes: h.window_bytes,
            device_key: match DeviceKey::from_slice(&h.device_key) {
                None if !h.device_key.is_empty() => return Err(invalid("device key", "is not 32 bytes long")),
                key => key,
            },
        })
    }
}

impl Welcome {
    pub(super) fn to_wire(&self) -> wire::Welcome {
        wire::Welcome {
            version: self.version,
            tunnel: self.tunnel.to_string(),
            answer_mode: mode_to_wire(self.answer_mode),
            public_urls: self.public_urls.clone(),
            max_body: self.max_body,
            heartbeat_ms: millis(self.heartbeat),
            dead_after_ms: millis(self.dead_after),
            stream: self.stream.clone(),
            after: self.after,
            waiting: self.waiting,
            software: self.software.clone(),
            sets_answer: self.sets_answer,
            sealed: self.sealed,
            notice: self.notice.clone().unwrap_or_default(),
            read_only: self.read_only,
        }
    }

    pub(super) fn from_wire(w: wire::Welcome) -> Result<Welcome, DecodeError> {
        if w.heartbeat_ms < 10 || w.dead_after_ms <= w.heartbeat_ms {
            return Err(invalid("heartbeat", format!("is {} ms of {} ms", w.heartbeat_ms, w.dead_after_ms)));
        }
        Ok(Welcome {
            version: w.version,
            tunnel: parse::<TunnelName>("tunnel name", &w.tunnel)?,
            answer_mode: mode_from_wire(w.answer_mode)?,
            public_urls: w.public_urls.into_iter().take(16).map(shown).collect(),
            max_body: w.max_body.min(MAX_BODY),
            heartbeat: Duration::from_millis(w.heartbeat_ms.into()),
            dead_after: Duration::from_millis(w.dead_after_ms.into()),
            stream: w.stream,
            after: w.after,
            waiting: w.waiting,
            software: shown(w.software),
            sets_answer: w.sets_answer,
            sealed: w.sealed,
            notice: (!w.notice.is_empty()).then(|| shown(w.notice)),
            read_only: w.read_only,
        })
    }
}

impl Answers {
    pub(super) fn to_wire(&self) -> wire::Answers {
        // A refusal without words must not read as done.
        let refused = match &self.refused {
            Some(why) if why.is_empty() => "it is refused".to_owned(),
            Some(why) => why.clone(),
            None => String::new(),
        };
        wire::Answers { asked: self.asked, mode: mode_to_wire(self.mode), refused }
    }

    pub(super) fn from_wire(a: wire::Answers) -> Result<Answers, DecodeError> {
        let refused = (!a.refused.is_empty()).then(|| shown(a.refused));
        Ok(Answers { asked: a.asked, mode: mode_from_wire(a.mode)?, refused })
    }
}

pub(super) fn mode_to_wire(mode: AnswerMode) -> u32 {
    match mode {
        AnswerMode::Ack => 0,
        AnswerMode::Passthrough => 1,
    }
}

pub(super) fn mode_from_wire(mode: u32) -> Result<AnswerMode, DecodeError> {
    match mode {
        0 => Ok(AnswerMode::Ack),
        1 => Ok(AnswerMode::Passthrough),
        other => Err(invalid("answer mode", format!("is {other}, which this version does not know"))),
    }
}

pub(super) fn refusal_code(refusal: Refusal) -> u32 {
    match refusal {
        Refusal::Version => 1,
        Refusal::BadHello => 2,
        Refusal::TooMany => 4,
        Refusal::Unavailable => 5,
        Refusal::Other(code) => code,
    }
}

pub(super) fn refusal(code: u32) -> Refusal {
    match code {
        1 => Refusal::Version,
        2 => Refusal::BadHello,
        4 => Refusal::TooMany,
        5 => Refusal::Unavailable,
        other => Refusal::Other(other),
    }
}
