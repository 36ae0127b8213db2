//! Files of deliveries that somebody else made: fixtures, raw requests, HAR, archives of fixtures, scenarios, curl lines.

use healthie_tunnel::request_text::{self, Form};
use tunnel_fixture::{Packing, Passphrase, Phi, Scenario, from_har, fuzzing, lint, read, to_har};

/// What opens the sealed archives among the kept inputs.
const PASSPHRASE: &str = "fuzz";
/// The greatest cost of a seal (a power of 2) that is worth a fuzzer's time.
const MOST_WORK: u8 = 4;

/// What is read is written to what is read the same, and to the same text.
pub(crate) fn fixture(input: &[u8]) {
    let _ = lint("f", input);
    let Ok(first) = read("f", input) else { return };
    let text = first.to_text();
    let again = read("f", text.as_bytes()).unwrap_or_else(|e| panic!("what was written is not read: {e}\n{text}"));
    assert_eq!(again, first, "{text}");
    assert_eq!(again.to_text(), text);
    // A file must not act on the terminal of whoever looks at it.
    assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{text:?}");
}

/// Likewise a set as HAR.
pub(crate) fn har(input: &[u8]) {
    let Ok(import) = from_har("f", input) else { return };
    let text = to_har(&import.set, Phi::Allow).expect("nothing forbids it");
    let again = from_har("f", text.as_bytes()).unwrap_or_else(|e| panic!("what was written is not read: {e}\n{text}"));
    assert!(again.skipped.is_empty(), "{:?}\n{text}", again.skipped);
    assert_eq!(again.set, import.set, "{text}");
}

/// Likewise a set as an archive, sealed or not.
pub(crate) fn bundle(input: &[u8]) {
    if costly(input) {
        return;
    }
    let passphrase = Passphrase::new(PASSPHRASE).expect("it is not empty");
    let Ok(set) = fuzzing::unpack(input, Some(&passphrase)) else { return };
    for (name, _) in set.iter() {
        let name = name.as_str();
        assert!(
            !name.starts_with('/') && !name.contains('\\') && !name.split('/').any(|part| part == ".."),
            "{name:?}"
        );
    }
    if set.is_empty() {
        return;
    }
    for packing in [Packing::Tar, Packing::Gzip] {
        let packed = fuzzing::pack(&set, packing).expect("what was unpacked is packed");
        let again = fuzzing::unpack(&packed, None).expect("what was packed is unpacked");
        assert_eq!(again, set);
        assert_eq!(fuzzing::pack(&again, packing).ok(), Some(packed));
    }
}

/// Whether it is sealed at a cost that would be most of a fuzzer's time: `-> scrypt SALT WORK`.
fn costly(input: &[u8]) -> bool {
    let mut lines = input.split(|b| *b == b'\n').take(20);
    let work = lines.find_map(|line| line.strip_prefix(b"-> scrypt "));
    let Some(work) = work.and_then(|line| line.rsplit(|b| *b == b' ').next()) else { return false };
    std::str::from_utf8(work).ok().and_then(|work| work.parse().ok()).is_none_or(|work: u8| work > MOST_WORK)
}

/// A scenario is told alike each time.
pub(crate) fn scenario(input: &[u8]) {
    let Ok(scenario) = Scenario::read("f", input) else { return };
    let _ = scenario.unknown().count();
    let told = scenario.tell(7, tunnel_catalogue::IdStyle::Text);
    assert!(told.len() <= scenario.steps.len());
}

/// A request in whatever form somebody has it at hand; no file is there for a curl line to name.
pub(crate) fn request_text(input: &[u8]) {
    let no_files = |name: &str| Err(format!("{name} is not there"));
    let written = match request_text::read(input, &no_files) {
        Ok(written) => written,
        Err(e) => return assert!(!e.to_string().is_empty()),
    };
    let line_ends = |bytes: &[u8]| bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
    if written.form != Form::Http {
        return;
    }
    assert!(!line_ends(written.method.as_bytes()) && !line_ends(written.target.as_bytes()));
    assert!(!written.headers.iter().any(|line| line_ends(&line.name) || line_ends(&line.value)));
    let chunked = written.headers.get_all("transfer-encoding").any(|value| value.eq_ignore_ascii_case(b"chunked"));
    if chunked {
        return; // its body may be chunks itself
    }
    let text = request_text::http_text(&written.method, &written.target, &written.headers, &written.body);
    let again = request_text::read(&text, &no_files).unwrap_or_else(|e| panic!("what was written is not read: {e}"));
    assert_eq!(again, written);
}
