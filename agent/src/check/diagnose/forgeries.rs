//! The faults of a handler that takes what Healthie did not send: which check it leaves out. Pure.

use super::Findings;

/// The cases that only somebody who forges a delivery would send, besides the one that is unsigned altogether.
const FORGED: [&str; 12] = [
    "body-changed",
    "digest-changed",
    "body-and-digest-changed",
    "signature-changed",
    "wrong-secret",
    "another-s-signature",
    "path-changed",
    "query-changed",
    "wrong-method",
    "empty-signature",
    "cut-signature",
    "empty-body",
];

/// The cases that lack headers, with what they lack.
const LACKING: [(&str, &str); 4] = [
    ("unsigned", "any signature header"),
    ("no-signature", "Signature"),
    ("no-digest", "Content-Digest"),
    ("no-signature-input", "Signature-Input"),
];

impl Findings<'_> {
    /// Forged or unsigned deliveries were accepted.
    pub(super) fn forgeries(&mut self) {
        let forged: Vec<&str> = FORGED.into_iter().filter(|c| self.accepted(c)).collect();
        let lacking: Vec<&str> = LACKING.iter().map(|(c, _)| *c).filter(|c| self.accepted(c)).collect();
        let body = self.accepted("body-changed");
        let signature = self.accepted("wrong-secret") || self.accepted("body-and-digest-changed");
        if body && signature {
            let cases = [&forged[..], &lacking[..]].concat();
            let todo = "verify the signature: anybody who knows the URL can send it anything (`healthie-tunnel verify latest` shows \
                        what is signed)";
            self.add("no-verification", &cases, "it takes whatever is sent to it", todo);
            return;
        }
        if signature {
            // What has no signature, or part of one, is only more of the same.
            let same: Vec<&str> =
                lacking.iter().copied().filter(|c| *c == "no-signature" || *c == "no-signature-input").collect();
            let cases = [&forged[..], &same[..]].concat();
            let what = "it compares the digest with the body and not the signature: whoever forges a body computes its digest too";
            self.add(
                "digest-only",
                &cases,
                what,
                "compute the HMAC of the signed string with the secret and compare it with Signature",
            );
        } else if body {
            let cases: Vec<&str> = ["body-changed", "empty-body"].into_iter().filter(|c| self.accepted(c)).collect();
            let what = "it verifies the signature over the headers and does not compare Content-Digest with the body: the body can be \
                        exchanged";
            self.add(
                "body-unchecked",
                &cases,
                what,
                "compute the SHA-256 of the raw body and compare it with Content-Digest",
            );
        }
        let missing: Vec<&str> = lacking.into_iter().filter(|c| !self.explained(c)).collect();
        if !missing.is_empty() {
            let names: Vec<_> = LACKING.iter().filter(|(c, _)| missing.contains(c)).map(|(_, name)| *name).collect();
            let what = format!("it takes deliveries without {}", names.join(", without "));
            self.add(
                "accepts-unsigned",
                &missing,
                what,
                "refuse with 401 what lacks one of the three signature headers",
            );
        }
        for (name, cases, what, todo) in [
            (
                "digest-unchecked",
                &["digest-changed"][..],
                "it does not look at Content-Digest",
                "compare Content-Digest with the SHA-256 of the raw body, or it will not notice when the two differ",
            ),
            (
                "partial-signature",
                &["empty-signature", "cut-signature"],
                "it takes the beginning of a signature for the whole: one can be guessed piece by piece, or left out",
                "compare signatures of equal length only, in constant time (hmac.compare_digest, crypto.timingSafeEqual)",
            ),
            (
                "signature-unchecked",
                &["signature-changed", "another-s-signature"],
                "it does not compare all of the signature with this delivery",
                "compute the HMAC of this delivery's signed string and compare all of it",
            ),
            (
                "path-unchecked",
                &["path-changed"],
                "it takes what was signed for another path",
                "put the path of the URL registered with Healthie into the signed string",
            ),
            (
                "query-unchecked",
                &["query-changed"],
                "it takes a query that was not signed",
                "put the query as it came into the signed string",
            ),
            (
                "method-unchecked",
                &["wrong-method"],
                "it takes a method that was not signed",
                "take POST only, and put the method as it came into the signed string",
            ),
            (
                "empty-body-unchecked",
                &["empty-body"],
                "it does not compare the digest of an empty body",
                "compare the digest whatever the body is",
            ),
        ] {
            let cases: Vec<&str> = cases.iter().copied().filter(|c| self.accepted(c) && !self.explained(c)).collect();
            self.add(name, &cases, what, todo);
        }
    }
}
