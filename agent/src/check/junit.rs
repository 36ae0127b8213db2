//! The report as JUnit's XML, which CI systems read. Text from the handler may hold anything: what XML cannot hold is replaced.

use std::fmt::Write as _;

use super::report::{Mark, Report};

/// The report as one XML document.
pub fn junit(report: &Report) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "<testsuites>\n<testsuite name=\"healthie-tunnel check\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" \
         time=\"{:.3}\">\n<properties>\n<property name=\"target\" value=\"{}\"/>\n<property name=\"profile\" value=\"{}\"/>\n\
         <property name=\"signed-path\" value=\"{}\"/>\n</properties>",
        report.cases.len(),
        report.failed,
        report.not_run,
        report.duration_ms / 1000.0,
        escape(&report.target),
        escape(&report.profile),
        escape(&report.signed_path),
    );
    for line in &report.cases {
        let total: f64 = line.requests.iter().map(|r| r.duration_ms).sum();
        let _ = write!(
            out,
            "<testcase classname=\"healthie-tunnel.check.{}\" name=\"{}\" time=\"{:.3}\">",
            line.right,
            escape(line.case),
            total / 1000.0
        );
        let why = line.why.join("\n");
        match line.mark {
            Mark::Pass => {}
            Mark::NotRun => out.push_str("<skipped message=\"the handler had ended or answered no more\"/>"),
            Mark::Warn => {
                let _ = write!(out, "<system-out>warning: {}</system-out>", escape(&why));
            }
            Mark::Fail => {
                let named = report.findings.iter().filter(|d| d.cases.contains(&line.case));
                let names: Vec<_> = named.clone().map(|d| d.name).collect();
                let mut text = why.clone();
                for d in named {
                    let _ = write!(text, "\n{}: {}. {}", d.name, d.what, d.todo);
                }
                if let Some(advice) = line.advice {
                    let _ = write!(text, "\n{advice}");
                }
                for a in line.requests.iter().filter(|a| !a.answer.is_empty()).take(1) {
                    let _ = write!(text, "\nthe handler said: {}", a.answer);
                }
                let _ = write!(
                    out,
                    "<failure type=\"{}\" message=\"{}\">{}</failure>",
                    escape(&names.join(" ")),
                    escape(line.why.first().map_or("", |w| w)),
                    escape(&text)
                );
            }
        }
        out.push_str("</testcase>\n");
    }
    out.push_str("</testsuite>\n</testsuites>\n");
    out
}

/// Text for element content and for attribute values. Characters that XML 1.0 does not allow become U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // As references, so that attributes keep them (XML 1.0, section 3.3.3).
            '\n' | '\r' | '\t' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::{Answered, Class, Diagnosis, Line};
    use proptest::prelude::*;

    fn report(text: &str) -> Report {
        let request = Answered {
            label: String::new(),
            class: Class::Accepted,
            status: Some(200),
            error: None,
            location: None,
            answer: text.to_owned(),
            duration_ms: 1.0,
        };
        let line = |case, mark| Line {
            case,
            sends: "x",
            right: "refuse",
            mark,
            why: vec![text.to_owned()],
            advice: Some("do"),
            class: Some(Class::Accepted),
            slowest_ms: 1.0,
            crashed: false,
            requests: vec![request.clone()],
        };
        Report {
            target: text.to_owned(),
            signed_path: "/".into(),
            profile: "guide".into(),
            ok: false,
            passed: 0,
            warned: 1,
            failed: 1,
            not_run: 1,
            requests: 3,
            duration_ms: 12.0,
            findings: vec![Diagnosis {
                name: "digest-only",
                mark: Mark::Fail,
                what: text.to_owned(),
                todo: "y".into(),
                cases: vec!["unsigned"],
            }],
            cases: vec![line("unsigned", Mark::Fail), line("query", Mark::Warn), line("burst", Mark::NotRun)],
        }
    }

    /// As much of a parser as shows that hostile text cannot become markup: tags nest, attributes are quoted, no other `<` and `&`.
    fn elements(xml: &str) -> Vec<String> {
        let mut open: Vec<String> = Vec::new();
        let mut seen = Vec::new();
        let mut rest = xml.split_once("?>").expect("a declaration").1;
        while let Some((text, tag)) = rest.split_once('<') {
            assert!(!text.contains('>'), "{text}");
            let (tag, after) = tag.split_once('>').expect("a tag ends");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            let name = tag.trim_matches('/').split(' ').next().unwrap_or_default().to_owned();
            if tag.starts_with('/') {
                assert_eq!(open.pop().as_ref(), Some(&name));
            } else {
                seen.push(name.clone());
                if !tag.ends_with('/') {
                    open.push(name);
                }
            }
            rest = after;
        }
        assert!(open.is_empty(), "{open:?}");
        seen
    }

    #[test]
    fn failures_warnings_and_what_was_not_run() {
        let xml = junit(&report("plain"));
        let seen = elements(&xml);
        let count = |name| seen.iter().filter(|s| *s == name).count();
        assert_eq!((count("testcase"), count("failure"), count("skipped"), count("system-out")), (3, 1, 1, 1));
        assert!(xml.contains("type=\"digest-only\""), "{xml}");
    }

    proptest! {
        #[test]
        fn hostile_text_stays_text(text in any::<String>(), bad in "[<>&\"'\u{0}-\u{1f}\\]]{0,20}") {
            let plain = elements(&junit(&report("plain")));
            let xml = junit(&report(&format!("{text}{bad}")));
            prop_assert_eq!(elements(&xml), plain);
            let forbidden = xml.chars().any(|c| c.is_ascii_control() && c != '\n' && c != '\u{7f}');
            prop_assert!(!forbidden);
        }
    }
}
