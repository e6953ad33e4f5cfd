//! Printing: tables for people, JSON for programs.

use std::io::{ErrorKind, Write, stdout};

use base64::{Engine, engine::general_purpose::STANDARD};
use landbridge_protocol::{frame::node::View, record::Key, time::Timestamp};
use serde::Serialize;
use time::OffsetDateTime;

use super::{Exit, Failure};

/// Characters of a value that are shown to a person.
const MAX_SHOWN: usize = 200;

/// Prints a line on standard output, as `println!` does, but ends the command quietly where nobody reads any more, and with a
/// word where it can't be written.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::output::say_line(format_args!($($text)*)) };
}
pub(super) use say;

/// What [`say`] does. A reader that has gone, as `head` does, is no failure of the command.
pub(super) fn say_line(text: std::fmt::Arguments<'_>) {
    match writeln!(stdout().lock(), "{text}") {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(Exit::Done as i32),
        Err(e) => {
            eprintln!("landbridge: cannot write to standard output: {e}; what it has by now is not all");
            std::process::exit(Exit::Failed as i32);
        }
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

/// Bytes in one line for a person: control characters escaped, what is long cut, what is no text told by its size alone.
pub(super) fn shown(bytes: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else { return format!("({} bytes that are no text)", bytes.len()) };
    let mut line = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == MAX_SHOWN {
            line.push_str(&format!("… ({} bytes)", bytes.len()));
            break;
        }
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

/// Adds to an object, for programs, the bytes of those members that are no text, and so are not whole as text.
pub(super) fn base64_where_no_text<'a>(
    object: &mut serde_json::Value,
    members: impl IntoIterator<Item = (&'static str, Option<&'a [u8]>)>,
) {
    for (name, bytes) in members {
        if let Some(bytes) = bytes.filter(|bytes| std::str::from_utf8(bytes).is_err()) {
            object[name] = STANDARD.encode(bytes).into();
        }
    }
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

/// A moment, in UTC: `2026-01-31 23:59:59`.
pub(super) fn time(at: Timestamp) -> String {
    let seconds = i64::try_from(at.as_millis() / 1000).unwrap_or(i64::MAX);
    let shown = OffsetDateTime::from_unix_timestamp(seconds).map(|at| {
        let (date, hour, minute, second) = (at.date(), at.hour(), at.minute(), at.second());
        format!("{date} {hour:02}:{minute:02}:{second:02}")
    });
    shown.unwrap_or_else(|_| format!("{} ms", at.as_millis()))
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
    fn what_is_shown_is_one_line_and_does_nothing_to_the_terminal() {
        assert_eq!(shown("grün".as_bytes()), "grün");
        assert_eq!(shown(b"two\nlines \x1b[31m"), r"two\nlines \u{1b}[31m");
        assert_eq!(shown(&[0xff, 0, 1]), "(3 bytes that are no text)");
        assert_eq!(shown(&[b'a'; 5000]), format!("{}… (5000 bytes)", "a".repeat(MAX_SHOWN)));
    }

    #[test]
    fn what_is_no_text_is_whole_in_base64() {
        let mut object = serde_json::json!({});
        base64_where_no_text(&mut object, [("key_base64", Some(&b"k"[..])), ("value_base64", Some(&[0xff][..]))]);
        assert_eq!(object, serde_json::json!({"value_base64": "/w=="}));
    }

    #[test]
    fn moments_read_as_dates() {
        assert_eq!(time(Timestamp::from_millis(1_790_000_000_999)), "2026-09-21 14:13:20");
        assert!(time(Timestamp::from_millis(u64::MAX)).ends_with(" ms"));
    }

    #[test]
    fn views_read_as_in_the_log() {
        let shown = view(&View { number: 1, members: vec!["node11".into(), "node12".into()] });
        assert_eq!(shown, "[node11|1] (2) [node11, node12]");
    }
}
