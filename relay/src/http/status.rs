//! The status page: plain HTML, no script, nothing to click but the other pages.

use std::fmt::{self, Write};

use landbridge_protocol::frame::admin::Status;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1d2733}\
h1{font-size:1.4rem}h2{font-size:1.05rem;margin-top:1.8rem}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #dde3ea}\
.n{text-align:right;font-variant-numeric:tabular-nums}.good{color:#0a7a3f}.bad{color:#b3261e}";

/// The page of a relay that reports.
pub(super) fn page(status: &Status) -> String {
    let mut out = String::with_capacity(4096);
    write_page(&mut out, status).expect("writing to a string can't fail");
    out
}

/// The page of a relay that can't report yet.
pub(super) fn no_report(because: &str) -> String {
    format!("{}<h1>Landbridge</h1><p class=bad>Not ready: {}</p></body></html>\n", head("Landbridge"), Text(because))
}

fn head(title: &str) -> String {
    format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <meta http-equiv=refresh content=5><title>{}</title><style>{STYLE}</style></head><body>",
        Text(title)
    )
}

fn write_page(out: &mut String, status: &Status) -> fmt::Result {
    let site = status.site;
    out.push_str(&head(&format!("{site} · Landbridge")));
    writeln!(out, "<h1>Landbridge relay of {}</h1>", Text(site.as_str()))?;
    match (status.ready, &status.not_ready_because) {
        (true, _) => writeln!(out, "<p class=good>Ready</p>")?,
        (false, Some(because)) => writeln!(out, "<p class=bad>Not ready: {}</p>", Text(because))?,
        (false, None) => writeln!(out, "<p class=bad>Not ready</p>")?,
    }
    for warning in &status.warnings {
        writeln!(out, "<p class=bad>{}</p>", Text(warning))?;
    }
    let up = status.uptime_ms / 1000;
    writeln!(
        out,
        "<p>Up for {}h {:02}m {:02}s · version {} · run {} · head of the log {} · log {} live, {} dead</p>",
        up / 3600,
        up / 60 % 60,
        up % 60,
        Text(&status.software),
        Text(&status.origin),
        status.head,
        Bytes(status.log_live_bytes),
        Bytes(status.log_dead_bytes)
    )?;
    writeln!(out, "<p>Relay view {}<br>Site view {}</p>", Text(&status.relay_view), Text(&status.site_view))?;
    links(out, status)?;
    caches(out, status)?;
    sessions(out, status)?;
    writeln!(
        out,
        "<p><a href=/metrics>metrics</a> · <a href=/health/live>live</a> · <a href=/health/ready>ready</a></p>\
         </body></html>"
    )
}

fn links(out: &mut String, status: &Status) -> fmt::Result {
    writeln!(
        out,
        "<h2>Links</h2><table><tr><th>Peer<th>Address<th>State<th>From it<th class=n>Lag, changes<th class=n>Lag, s</tr>"
    )?;
    for link in &status.links {
        let (class, detail) = (if link.state == "streaming" { "good" } else { "bad" }, &link.detail);
        let between = if detail.is_empty() { "" } else { ": " };
        writeln!(
            out,
            "<tr><td>{}<td>{}<td class={class}>{}{between}{}<td>{}<td class=n>{}<td class=n>{:.1}</tr>",
            Text(link.peer.as_str()),
            Text(&link.address),
            Text(&link.state),
            Text(detail),
            if link.incoming { "streams" } else { "nothing" },
            link.lag_changes,
            link.lag_seconds
        )?;
    }
    writeln!(out, "</table>")?;
    for link in &status.links {
        let drift = link.drift.iter().flat_map(|drift| drift.there.iter().chain(&drift.here));
        let lacked: u64 = drift.map(|(_, count)| count).sum();
        if lacked > 0 {
            writeln!(out, "<p class=bad>{}: drift: {lacked} records are lacked</p>", Text(link.peer.as_str()))?;
        }
        for difference in &link.differences {
            writeln!(out, "<p class=bad>{}: {}</p>", Text(link.peer.as_str()), Text(difference))?;
        }
    }
    Ok(())
}

fn caches(out: &mut String, status: &Status) -> fmt::Result {
    writeln!(
        out,
        "<h2>Caches</h2><table><tr><th>Name<th>Merge<th>Replicate<th class=n>Entries<th class=n>Tombstones\
         <th class=n>Size</tr>"
    )?;
    for cache in &status.caches {
        writeln!(
            out,
            "<tr><td>{}<td>{}<td>{}<td class=n>{}<td class=n>{}<td class=n>{}</tr>",
            Text(cache.name.as_str()),
            Text(&cache.merge),
            Text(&cache.replicate),
            cache.entries,
            cache.tombstones,
            Bytes(cache.bytes)
        )?;
    }
    writeln!(out, "</table>")
}

/// Sessions on the page at most; `landbridge nodes` has them all.
const MAX_SESSIONS: usize = 200;

fn sessions(out: &mut String, status: &Status) -> fmt::Result {
    writeln!(
        out,
        "<h2>Sessions</h2><table><tr><th>Node<th>Address<th>Member<th class=n>Subscriptions<th class=n>For, s</tr>"
    )?;
    for session in status.sessions.iter().take(MAX_SESSIONS) {
        writeln!(
            out,
            "<tr><td>{}<td>{}<td>{}<td class=n>{}<td class=n>{}</tr>",
            Text(session.node.as_str()),
            Text(&session.address),
            if session.member { "yes" } else { "no" },
            session.subscriptions,
            session.connected_ms / 1000
        )?;
    }
    writeln!(out, "</table>")?;
    match status.sessions.len().saturating_sub(MAX_SESSIONS) {
        0 => Ok(()),
        more => writeln!(out, "<p>and {more} more</p>"),
    }
}

/// Text with what HTML would take for its own escaped.
struct Text<'t>(&'t str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A number of bytes for a person.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(unit, _)| self.0 >= *unit) {
            Some((unit, name)) => write!(f, "{:.1} {name}", bytes / unit as f64),
            None => write!(f, "{} B", self.0),
        }
    }
}
