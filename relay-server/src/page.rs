//! What a person sees who comes with a browser: a plain page that says what this is.
//!
//! It is the same for the front page and for every tunnel's address, whether the tunnel exists or not, and says nothing about anybody. It is data: it names no
//! other address, and its policy lets a browser do nothing with it.

use tunnel_delivery::Headers;

/// The page.
pub(crate) const PAGE: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<meta name=\"robots\" content=\"noindex\">
<title>healthie-relay</title>
</head>
<body>
<h1>This is a healthie-relay</h1>
<p>It takes webhooks and passes them on to the machines of the developers they are meant for. There are no pages here, and nothing to sign in to.</p>
<p>If a link or a form brought you here and asks for anything, do not answer it: nothing that this address shows comes from Healthie.</p>
</body>
</html>
";

/// What a browser may do with a page or answer of ours: show it, and nothing else.
pub(crate) const POLICY: &str = "sandbox; default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Whether whoever asks would rather have a page than JSON: a browser names HTML, programs do not.
pub(crate) fn is_wanted(method: &str, headers: &Headers) -> bool {
    let html = |range: &[u8]| {
        let kind = range.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        kind.eq_ignore_ascii_case(b"text/html") || kind.eq_ignore_ascii_case(b"application/xhtml+xml")
    };
    matches!(method, "GET" | "HEAD") && headers.get_all("accept").any(|line| line.split(|b| *b == b',').any(html))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(method: &str, accept: &str) -> bool {
        let mut headers = Headers::default();
        headers.push("Accept", accept.to_owned());
        is_wanted(method, &headers)
    }

    #[test]
    fn browsers_get_it_and_programs_do_not() {
        assert!(wanted("GET", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(wanted("HEAD", "image/png, Text/HTML;q=0.1"));
        assert!(!wanted("GET", "*/*") && !wanted("GET", "application/json") && !wanted("POST", "text/html"));
        assert!(!is_wanted("GET", &Headers::default()));
    }

    #[test]
    fn the_page_can_do_nothing_and_leads_nowhere() {
        for evil in ["<script", "<link", "<form", "<a ", "<img", "<iframe", "http:", "https:", "style", " on"] {
            let found = PAGE.to_ascii_lowercase().match_indices(evil).count();
            assert_eq!(found, usize::from(evil == " on") * found.min(1), "{evil}");
        }
    }
}
