//! Printing: tables for people, JSON for programs.

use std::io::{Write, stdout};

use landbridge_protocol::{frame::node::View, record::Key};
use serde::Serialize;

use super::{Exit, Failure};

/// Prints a line on standard output, as `println!` does, but ends the command quietly where nobody reads any more.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::output::say_line(format_args!($($text)*)) };
}
pub(super) use say;

/// What [`say`] does. A reader that has gone, as `head` does, is no failure of the command.
pub(super) fn say_line(text: std::fmt::Arguments<'_>) {
    if writeln!(stdout().lock(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Prints one JSON object on a line of its own.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|e| Failure::new(Exit::Usage, format!("cannot be shown as JSON: {e}; leave out --json")))?;
    say!("{text}");
    Ok(())
}

/// Prints rows under their headings, each column as wide as its widest cell; the last one is not padded.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) {
    let mut widths = headings.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        say!("{}", padded.join("  ").trim_end());
    };
    line(headings);
    for row in rows {
        line(row.each_ref().map(String::as_str));
    }
}

/// Bytes as text; what is not UTF-8 shows as U+FFFD.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A key as text.
pub(super) fn key_text(key: &Key) -> String {
    text(key.as_bytes())
}

/// A view as logged: `[node11|1] (2) [node11, node12]`.
pub(super) fn view(view: &View) -> String {
    let first = view.members.first().map_or("", String::as_str);
    format!("[{first}|{}] ({}) [{}]", view.number, view.members.len(), view.members.join(", "))
}

/// A number of bytes: `512 B`, `1.5 MiB`.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut scaled = n as f64;
    let mut unit = "B";
    for next in UNITS {
        if scaled < 1024.0 {
            break;
        }
        scaled /= 1024.0;
        unit = next;
    }
    format!("{scaled:.1} {unit}")
}

/// A span in milliseconds: `850 ms`, `12 s`, `3 min`, `2 h`, `4 d`.
pub(super) fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_read_well() {
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(5 << 30)], ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
        assert_eq!([span(850), span(61_000), span(180_000), span(200_000_000)], ["850 ms", "61 s", "3 min", "2 d"]);
    }

    #[test]
    fn views_read_as_in_the_log() {
        let shown = view(&View { number: 1, members: vec!["node11".into(), "node12".into()] });
        assert_eq!(shown, "[node11|1] (2) [node11, node12]");
    }
}
