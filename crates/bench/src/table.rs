//! How figures are printed: aligned tables for people, JSON lines for programs. It knows nothing of what they mean.

use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::error::{self, BenchError};

/// Rows of figures under `N` named columns.
pub(crate) struct Table<const N: usize> {
    part: &'static str,
    about: &'static str,
    columns: [&'static str; N],
    rows: Vec<(String, [Option<f64>; N])>,
}

impl<const N: usize> Table<N> {
    /// An empty table. `about` says in one line what is compared with what.
    pub(crate) fn new(part: &'static str, about: &'static str, columns: [&'static str; N]) -> Table<N> {
        Table { part, about, columns, rows: Vec::new() }
    }

    /// Adds a row; a figure that does not apply is `None`.
    pub(crate) fn row(&mut self, case: impl Into<String>, figures: [Option<f64>; N]) {
        self.rows.push((case.into(), figures));
    }

    fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let cells: Vec<[String; N]> = self.rows.iter().map(|(_, figures)| figures.map(number)).collect();
        let chars = |text: &str| text.chars().count();
        let first = self.rows.iter().map(|(case, _)| chars(case)).max().unwrap_or(0);
        writeln!(out, "\n{}: {}", self.part, self.about)?;
        write!(out, "  {:first$}", "")?;
        let mut widths = [0; N];
        for (at, name) in self.columns.iter().enumerate() {
            let widest = cells.iter().map(|row| chars(&row[at])).max().unwrap_or(0);
            widths[at] = widest.max(chars(name));
            write!(out, "  {name:>width$}", width = widths[at])?;
        }
        writeln!(out)?;
        for ((case, _), row) in self.rows.iter().zip(&cells) {
            write!(out, "  {case:first$}")?;
            for (cell, width) in row.iter().zip(widths) {
                write!(out, "  {cell:>width$}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        for (case, figures) in &self.rows {
            let mut line = Map::new();
            line.insert("part".to_owned(), self.part.into());
            line.insert("case".to_owned(), case.as_str().into());
            for (name, figure) in self.columns.iter().zip(figures) {
                // What is not finite has no JSON and becomes null.
                line.insert(key(name), figure.map_or(Value::Null, Value::from));
            }
            writeln!(out, "{}", Value::from(line))?;
        }
        Ok(())
    }
}

/// A column's name as a name in JSON.
fn key(name: &str) -> String {
    name.replace([' ', '-'], "_")
}

/// A figure with about three digits that mean something; a dash where there is none.
fn number(figure: Option<f64>) -> String {
    match figure {
        None => "–".to_owned(),
        Some(value) if !value.is_finite() => "–".to_owned(),
        Some(value) if value == value.trunc() && value.abs() < 1000.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) if value.abs() >= 1.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.3}"),
    }
}

/// Prints to standard output.
#[derive(Clone, Copy)]
pub(crate) struct Printer {
    /// JSON lines instead of tables.
    pub(crate) json: bool,
}

impl Printer {
    /// What the figures were taken on: names and values.
    pub(crate) fn head(self, about: &[(&'static str, String)]) -> Result<(), BenchError> {
        let line = if self.json {
            let facts = about.iter().map(|(name, value)| (key(name), value.as_str().into()));
            let part = ("part".to_owned(), "machine".into());
            Value::Object(std::iter::once(part).chain(facts).collect()).to_string()
        } else {
            about.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
        };
        writeln!(io::stdout(), "{line}").map_err(error::io("print"))
    }

    /// A table.
    pub(crate) fn print<const N: usize>(self, table: &Table<N>) -> Result<(), BenchError> {
        let mut text = Vec::new();
        let written = if self.json { table.write_json(&mut text) } else { table.write_text(&mut text) };
        let mut out = io::stdout().lock();
        written.and_then(|()| out.write_all(&text)).and_then(|()| out.flush()).map_err(error::io("print"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<2> {
        let mut table = Table::new("spool", "appends beside a write", ["per second", "x floor"]);
        table.row("one", [Some(12345.6), Some(0.98765)]);
        table.row("sixty-four", [Some(7.0), None]);
        table
    }

    #[test]
    fn columns_are_aligned() {
        let mut out = Vec::new();
        table().write_text(&mut out).unwrap();
        let wanted = "\n\
            spool: appends beside a write\n\
            \x20             per second  x floor\n\
            \x20 one              12346    0.988\n\
            \x20 sixty-four           7        –\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn json_has_a_line_for_each_row() {
        let mut out = Vec::new();
        table().write_json(&mut out).unwrap();
        let wanted = "{\"part\":\"spool\",\"case\":\"one\",\"per_second\":12345.6,\"x_floor\":0.98765}\n\
            {\"part\":\"spool\",\"case\":\"sixty-four\",\"per_second\":7.0,\"x_floor\":null}\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn numbers_keep_three_digits() {
        let shown: Vec<String> = [0.0, 0.01234, 1.2345, 12.345, 123.45, 1234.5, 3.0, f64::NAN]
            .into_iter()
            .map(|value| number(Some(value)))
            .collect();
        assert_eq!(shown, ["0", "0.012", "1.23", "12.3", "123", "1234", "3", "–"]);
    }
}
