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
    step: u32,
}

impl Story {
    /// In colours where standard output is a terminal and `NO_COLOR` is not set.
    pub(crate) fn new() -> Self {
        Self { colours: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(), step: 0 }
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
        tell(format_args!("   {} {what}", self.paint(AnsiColor::Cyan.on_default(), format_args!("{who:<7}"))));
    }

    /// What the step has verified.
    pub(crate) fn verified(&self, what: impl Display) {
        tell(format_args!(
            "   {} {what}",
            self.paint(AnsiColor::Green.on_default().bold(), format_args!("{:<7}", "ok"))
        ));
    }

    /// A line of its own.
    pub(crate) fn line(&self, text: impl Display) {
        tell(format_args!("{text}"));
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
