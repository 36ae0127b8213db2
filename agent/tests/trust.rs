//! The program in a folder from elsewhere: what its settings file may say unasked, and what the audit log tells of what was done.

mod stage;

use std::io::Read as _;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use stage::{Ran, Stage, event};
use tunnel_vault::{Entropy, UserKey, Vault};

/// Runs the program in the stage's folder, without naming a data folder.
fn run(stage: &Stage, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_healthie-tunnel"));
    command.args(arguments).current_dir(stage.0.path()).env_clear().env("HOME", stage.path("home"));
    command.envs(variables.iter().copied());
    Ran::of(&mut command, &arguments.join(" "))
}

fn says(stage: &Stage, text: &str) {
    std::fs::write(stage.path("healthie-tunnel.toml"), text).unwrap();
}

const TOKEN: [(&str, &str); 1] = [("HEALTHIE_TUNNEL_TOKEN", "tok_of_the_user")];

#[test]
fn no_token_goes_where_only_the_folder_says() {
    let stage = Stage::new();
    let thief = TcpListener::bind("127.0.0.1:0").unwrap();
    thief.set_nonblocking(true).unwrap();
    let evil = format!("http://{}", thief.local_addr().unwrap());
    says(&stage, &format!("relay = \"{evil}\"\n"));
    let refused = run(&stage, &["listen", "--no-forward", "--ui", "json"], &TOKEN).exits(2).err();
    assert!(refused.contains("your token goes there") && refused.contains("config allow"), "{refused}");
    assert!(thief.accept().is_err(), "nobody was even asked");

    // It is told, and consent is asked for where somebody can be asked.
    let shown = run(&stage, &["config", "--json"], &TOKEN).exits(0);
    let shown: Value = serde_json::from_str(&shown.out()).unwrap();
    let relay = shown.as_array().unwrap().iter().find(|k| k["key"] == "relay").unwrap();
    assert_eq!((&relay["value"], &relay["allowed"]), (&evil.as_str().into(), &false.into()));
    let asked = run(&stage, &["config", "allow"], &TOKEN).exits(2).err();
    assert!(asked.contains(&evil) && asked.contains("--yes"), "{asked}");

    // Then it goes there, and to no other.
    run(&stage, &["config", "allow", "--yes"], &TOKEN).exits(0);
    thief.set_nonblocking(false).unwrap();
    let got = std::thread::spawn(move || {
        let (mut conn, _) = thief.accept().unwrap();
        conn.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut head = [0; 2000];
        let n = conn.read(&mut head).unwrap();
        // A refusal, so that the agent ends.
        std::io::Write::write_all(&mut conn, b"HTTP/1.1 401 no\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8_lossy(&head[..n]).into_owned()
    });
    let ended = run(&stage, &["listen", "--no-forward", "--ui", "json"], &TOKEN).exits(1).err();
    assert!(ended.contains("does not accept the token"), "a refusal is a no, and nobody was away: {ended}");
    assert!(got.join().unwrap().contains("tok_of_the_user"));
    says(&stage, "relay = \"http://127.0.0.1:9\"\n");
    run(&stage, &["listen", "--no-forward", "--ui", "json"], &TOKEN).exits(2);
    says(&stage, &format!("relay = \"{evil}\"\n"));
    run(&stage, &["config", "deny"], &[]).exits(0);
    run(&stage, &["listen", "--no-forward", "--ui", "json"], &TOKEN).exits(2);
}

/// Whoever is asked sees what he allows, however it is written.
#[test]
fn nothing_in_the_file_hides_where_things_would_go() {
    let stage = Stage::new();
    says(
        &stage,
        "target = \"https://evil.test/take@localhost:3000\"\nforward = \"*=http://evil.test/@127.0.0.1\"\n\
         otlp_endpoint = \"https://ann:pa55@evil.test\"\ndevice = \"\"\"x   (harmless)\n  tunnel = mine\"\"\"\n",
    );
    let asked = run(&stage, &["config", "allow"], &TOKEN).exits(2).err();
    assert!(asked.contains("target = https://evil.test/take@localhost:3000"), "{asked}");
    assert!(asked.contains("forward = *=http://evil.test/@127.0.0.1"), "{asked}");
    assert!(asked.contains("@evil.test") && !asked.contains("pa55"), "{asked}");
    assert!(asked.contains("(harmless)\\n  tunnel = mine"), "a line for each key, and no more: {asked}");
    let shown = run(&stage, &["config"], &TOKEN).exits(0).out();
    assert!(shown.contains("https://evil.test/take@localhost:3000") && !shown.contains("pa55"), "{shown}");
}

#[test]
fn without_tls_no_token_leaves_this_machine() {
    let stage = Stage::new();
    let far = ["listen", "--no-forward", "--ui", "json", "--relay", "http://relay.invalid"];
    let refused = run(&stage, &far, &TOKEN).exits(2).err();
    assert!(refused.contains("without TLS") && refused.contains("--allow-plain-http"), "{refused}");
    says(&stage, "allow_plain_http = true\n");
    let refused = run(&stage, &far, &TOKEN).exits(2).err();
    assert!(refused.contains("cannot give up TLS"), "{refused}");
}

#[test]
fn a_prepared_store_is_not_believed() {
    let stage = Stage::new();
    says(&stage, "data = \"prepared\"\n");
    for command in
        [&["events", "list"][..], &["status"], &["events", "audit"], &["api"], &["purge", "--tunnel", "a", "-y"]]
    {
        let refused = run(&stage, command, &[]).exits(2).err();
        assert!(refused.contains("sets data"), "{command:?}: {refused}");
    }
    assert!(!stage.path("prepared").exists());
}

#[test]
fn a_slip_in_the_inspector_s_keys_is_told_by_every_command() {
    let stage = Stage::new();
    for (keys, said) in [("replai = \"r\"", "no action"), ("replay = \"x\"\npin = \"x\"", "given to two actions")] {
        says(&stage, &format!("[keys]\n{keys}\n"));
        for command in [&["config"][..], &["status"], &["trigger", "task.created", "--direct", "9"]] {
            let told = run(&stage, command, &[]).exits(2).err();
            assert!(told.contains(said) && told.contains("healthie-tunnel.toml"), "{command:?}: {told}");
        }
    }
}

#[tokio::test]
async fn the_audit_log_counts_what_is_gone_and_repeats_no_words() {
    let stage = Stage::store((0..5).map(event)).await;
    stage.run(&["events", "export", "resource:4711", "text:Musterfrau", "Maria"]).exits(1);
    stage.run(&["events", "export", "rsrc:Musterfrau"]).exits(2);
    stage.run(&["events", "remove", "resource:3", "text:x", "--yes"]).exits(0);
    let listed = stage.json(&["events", "list", "--json"]);
    let one = listed[0]["id"].as_str().unwrap();
    stage.run(&["events", "remove", one, "--recent", "--yes"]).exits(0);
    stage.run(&["purge", "--tunnel", "team", "--yes"]).exits(0);
    let log = stage.run(&["events", "audit", "--json"]).exits(0).out();
    for word in ["4711", "Musterfrau", "Maria"] {
        assert!(!log.contains(word), "{log}");
    }
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let what: Vec<&str> = lines.iter().map(|l| l["what"].as_str().unwrap()).collect();
    let removal = ["removal-began", "removed"];
    assert_eq!(what, [&["exported"][..], &removal, &removal, &["purge-began", "purged"]].concat(), "{log}");
    assert_eq!((&lines[3]["deliveries"], &lines[3]["ids"]), (&serde_json::json!([one]), &1.into()), "{log}");
    assert_eq!(lines[0]["filter"], "resource:… text:… text:…");
    assert_eq!((&lines[2]["removed"], &lines[2]["stay"], &lines[2]["complete"]), (&1.into(), &0.into(), &true.into()));
    assert_eq!((&lines[6]["tunnel"], &lines[6]["removed"]), (&"team".into(), &3.into()));
    assert!(lines[6]["after"].is_u64(), "{log}");
}

/// Whoever looks at the settings is told what a command would refuse of them, all of it.
#[test]
fn the_settings_are_judged_as_the_commands_that_use_them_would() {
    let stage = Stage::new();
    says(&stage, "concurrency = 0\ntimeout = 5\nretry = 3\n");
    let bad = [("HEALTHIE_TUNNEL_KEEP", "3 parsecs"), ("HEALTHIE_TUNNEL_UI", "paper")];
    let told = run(&stage, &["config"], &bad).exits(2);
    for key in ["concurrency (", "timeout (", "keep (", "ui ("] {
        assert!(told.err().contains(key), "{key}: {}", told.err());
    }
    assert!(told.out().contains("3 parsecs") && !told.err().contains("retry ("), "{}", told.err());
    says(&stage, "concurrency = 2\ntimeout = \"5s\"\n");
    run(&stage, &["config"], &[]).exits(0);
}

/// What one look tells is what each command would, with the place of each; what is fine is shown all the same.
#[test]
fn everything_that_is_wrong_is_told_in_one_go_with_file_and_line() {
    let stage = Stage::new();
    std::fs::create_dir_all(stage.path("home/.config/healthie-tunnel")).unwrap();
    let own = stage.path("home/.config/healthie-tunnel/config.toml");
    std::fs::write(&own, "data = \"taken\"\nca = \"none.pem\"\n\nstore_key = \"short\"\ntunnle = \"x\"\nui = []\n")
        .unwrap();
    std::fs::write(stage.path("taken"), "a file").unwrap();
    says(&stage, "exec = \"true\"\nevents = [\"apointment.*\"]\ntimeout = \"7s\"\n[keys]\nreplai = \"r\"\n");
    let told = run(&stage, &["config"], &[]).exits(2);
    for (file, line, what) in [
        ("config.toml", 1, "is not a folder"),
        ("config.toml", 2, "none.pem"),
        ("config.toml", 4, "store_key (from"),
        ("config.toml", 5, "\"tunnle\", which is not known"),
        ("config.toml", 6, "\"ui\" with a value"),
        ("healthie-tunnel.toml", 1, "cannot name a command"),
        ("healthie-tunnel.toml", 5, "[keys]"),
    ] {
        let at = format!("{file}:{line}");
        let found = told.err().lines().filter(|text| text.contains(&at) && text.contains(what)).count();
        assert_eq!(found, 1, "{at} {what}: {}", told.err());
    }
    assert!(told.err().contains("did you mean appointment."), "a slip in a pattern: {}", told.err());
    assert!(told.out().contains("7s"), "{}", told.out());
    // The same words where it is used.
    let listen = ["listen", "--relay", "http://127.0.0.1:9", "--token", "t", "--no-forward", "--ui", "json"];
    says(&stage, "");
    for (line, words) in
        [("data = \"taken\"", "the data folder taken is not a folder"), ("ca = \"none.pem\"", "config.toml:1")]
    {
        std::fs::write(&own, line).unwrap();
        run(&stage, &listen, &[]).exits(2).says(words);
    }
}

/// What a flag may still give, and what a folder says and may not yet, is told with its place; it is no mistake of the settings.
#[tokio::test]
async fn what_listen_would_refuse_as_it_is_is_told_too() {
    let stage = Stage::new();
    says(
        &stage,
        "timeout = 5\nrelay = \"http://127.0.0.1:9\"\nforward = [\"=1\", \"*=http://far.test\"]\nno-forward = true\n",
    );
    let told = run(&stage, &["config"], &[]).exits(2);
    for what in [
        "token is not set",
        "healthie-tunnel.toml:1): 5 has no unit",
        "healthie-tunnel.toml:2 sets relay",
        "healthie-tunnel.toml:3 sets forward",
        "did you mean no_forward?",
        "config allow",
    ] {
        assert!(told.err().contains(what), "{what}: {}", told.err());
    }
    assert!(!told.err().contains("relay is not set"), "{}", told.err());
    // Where it is allowed, what is wrong with it counts.
    says(&stage, "forward = [\"=1\", \"*=http://far.test\", \"x\"]\n");
    run(&stage, &["config", "allow", "--yes"], &[]).exits(0);
    let told = run(&stage, &["config"], &TOKEN).exits(2).err();
    assert!(
        told.contains("value 1 of 3") && told.contains("value 3 of 3") && told.contains("relay is not set"),
        "{told}"
    );
    // A store that is locked.
    says(&stage, "");
    let stage = Stage::store([event(1)]).await;
    let text = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let config = |variables: &[(&str, &str)]| {
        let folder = ("HEALTHIE_TUNNEL_DATA", stage.path("data"));
        run(&stage, &["config"], &[&[(folder.0, folder.1.to_str().unwrap())], variables].concat()).exits(0).err()
    };
    assert!(!config(&[]).contains("is encrypted with"));
    let key = UserKey::parse(text, "the test").unwrap();
    assert!(Vault::open(&stage.path("data/archive"), Some(&key), false, Entropy::system()).unwrap().is_some());
    assert!(config(&[]).contains("is encrypted with"));
    assert!(!config(&[("HEALTHIE_TUNNEL_STORE_KEY", text)]).contains("is encrypted with"));
}

/// Gives a folder to the user 4242, and says whether that can be done here: only root can, and not as the root of a user namespace that knows no other numbers.
#[expect(clippy::print_stderr, reason = "a test that is passed over must say so")]
fn is_given_away(folder: &std::path::Path) -> bool {
    let given = std::os::unix::fs::chown(folder, Some(4242), Some(4242));
    if let Err(error) = &given {
        eprintln!("a folder cannot be given to another user here ({error}): what root does in one is not looked at");
    }
    given.is_ok()
}

/// Can be seen by root only; anybody else sees that nothing is refused.
#[tokio::test]
async fn root_leaves_nothing_in_another_s_data_folder() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let stage = Stage::store([event(1)]).await;
    let data = stage.path("data");
    if !is_given_away(&data) {
        stage.run(&["events", "list"]).exits(0);
        return;
    }
    chown(data.join("archive"), Some(4242), Some(4242)).unwrap();
    let listing = || {
        let mut names: Vec<_> =
            walk(&data).into_iter().filter(|path| std::fs::metadata(path).unwrap().uid() == 0).collect();
        names.sort();
        names
    };
    let before = listing();
    let listen = ["listen", "--relay", "http://127.0.0.1:9", "--token", "t", "--no-forward", "--ui", "json"];
    for command in [
        &listen[..],
        &["events", "list"],
        &["key", "new"],
        &["purge", "--tunnel", "team", "--yes"],
        &["store", "check"],
        &["store", "compact"],
    ] {
        stage.run(command).exits(2).says("belongs to the user with the number 4242").says("sudo -u '#4242'");
    }
    assert_eq!(listing(), before, "something was left there");
    chown(&data, Some(0), Some(0)).unwrap();
    stage.run(&["events", "list"]).exits(0);
}

/// Likewise.
#[test]
fn root_makes_no_folder_in_another_s_home() {
    use std::os::unix::fs::chown;
    let stage = Stage::new();
    let home = stage.path("home");
    std::fs::create_dir(&home).unwrap();
    if !is_given_away(&home) {
        return;
    }
    let listen = ["listen", "--relay", "http://127.0.0.1:9", "--token", "t", "--no-forward", "--ui", "json"];
    let says_whose =
        |ran: Ran| ran.exits(2).says("home belongs to the user with the number 4242").says("sudo -u '#4242'").err();
    for command in [&listen[..], &[&listen[..], &["--data", "home/sub"]].concat(), &["key", "new"]] {
        assert!(says_whose(run(&stage, command, &[])).contains("--data"), "{command:?}");
    }
    says(&stage, "relay = \"http://relay.invalid\"\n");
    let refused = says_whose(run(&stage, &["config", "allow", "--yes"], &[]));
    assert!(!refused.contains("--data"), "no such option helps here: {refused}");
    assert_eq!(walk(&home), Vec::<std::path::PathBuf>::new(), "something was left there");
    chown(&home, Some(0), Some(0)).unwrap();
    run(&stage, &["config", "allow", "--yes"], &[]).exits(0);
    assert!(!walk(&home).is_empty());
}

/// Everything in a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(walk(&path));
        }
        all.push(path);
    }
    all
}
