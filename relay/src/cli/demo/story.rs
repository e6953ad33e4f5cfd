//! How the demo tells what happens: numbered steps, a line per actor, and what was verified.

use std::{
    fmt::Display,
    io::{IsTerminal, Write, stdout},
    time::Duration,
};

use anstyle::{AnsiColor, Style};

/// The teller; knows whether colours are wanted and which step this is.
#[derive(Debug)]
pub(crate) struct Story {
    colours: bool,
    /// Columns of the terminal that it is told on.
    width: Option<usize>,
    step: u32,
}

/// Columns before what an actor did.
const MARGIN: usize = 11;
/// On a terminal narrower than this nothing is broken into lines: the terminal does that.
const MIN_WIDTH: usize = 40;

impl Story {
    /// In colours where standard output is a terminal and `NO_COLOR` is not set.
    pub(crate) fn new() -> Self {
        let terminal = stdout().is_terminal();
        let width = rustix::termios::tcgetwinsize(stdout()).ok().map(|size| usize::from(size.ws_col));
        Self {
            colours: terminal && std::env::var_os("NO_COLOR").is_none(),
            width: width.filter(|width| *width >= MIN_WIDTH),
            step: 0,
        }
    }

    /// A new step of the story.
    pub(crate) fn step(&mut self, title: &str) {
        self.step += 1;
        let bold = self.paint(Style::new().bold(), format_args!("{}. {title}", self.step));
        tell(format_args!("\n{bold}"));
    }

    /// The number of the step that is being told; 0 before the first.
    pub(crate) fn number(&self) -> u32 {
        self.step
    }

    /// Something that was done or seen, and by whom.
    pub(crate) fn says(&self, who: &str, what: impl Display) {
        self.beside(AnsiColor::Cyan.on_default(), who, what);
    }

    /// What the step has verified.
    pub(crate) fn verified(&self, what: impl Display) {
        self.beside(AnsiColor::Green.on_default().bold(), "ok", what);
    }

    /// A line of its own.
    pub(crate) fn line(&self, text: impl Display) {
        tell(format_args!("{text}"));
    }

    fn beside(&self, style: Style, who: &str, what: impl Display) {
        let who = self.paint(style, format_args!("{who:<7}"));
        let mut lines = broken(&what.to_string(), self.width.map(|width| width - MARGIN)).into_iter();
        tell(format_args!("   {who} {}", lines.next().unwrap_or_default()));
        for line in lines {
            tell(format_args!("{:MARGIN$}{line}", ""));
        }
    }

    fn paint(&self, style: Style, text: impl Display) -> String {
        if self.colours { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
}

/// Prints a line. Where nobody reads any more the story goes on all the same: its end stops the relays.
fn tell(line: std::fmt::Arguments<'_>) {
    if writeln!(stdout().lock(), "{line}").is_err() {
        tracing::debug!("nobody reads the story");
    }
}

/// A time as the story prints it: `0.8 ms`, `1.2 s`.
pub(crate) fn took(span: Duration) -> String {
    let ms = span.as_secs_f64() * 1000.0;
    if ms < 1000.0 { format!("{ms:.1} ms") } else { format!("{:.1} s", ms / 1000.0) }
}

/// A text in lines of at most `width` columns, broken between words; one line where it is no matter.
fn broken(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one from the start");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::broken;

    #[test]
    fn lines_are_broken_between_words_and_nothing_is_lost() {
        let text = "Received event from remote store. Event 'X', key 'alice-1'";
        let lines = broken(text, Some(20));
        assert!(lines.iter().all(|line| line.chars().count() <= 20), "{lines:?}");
        assert_eq!(lines.join(" "), text);
        assert_eq!(broken(text, None), [text]);
        assert_eq!(broken("a-word-longer-than-that", Some(5)), ["a-word-longer-than-that"]);
    }
}
