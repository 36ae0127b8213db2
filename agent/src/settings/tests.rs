//! The layers together: which place wins, and what a project's file may say.

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn the_nearest_place_wins_and_is_remembered() {
    let home = tempfile::tempdir().unwrap();
    let project = tempfile::tempdir().unwrap();
    let user = home.path().join(".config/healthie-tunnel/config.toml");
    std::fs::create_dir_all(user.parent().unwrap()).unwrap();
    std::fs::write(
        &user,
        "relay = \"http://user\"\ntunnel = \"user\"\ndevice = \"user\"\ntimeout = 5\nexec = \"true\"\n",
    )
    .unwrap();
    let file = project.path().join(PROJECT_FILE);
    std::fs::write(
        &file,
        "tunnel = \"project\"\ndevice = \"project\"\nsecret = [\"a,b\", \"c\"]\nskip_invalid = true\n",
    )
    .unwrap();
    allow(home.path(), project.path());
    let home_text = home.path().to_str().unwrap();
    let env = environment(&[("HOME", home_text), ("HEALTHIE_TUNNEL_DEVICE", "env"), ("HEALTHIE_TUNNEL_TOKEN", "env")]);
    let s = Settings::load(vec![("token", "flag".into())], env, project.path()).unwrap();
    let of = |key| s.raw(key).map(|s| (s.values[0].as_str(), s.origin.to_string()));
    assert_eq!(of("relay"), Some(("http://user", format!("file {}:1", user.display()))));
    assert_eq!(of("tunnel"), Some(("project", format!("file {}:1", file.display()))));
    assert_eq!(of("device"), Some(("env", "environment HEALTHIE_TUNNEL_DEVICE".into())));
    assert_eq!(of("token"), Some(("flag", "flag --token".into())));
    assert_eq!(of("timeout").unwrap().0, "5");
    assert_eq!(of("exec").unwrap().0, "true");
    assert_eq!(s.secrets().unwrap().len(), 2);
    assert!(s.is_set("skip_invalid").unwrap() && !s.is_set("no_forward").unwrap());
    assert_eq!(s.data().unwrap(), home.path().join(".local/share/healthie-tunnel"));
}

#[test]
fn several_secrets_come_from_one_variable() {
    let env = environment(&[("HEALTHIE_WEBHOOK_SECRET", "whsec_a, whsec_b,")]);
    let s = Settings::load(Vec::new(), env, Path::new("/nonexistent")).unwrap();
    assert_eq!(s.secrets().unwrap().len(), 2);
    assert!(matches!(s.data(), Err(SettingsError::Missing { key: "data" })));
}

#[test]
fn unknown_keys_and_wrong_types_are_named_without_their_values() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(PROJECT_FILE);
    let load = |text: &str| {
        std::fs::write(&file, text).unwrap();
        Settings::load(Vec::new(), Environment::default(), folder.path())
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default()
    };
    for (written, meant) in [
        ("allow-plain-http = true", "did you mean allow_plain_http?"),
        ("Skip-Invalid = true", "did you mean skip_invalid?"),
        ("filter = {}", "did you mean filters?"),
        ("xyzzy = 1", "which is not known"),
        ("keys = 5", "not a table, [keys]"),
    ] {
        let told = load(written);
        assert!(told.ends_with(meant), "{written}: {told}");
    }
    assert!(!load(&format!("{} = 1", "t".repeat(100_000))).contains("did you mean"));
    let unknown = load("tokn = \"x\"");
    assert!(unknown.contains("\"tokn\"") && unknown.contains("healthie-tunnel.toml"), "{unknown}");
    assert!(load("token = [\"whsec_private\"]").contains("\"token\""));
    let broken = load("a = 1\nsecret = \"whsec_private");
    assert!(broken.contains("line 2") && !broken.contains("whsec_private"), "{broken}");
    assert_eq!(load("secret = \"x\"\ntimeout = 5"), "");
    let command = load("exec = \"touch /tmp/x\"");
    assert!(command.contains("\"exec\"") && command.contains("--exec"), "a folder runs nothing: {command}");
}

#[test]
fn keys_of_the_inspector_are_a_table_and_the_project_wins() {
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let load = |project: &str| {
        std::fs::create_dir_all(home.path().join("healthie-tunnel")).unwrap();
        let user = "[keys]\nreplay = \"x\"\npin = \"P\"\n";
        std::fs::write(home.path().join("healthie-tunnel/config.toml"), user).unwrap();
        std::fs::write(folder.path().join(PROJECT_FILE), project).unwrap();
        let env = environment(&[("XDG_CONFIG_HOME", home.path().to_str().unwrap())]);
        Settings::load(Vec::new(), env, folder.path())
    };
    let settings = load("[keys]\nreplay = \"ctrl-r f5\"\n").unwrap();
    let keys: Vec<_> = settings.key_bindings().iter().map(|k| (k.action.as_str(), k.keys.as_str())).collect();
    assert_eq!(keys, [("pin", "P"), ("replay", "ctrl-r f5")]);
    assert_eq!(
        load("[filters]\nbad = \"sig:invalid\"\n")
            .unwrap()
            .filters()
            .map(|(_, query, _)| query.to_owned())
            .collect::<Vec<_>>(),
        ["sig:invalid"]
    );
    assert!(load("[filters]\nbad = 5\n").unwrap_err().to_string().contains("\"bad\""));
    let error = load("[keys]\nreplay = 5\n").unwrap_err().to_string();
    assert!(error.contains("\"replay\"") && error.contains(PROJECT_FILE), "{error}");
}

#[test]
fn secrets_may_be_in_a_file_and_are_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "tok_private\n").unwrap();
    let flags = vec![("token", format!("@{}", file.display())), ("secret", "@/nonexistent/x".into())];
    let s = Settings::load(flags, Environment::default(), folder.path()).unwrap();
    let token = s.token().unwrap().unwrap();
    assert_eq!(token.expose(), "tok_private");
    assert!(!format!("{token:?}").contains("private"));
    let error = s.secrets().unwrap_err();
    assert!(error.to_string().contains("/nonexistent/x"), "{error}");
    assert!(error.hint().unwrap().contains("HEALTHIE_WEBHOOK_SECRET"));
}

/// By their types: what is in memory after that is not looked at.
#[test]
fn what_was_written_anywhere_is_wiped() {
    fn is_wiped(_: &impl zeroize::ZeroizeOnDrop) {}
    let place = Place::new("token = \"tok\"\n", "secret = \"whsec\"\n");
    let s = place.load(&[("tunnel", "x")], &[("HEALTHIE_TUNNEL_DEVICE", "y")]);
    for key in ["token", "secret", "tunnel", "device"] {
        is_wiped(&s.raw(key).unwrap().values);
    }
    is_wiped(&s.wishes().unwrap().all[0].values);
}

/// Says yes to what the project's file says now.
fn allow(home: &Path, project: &Path) {
    let env = environment(&[("HOME", home.to_str().unwrap())]);
    let settings = Settings::load(Vec::new(), env, project).unwrap();
    settings.consents().unwrap().give(settings.wishes().unwrap()).unwrap();
}

/// A home with settings of its user's, and a project's folder.
struct Place {
    home: tempfile::TempDir,
    project: tempfile::TempDir,
}

impl Place {
    fn new(user: &str, project: &str) -> Place {
        let place = Place { home: tempfile::tempdir().unwrap(), project: tempfile::tempdir().unwrap() };
        let own = place.home.path().join(".config/healthie-tunnel");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("config.toml"), user).unwrap();
        place.says(project);
        place
    }

    fn says(&self, project: &str) {
        std::fs::write(self.project.path().join(PROJECT_FILE), project).unwrap();
    }

    fn load(&self, flags: &[(&'static str, &str)], variables: &[(&str, &str)]) -> Settings {
        let home = [("HOME", self.home.path().to_str().unwrap())];
        let flags = flags.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        let env = environment(&home.iter().chain(variables).copied().collect::<Vec<_>>());
        Settings::load(flags, env, self.project.path()).unwrap()
    }

    fn relay(&self) -> Result<String, SettingsError> {
        self.load(&[], &[]).relay().map(|r| r.unwrap().to_string())
    }
}

const EVIL: &str = "relay = \"https://evil.test\"\n";

#[test]
fn a_project_names_no_relay_until_the_user_says_yes_to_this_one() {
    let place = Place::new("token = \"tok_users\"\n", EVIL);
    let refused = place.relay().unwrap_err();
    assert!(matches!(refused, SettingsError::NotAllowed { key: "relay", .. }), "{refused}");
    assert!(
        refused.to_string().contains("your token") && refused.hint().unwrap().contains("config allow"),
        "{refused}"
    );
    // Who says it himself is heard.
    for s in [
        place.load(&[("relay", "https://mine.test")], &[]),
        place.load(&[], &[("HEALTHIE_TUNNEL_RELAY", "https://mine.test")]),
    ] {
        assert_eq!(s.relay().unwrap().unwrap().to_string(), "https://mine.test");
    }
    allow(place.home.path(), place.project.path());
    assert_eq!(place.relay().unwrap(), "https://evil.test");
    // What is free may change without being asked about; the order of lines says nothing.
    place.says(&format!("timeout = 5\n{EVIL}target = 4000\n"));
    assert_eq!(place.relay().unwrap(), "https://evil.test");
    for other in ["relay = \"https://worse.test\"\n".to_owned(), format!("{EVIL}tunnel = \"x\"\n")] {
        place.says(&other);
        assert!(matches!(place.relay(), Err(SettingsError::NotAllowed { .. })), "{other}");
    }
    place.says(EVIL);
    let consents = place.load(&[], &[]).consents().unwrap();
    assert!(consents.take_back(place.project.path()).unwrap());
    assert!(matches!(place.relay(), Err(SettingsError::NotAllowed { .. })));
    assert!(!consents.take_back(place.project.path()).unwrap(), "it was taken back already");
    // Whatever the file says by then, and where it is gone: it may say the same again later.
    for now in [Some("exec = \"rm\"\n"), Some("relay = ["), Some("timeout = 5\n"), None] {
        allow(place.home.path(), place.project.path());
        match now {
            Some(text) => place.says(text),
            None => std::fs::remove_file(place.project.path().join(PROJECT_FILE)).unwrap(),
        }
        assert!(consents.take_back(place.project.path()).unwrap(), "{now:?}");
        place.says(EVIL);
        assert!(matches!(place.relay(), Err(SettingsError::NotAllowed { .. })), "{now:?}");
    }
}

#[test]
fn consent_is_for_one_folder() {
    let place = Place::new("", EVIL);
    allow(place.home.path(), place.project.path());
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join(PROJECT_FILE), EVIL).unwrap();
    let env = environment(&[("HOME", place.home.path().to_str().unwrap())]);
    let settings = Settings::load(Vec::new(), env, elsewhere.path()).unwrap();
    assert!(matches!(settings.relay(), Err(SettingsError::NotAllowed { .. })));
    // Nor can a folder bring it along, nor is a broken record one.
    let consents = place.load(&[], &[]).consents().unwrap();
    consents.give(settings.wishes().unwrap()).unwrap();
    let records = place.home.path().join(".config/healthie-tunnel/allowed");
    assert_eq!(std::fs::read_dir(&records).unwrap().count(), 2);
    for record in std::fs::read_dir(&records).unwrap() {
        std::fs::write(record.unwrap().path(), "consent = [").unwrap();
    }
    assert!(matches!(place.relay(), Err(SettingsError::NotAllowed { .. })));
}

#[test]
fn what_the_user_says_too_needs_no_consent() {
    let place = Place::new(EVIL, EVIL);
    assert_eq!(place.relay().unwrap(), "https://evil.test");
    place.says("relay = \"https://other.test\"\n");
    assert!(matches!(place.relay(), Err(SettingsError::NotAllowed { .. })));
}

/// Each key once as a hostile folder would set it.
#[test]
fn every_key_that_a_folder_could_do_harm_with_is_held_back() {
    let hostile = [
        ("relay", "https://evil.test"),
        ("token", "@/etc/hostname"),
        ("tunnel", "production"),
        ("data", "prepared"),
        ("secret", "known"),
        ("ca", "ca.pem"),
        ("device", "laptop"),
        ("target", "https://evil.test/take"),
        ("forward", "*=http://10.0.0.1:80"),
        ("otlp_endpoint", "https://evil.test"),
        ("keep", "1s"),
        ("keep_count", "1"),
        ("keep_size", "1KiB"),
    ];
    for (name, value) in hostile {
        let place = Place::new("", &format!("{name} = \"{value}\"\n"));
        let s = place.load(&[], &[]);
        let read = s.read_all(name, |text| Ok(text.to_owned()));
        assert!(matches!(read, Err(SettingsError::NotAllowed { .. })), "{name}: {read:?}");
        assert!(s.raw(name).unwrap().held, "{name}");
        allow(place.home.path(), place.project.path());
        assert_eq!(place.load(&[], &[]).read_all(name, |text| Ok(text.to_owned())).unwrap(), [value]);
    }
    assert!(matches!(Place::new("", "data = \"d\"").load(&[], &[]).data(), Err(SettingsError::NotAllowed { .. })));
    let never: Vec<_> = KEYS.iter().filter(|k| k.in_project == InProject::Never).map(|k| k.name).collect();
    assert_eq!(never.join(" "), "allow_plain_http exec store_key store_key_file store_key_command store_key_keyring");
    for name in never {
        let place = Place::new("", &format!("{name} = \"true\"\n"));
        let refused = Settings::load(Vec::new(), Environment::default(), place.project.path()).unwrap_err();
        assert!(refused.to_string().contains("a project's file cannot"), "{refused}");
    }
    // A key that is added later is in one of the lists, or harmless.
    let free = KEYS.iter().filter(|k| k.in_project == InProject::Free).map(|k| k.name);
    assert_eq!(
        free.collect::<Vec<_>>().join(" "),
        "since forward_as host_header events skip_invalid no_forward timeout concurrency tunnel_headers retry retry_backoff retry_on ui \
         inspector_port"
    );
}

#[test]
fn handlers_on_this_machine_are_the_projects_to_name() {
    let place = Place::new("", "target = 3000\nforward = [\"a.*=http://[::1]:3000/x\", \"b.*=shop.localhost:1\"]\n");
    let s = place.load(&[], &[]);
    assert!(s.wishes().is_none() && !s.raw("target").unwrap().held && !s.raw("forward").unwrap().held);
    for beyond in ["http://localhost.evil.test", "http://0.0.0.0:80", "10.0.0.1:80", "127.0.0.1.evil.test:80"] {
        place.says(&format!("target = \"{beyond}\""));
        assert!(place.load(&[], &[]).raw("target").unwrap().held, "{beyond}");
    }
}

#[test]
fn a_file_cannot_be_exchanged_behind_its_name() {
    let place = Place::new("", "ca = \"ca.pem\"\ntoken = \"@tok\"\n");
    let at = |name: &str| place.project.path().join(name);
    let held = || place.load(&[], &[]).raw("ca").unwrap().held;
    std::fs::write(at("ca.pem"), "one").unwrap();
    std::fs::write(at("tok"), "tok_a").unwrap();
    allow(place.home.path(), place.project.path());
    assert!(!held());
    std::fs::write(at("tok"), "tok_b").unwrap();
    assert!(!held(), "a new token in the same file is the same wish");
    std::fs::write(at("ca.pem"), "two").unwrap();
    assert!(held());
    std::fs::write(at("ca.pem"), "one").unwrap();
    assert!(!held());
    #[cfg(unix)]
    {
        std::fs::remove_file(at("tok")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", at("tok")).unwrap();
        assert!(held());
    }
    // Of one that is longer than what is read of it, nobody can say that it is the same.
    std::fs::write(at("ca.pem"), vec![b'#'; (1 << 20) + 1]).unwrap();
    let settings = place.load(&[], &[]);
    let refused = settings.consents().unwrap().give(settings.wishes().unwrap()).unwrap_err();
    assert!(refused.to_string().contains("ca.pem is longer than"), "{refused}");
    assert!(held());
}

#[cfg(unix)]
#[test]
fn the_data_folder_is_where_it_was_when_it_was_allowed() {
    let place = Place::new("", "data = \"of/this\"\n");
    allow(place.home.path(), place.project.path());
    let at = |name: &str| place.project.path().join(name);
    let held = || place.load(&[], &[]).data().is_err();
    assert!(!held());
    std::fs::create_dir_all(at("of/this")).unwrap();
    assert!(!held(), "that it is made changes nothing");
    std::fs::remove_dir(at("of/this")).unwrap();
    std::os::unix::fs::symlink(place.home.path(), at("of/this")).unwrap();
    assert!(held());
    std::fs::remove_file(at("of/this")).unwrap();
    std::fs::remove_dir(at("of")).unwrap();
    std::os::unix::fs::symlink(place.home.path(), at("of")).unwrap();
    assert!(held());
}

#[test]
fn without_tls_no_token_leaves_this_machine_unless_the_user_takes_the_risk() {
    let plain = [("relay", "http://relay.test")];
    let place = Place::new("", "");
    for near in ["http://127.0.0.1:1", "http://localhost:1", "http://a.localhost", "ws://[::1]:1", "https://relay.test"]
    {
        assert!(place.load(&[("relay", near)], &[]).relay().is_ok(), "{near}");
    }
    for far in ["http://relay.test", "ws://relay.test", "http://localhost.relay.test", "http://10.0.0.1", "http://[::]"]
    {
        let refused = place.load(&[("relay", far)], &[]).relay().unwrap_err();
        assert!(matches!(refused, SettingsError::Plain { .. }), "{far}: {refused}");
        assert!(refused.hint().unwrap().contains("--allow-plain-http"));
    }
    assert!(place.load(&[plain[0], ("allow_plain_http", "true")], &[]).relay().is_ok());
    for yes in ["true", "YES", "On", "1"] {
        assert!(place.load(&plain, &[("HEALTHIE_TUNNEL_ALLOW_PLAIN_HTTP", yes)]).relay().is_ok(), "{yes}");
    }
    assert!(place.load(&plain, &[("HEALTHIE_TUNNEL_ALLOW_PLAIN_HTTP", "OFF")]).relay().is_err());
    assert!(Place::new("allow_plain_http = true", "").load(&plain, &[]).relay().is_ok());
}

#[test]
fn a_filter_of_the_users_keeps_its_meaning_in_any_folder() {
    let place = Place::new("[filters]\nold = \"until:90d\"\n", "[filters]\nold = \"is:pinned\"\nnew = \"since:1h\"\n");
    let s = place.load(&[], &[]);
    let filters: Vec<_> = s.filters().map(|(name, query, _)| (name, query)).collect();
    assert_eq!(filters, [("new", "since:1h"), ("old", "until:90d")]);
}

#[cfg(unix)]
#[test]
fn a_link_to_something_without_end_is_not_read() {
    let place = Place::new("", "");
    let file = place.project.path().join(PROJECT_FILE);
    let load = || Settings::load(Vec::new(), Environment::default(), place.project.path()).unwrap_err().to_string();
    std::fs::write(&file, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(load().contains("longer than"));
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
    assert!(load().contains("not a file"));
}
