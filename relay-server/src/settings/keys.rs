//! Which keys a settings file may have: one for each flag of a command. A flag under one of the help's headings stands in the table of that name,
//! less the table's name where the flag begins with it: `--acme-name` under "ACME" is `name` in `[acme]`. Its whole name is understood as well,
//! in the table and before the first one.

use clap::{Arg, Command};

/// Flags that are no settings.
const NO_KEYS: [&str; 3] = ["config", "help", "version"];

/// A setting.
pub(crate) struct Key<'a> {
    /// The flag it is the value of.
    pub(crate) arg: &'a Arg,
    table: Option<String>,
    short: String,
}

impl<'a> Key<'a> {
    fn new(arg: &'a Arg) -> Key<'a> {
        let long = arg.get_long().unwrap_or_default();
        let table = arg.get_help_heading().map(|heading| heading.to_lowercase().replace(' ', "-"));
        let short = table.as_deref().and_then(|table| long.strip_prefix(table)?.strip_prefix('-')).unwrap_or(long);
        Key { arg, short: short.to_owned(), table }
    }

    /// What clap calls it.
    pub(crate) fn id(&self) -> &'a str {
        self.arg.get_id().as_str()
    }

    /// The flag, without its dashes.
    pub(crate) fn long(&self) -> &'a str {
        self.arg.get_long().unwrap_or_default()
    }

    /// The table it stands in.
    pub(crate) fn table(&self) -> Option<&str> {
        self.table.as_deref()
    }

    /// The key in that table.
    pub(crate) fn short(&self) -> &str {
        &self.short
    }

    /// Key and table, as people say it: `acme.name`.
    pub(crate) fn name(&self) -> String {
        match &self.table {
            Some(table) => format!("{table}.{}", self.short),
            None => self.short.clone(),
        }
    }
}

/// All settings of a command, tables in the order in which the help has them.
pub(crate) struct Keys<'a>(Vec<Key<'a>>);

impl<'a> Keys<'a> {
    /// The settings that are the flags of `command`'s subcommand `of`.
    pub(crate) fn of(command: &'a Command, of: &str) -> Keys<'a> {
        let flags = command.find_subcommand(of).into_iter().flat_map(Command::get_arguments);
        Keys(flags.filter(|a| a.get_long().is_some_and(|long| !NO_KEYS.contains(&long))).map(Key::new).collect())
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Key<'a>> {
        self.0.iter()
    }

    /// Whether that line of a file sets, or is meant to set, what must not be shown. By its end, because which table it stands in may not be known.
    pub(crate) fn is_secret_line(&self, text: &str, line: usize) -> bool {
        let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let written = line.split('=').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        self.0.iter().any(|key| key.arg.is_hide_env_values_set() && written.ends_with(key.short()))
    }

    /// The tables, those before the first one first.
    pub(crate) fn tables(&self) -> Vec<Option<&str>> {
        let mut tables = vec![None];
        for key in &self.0 {
            if !tables.contains(&key.table()) {
                tables.push(key.table());
            }
        }
        tables
    }

    /// The setting that is written so.
    ///
    /// # Errors
    /// A sentence about what there is instead.
    pub(crate) fn find(&self, table: Option<&str>, key: &str) -> Result<&Key<'a>, String> {
        let written = match table {
            Some(table) => format!("{table}.{key}"),
            None => key.to_owned(),
        };
        let fits = |known: &&Key<'a>| {
            known.long() == key && (table.is_none() || table == known.table())
                || known.short == key && table == known.table()
        };
        if let Some(found) = self.0.iter().find(fits) {
            return Ok(found);
        }
        // Written right and in the wrong place.
        if let Some(elsewhere) = self.0.iter().find(|known| known.long() == key) {
            let place = match elsewhere.table() {
                Some(table) => format!("in the table [{table}]"),
                None => "before the first table".to_owned(),
            };
            return Err(format!("{key} does not stand here but {place}"));
        }
        if let Some(table) = table
            && !self.0.iter().any(|known| known.table() == Some(table))
        {
            let tables: Vec<&str> = self.tables().into_iter().flatten().collect();
            let near = nearest(table, tables.iter().copied());
            return Err(near.map_or_else(
                || format!("there is no table [{table}]; there are [{}]", tables.join("], [")),
                |near| format!("there is no table [{table}]; the nearest is [{near}]"),
            ));
        }
        let names: Vec<String> = self.0.iter().flat_map(|k| [k.name(), k.long().to_owned()]).collect();
        // Its own table first: `nmae` in [acme] is meant to be something in [acme].
        let own = names.iter().filter(|name| table.is_none_or(|t| name.starts_with(&format!("{t}."))));
        let near =
            nearest(&written, own.map(String::as_str)).or_else(|| nearest(key, names.iter().map(String::as_str)));
        Err(near.map_or_else(
            || format!("there is no setting {written}; `healthie-relay check-config --example` shows all there are"),
            |near| format!("there is no setting {written}; the nearest is {near}"),
        ))
    }
}

/// What is most like it, if anything is at all.
fn nearest<'n>(written: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let written = written.replace('_', "-");
    let (distance, near) =
        known.map(|name| (strsim::damerau_levenshtein(&written, name), name)).min_by_key(|(distance, _)| *distance)?;
    (distance * 3 <= written.chars().count().max(3)).then_some(near)
}
