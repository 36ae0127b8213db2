//! Every key there is, as data.

/// What a project's file may do with a key. Such a file comes with a folder, from whoever wrote that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InProject {
    /// Set it: at worst the handler of that folder gets other deliveries, later, or none.
    Free,
    /// Set it to this machine (loopback) as it likes, and to anything else with the user's consent.
    Near,
    /// Set it with the user's consent.
    Asked,
    /// Nothing.
    Never,
}

impl InProject {
    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            InProject::Free => "free",
            InProject::Near => "near",
            InProject::Asked => "asked",
            InProject::Never => "never",
        }
    }
}

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// In files.
    pub name: &'static str,
    /// On the command line.
    pub flag: &'static str,
    /// In the environment.
    pub variable: &'static str,
    /// Whether it may have several values; in the environment they are separated by commas.
    pub many: bool,
    /// Whether it must never be shown.
    pub private: bool,
    /// What a project's file may do with it.
    pub in_project: InProject,
    /// What holds where nobody set it.
    pub default: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
}

macro_rules! keys {
    ($($name:literal $flag:literal $variable:literal $($mark:ident)* = $default:literal : $about:literal;)*) => {
        /// Every setting, in the order in which `config` shows them.
        pub const KEYS: &[Key] = &[$(Key {
            name: $name, flag: $flag, variable: $variable,
            many: keys!(@has many $($mark)*), private: keys!(@has private $($mark)*),
            in_project: keys!(@project $($mark)*), default: $default, about: $about,
        }),*];
    };
    (@has many many $($rest:ident)*) => { true };
    (@has private private $($rest:ident)*) => { true };
    (@has $what:ident $other:ident $($rest:ident)*) => { keys!(@has $what $($rest)*) };
    (@has $what:ident) => { false };
    (@project near $($rest:ident)*) => { InProject::Near };
    (@project asked $($rest:ident)*) => { InProject::Asked };
    (@project never $($rest:ident)*) => { InProject::Never };
    (@project $other:ident $($rest:ident)*) => { keys!(@project $($rest)*) };
    (@project) => { InProject::Free };
}

keys! {
    "relay" "--relay" "HEALTHIE_TUNNEL_RELAY" asked = "": "the relay's address, http(s)://HOST:PORT";
    "allow_plain_http" "--allow-plain-http" "HEALTHIE_TUNNEL_ALLOW_PLAIN_HTTP" never = "false": "talk to a relay beyond this machine without TLS";
    "token" "--token" "HEALTHIE_TUNNEL_TOKEN" private asked = "": "the token that the relay gave, or @FILE";
    "tunnel" "--tunnel" "HEALTHIE_TUNNEL_TUNNEL" asked = "the token's": "the tunnel's name";
    "data" "--data" "HEALTHIE_TUNNEL_DATA" asked = "the user's data folder": "the folder that deliveries are kept in";
    "secret" "--secret" "HEALTHIE_WEBHOOK_SECRET" many private asked = "": "the webhook's signing secret, or @FILE; several while it is rotated";
    "ca" "--ca" "HEALTHIE_TUNNEL_CA" asked = "": "a PEM file of certificates to trust besides the platform's";
    "device" "--device" "HEALTHIE_TUNNEL_DEVICE" asked = "made once": "this agent's name within the tunnel";
    "since" "--since" "HEALTHIE_TUNNEL_SINCE" = "now": "where a device that the tunnel does not know starts";
    "target" "TARGET" "HEALTHIE_TUNNEL_TARGET" near = "": "where deliveries are forwarded to";
    "forward" "--forward" "HEALTHIE_TUNNEL_FORWARD" many near = "": "PATTERN=TARGET, the first that matches wins";
    "forward_as" "--forward-as" "HEALTHIE_TUNNEL_FORWARD_AS" = "": "sent or resigned";
    "host_header" "--host-header" "HEALTHIE_TUNNEL_HOST_HEADER" = "sent": "sent or target";
    "events" "--events" "HEALTHIE_TUNNEL_EVENTS" many = "": "only events of these patterns are forwarded";
    "skip_invalid" "--skip-invalid" "HEALTHIE_TUNNEL_SKIP_INVALID" = "false": "forward only what has a valid signature";
    "no_forward" "--no-forward" "HEALTHIE_TUNNEL_NO_FORWARD" = "false": "store and verify only";
    "timeout" "--timeout" "HEALTHIE_TUNNEL_TIMEOUT" = "30s": "how long a handler may take";
    "concurrency" "--concurrency" "HEALTHIE_TUNNEL_CONCURRENCY" = "16": "how many deliveries are forwarded at once";
    "tunnel_headers" "--no-tunnel-headers" "HEALTHIE_TUNNEL_TUNNEL_HEADERS" = "true": "tell handlers delivery, attempt and replay in Healthie-Tunnel-… lines";
    "retry" "--retry" "HEALTHIE_TUNNEL_RETRY" = "0": "how often a delivery that could not be handed over is tried again";
    "retry_backoff" "--retry-backoff" "HEALTHIE_TUNNEL_RETRY_BACKOFF" = "1s..1m": "the first and the longest pause between tries";
    "retry_on" "--retry-on" "HEALTHIE_TUNNEL_RETRY_ON" = "connect,timeout,5xx,429,exit": "after what it is tried again";
    "exec" "--exec" "HEALTHIE_TUNNEL_EXEC" never = "": "a command that each delivery is given to, as JSON on standard input";
    "keep" "--keep" "HEALTHIE_TUNNEL_KEEP" asked = "30d": "how long deliveries are kept, or forever";
    "keep_count" "--keep-count" "HEALTHIE_TUNNEL_KEEP_COUNT" asked = "all": "how many deliveries are kept, or all";
    "keep_size" "--keep-size" "HEALTHIE_TUNNEL_KEEP_SIZE" asked = "4GiB": "how much is kept, or all";
    "otlp_endpoint" "--otlp-endpoint" "HEALTHIE_TUNNEL_OTLP_ENDPOINT" asked = "": "an OpenTelemetry collector that traces are sent to, such as http://127.0.0.1:4318";
    "store_key" "--store-key-file" "HEALTHIE_TUNNEL_STORE_KEY" private never = "": "the key that the store is encrypted with: 32 random bytes, base64 or hexadecimal";
    "store_key_file" "--store-key-file" "HEALTHIE_TUNNEL_STORE_KEY_FILE" never = "": "a file with that key, which only you can read";
    "store_key_command" "--store-key-command" "HEALTHIE_TUNNEL_STORE_KEY_COMMAND" never = "": "a command that prints that key, such as `pass show healthie-tunnel`";
    "store_key_keyring" "--store-key-keyring" "HEALTHIE_TUNNEL_STORE_KEY_KEYRING" never = "": "the name of that key in the system's keyring";
    "ui" "--ui" "HEALTHIE_TUNNEL_UI" = "tui on a terminal, else log": "tui, log or json";
    "inspector_port" "--inspector-port" "HEALTHIE_TUNNEL_INSPECTOR_PORT" = "any": "the port of the local interface";
}
