//! The operator's commands: status, sites, caches, nodes, take-offline, bring-online.

use bytes::BytesMut;
use landbridge_client::Profile;
use landbridge_protocol::{
    frame::{
        ALPN_ADMIN, FromAdmin, MAX_FRAME_BYTES, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, ToAdmin,
        admin::{Hello, LinkReport, Report, Request, Status},
        check_version,
    },
    name::SiteName,
};
use quinn::{Connection, ConnectionError, SendStream};
use tokio::time::{error::Elapsed, timeout};

use super::{
    Exit, Failure, Target,
    connect::{PATIENCE, exit_of_refusal, look_at},
    output::say,
    output::{self, bytes, span, table},
};
use crate::{
    certs::{Credentials, Now, fitness::show_days},
    clock::{Clock, SystemClock},
    config::{Limits, TlsConfig},
    transport::{DialError, Dialler, FrameReader, close_in_order, refusal_of},
};

/// An operator's connection to a relay.
pub(super) struct Operator {
    connection: Connection,
    dialler: Dialler,
    send: SendStream,
    frames: FrameReader,
    relay: String,
}

impl Operator {
    /// Connects as the holder of the profile's certificate, which must bear the role `admin`.
    pub(super) async fn connect(profile: &Profile) -> Result<Self, Failure> {
        let tls = TlsConfig::new(&profile.certificate, &profile.key, &profile.trust);
        let credentials = Credentials::load(&tls, Now::new(|| SystemClock.now()));
        let config = credentials.and_then(|c| c.client(ALPN_ADMIN, &Limits::default()));
        let config = config.map_err(|e| Failure::because(Exit::Usage, &e))?;
        let dialler = Dialler::new();
        let dialled = dialler.dial(&profile.relay, profile.site, config, PATIENCE).await;
        let connection = dialled.map_err(|e| not_let_in(&profile.relay, &e))?;
        // A relay that refuses may have closed by now.
        let opened = connection.open_bi().await;
        let (send, receive) = opened.map_err(|e| not_let_in_because(&profile.relay, &e, e.to_string()))?;
        let frames = FrameReader::new(receive, MAX_FRAME_BYTES);
        let mut operator = Self { connection, dialler, send, frames, relay: profile.relay.clone() };
        let hello = Hello {
            version_min: OLDEST_PROTOCOL_VERSION,
            version_max: PROTOCOL_VERSION,
            site: profile.site,
            software: concat!("landbridge ", env!("CARGO_PKG_VERSION")).into(),
        };
        match operator.exchange(&ToAdmin::Hello(hello)).await? {
            FromAdmin::Welcome(welcome) => {
                check_version(welcome.version).map_err(|e| Failure::because(Exit::Usage, &e))?;
                Ok(operator)
            }
            other => Err(operator.unexpected(&other)),
        }
    }

    /// Everything about the relay.
    pub(super) async fn status(&mut self) -> Result<Status, Failure> {
        match self.exchange(&ToAdmin::Request(Request::Status)).await? {
            FromAdmin::Report(Report::Status(status)) => Ok(*status),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Changes a link.
    pub(super) async fn link(&mut self, request: Request) -> Result<LinkReport, Failure> {
        match self.exchange(&ToAdmin::Request(request)).await? {
            FromAdmin::Report(Report::Link(link)) => Ok(link),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Ends the connection; waits until the relay can know.
    pub(super) async fn close(self) {
        close_in_order(&self.connection);
        self.dialler.shutdown().await;
    }

    pub(super) async fn exchange(&mut self, asked: &ToAdmin) -> Result<FromAdmin, Failure> {
        let mut bytes = BytesMut::new();
        asked.encode(1, &mut bytes).map_err(|e| Failure::because(Exit::Usage, &e))?;
        let sent = timeout(PATIENCE, self.send.write_all(&bytes)).await;
        self.answered(sent.map(|sent| sent.map_err(|e| e.to_string())))?;
        self.hear().await
    }

    /// The next answer, where a request has several.
    pub(super) async fn hear(&mut self) -> Result<FromAdmin, Failure> {
        let frame = timeout(PATIENCE, self.frames.next()).await;
        let answer = frame.map(|frame| match frame {
            Ok(Some(frame)) => FromAdmin::decode(&frame).map_err(|e| e.to_string()),
            Ok(None) => Err("the stream ended".into()),
            Err(e) => Err(e.to_string()),
        });
        match self.answered(answer)? {
            FromAdmin::Refused(refusal) => Err(Failure::new(exit_of_refusal(&refusal), refusal.message)),
            answer => Ok(answer),
        }
    }

    fn answered<T>(&self, answer: Result<Result<T, String>, Elapsed>) -> Result<T, Failure> {
        let relay = &self.relay;
        let unreachable =
            |text: String| Failure::new(Exit::Unreachable, format!("no answer from the relay at {relay}: {text}"));
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(problem)) => Err(match self.connection.close_reason() {
                Some(reason) => not_let_in_because(relay, &reason, reason.to_string()),
                None => unreachable(problem),
            }),
            Err(_) => Err(unreachable(format!("none within {PATIENCE:?}"))),
        }
    }

    pub(super) fn unexpected(&self, answer: &FromAdmin) -> Failure {
        Failure::new(
            Exit::Failed,
            format!("the relay at {} answered something else than asked: {answer:?}", self.relay),
        )
    }
}

/// A dial that did not end in a connection: the relay is away, or it answered and the two don't accept each other.
fn not_let_in(relay: &str, error: &DialError) -> Failure {
    let text = Failure::because(Exit::Unreachable, error).message;
    match error {
        DialError::Connection { source, .. } => not_let_in_because(relay, source, source.to_string()),
        DialError::TooLong { within, .. } => {
            let within = crate::config::show_duration(*within);
            Failure::new(Exit::Unreachable, format!("no answer from the relay at {relay} within {within}"))
        }
        _ => Failure::new(Exit::Unreachable, format!("no answer from the relay at {relay}: {text}")),
    }
}

fn not_let_in_because(relay: &str, error: &ConnectionError, text: String) -> Failure {
    if let Some(refusal) = refusal_of(error) {
        let exit = if refusal.retryable { Exit::Unreachable } else { Exit::Usage };
        return Failure::new(exit, format!("the relay at {relay} refused: {}{}", refusal.message, look_at(true)));
    }
    match error {
        ConnectionError::TransportError(_) | ConnectionError::ConnectionClosed(_) => {
            Failure::new(Exit::Usage, format!("no connection to the relay at {relay}: {text}{}", look_at(true)))
        }
        _ => Failure::new(Exit::Unreachable, format!("no answer from the relay at {relay}: {text}")),
    }
}

async fn status_of(to: &Target) -> Result<Status, Failure> {
    let mut operator = Operator::connect(&to.profile()?).await?;
    let status = operator.status().await?;
    operator.close().await;
    Ok(status)
}

pub(super) async fn status(to: &Target) -> Result<Exit, Failure> {
    let status = status_of(to).await?;
    if to.json {
        output::json(&status)?;
        return Ok(Exit::Done);
    }
    let ready = match &status.not_ready_because {
        None => "ready".to_owned(),
        Some(why) => format!("not ready: {why}"),
    };
    say!("relay of {}  {ready}  up {}  {}", status.site, span(status.uptime_ms), status.software);
    say!("origin {}  head {}", status.origin, status.head);
    say!("log {} live, {} dead", bytes(status.log_live_bytes), bytes(status.log_dead_bytes));
    say!("sites {}", status.relay_view);
    if !status.former_sites.is_empty() {
        let former: Vec<&str> = status.former_sites.iter().map(SiteName::as_str).collect();
        say!("former sites {}", former.join(", "));
    }
    say!("nodes {}", status.site_view);
    for own in status.certificates.iter().filter(|report| report.certificate == "own") {
        let now = SystemClock.now();
        match own.ends < now {
            true => say!("certificate expired {} ago", show_days(now.since(own.ends))),
            false => say!("certificate ends in {}", show_days(own.ends.since(now))),
        }
    }
    status.warnings.iter().for_each(|warning| say!("note: {warning}"));
    say!("");
    links(&status.links);
    say!("");
    cache_table(&status);
    Ok(Exit::Done)
}

fn links(links: &[LinkReport]) {
    let rows: Vec<[String; 7]> = links
        .iter()
        .map(|link| {
            [
                link.peer.to_string(),
                link.state.clone(),
                if link.incoming { "yes" } else { "no" }.into(),
                link.lag_changes.to_string(),
                format!("{:.1} s", link.lag_seconds),
                link.skew_ms.map_or("-".into(), |skew| format!("{skew} ms")),
                link.address.clone(),
            ]
        })
        .collect();
    table(["PEER", "LINK", "INCOMING", "LAG", "BEHIND", "SKEW", "ADDRESS"], &rows);
    // on lines of their own: they can be long
    for link in links.iter().filter(|link| !link.detail.is_empty()) {
        say!("{}: {}", link.peer, link.detail);
    }
    for link in links {
        drift(link);
        link.differences.iter().for_each(|difference| say!("{}: configured differently: {difference}", link.peer));
    }
}

fn drift(link: &LinkReport) {
    let (peer, Some(drift)) = (link.peer, &link.drift) else { return };
    drift.why_not.iter().for_each(|why| say!("{why}"));
    for (cache, count) in drift.there.iter().filter(|(_, count)| *count > 0) {
        say!("{peer}: drift: it lacks {count} records of {cache}; `landbridge drift {peer}` lists them");
    }
    for (cache, count) in drift.here.iter().filter(|(_, count)| *count > 0) {
        say!(
            "{peer}: drift: it holds {count} records of {cache} that are lacked here; `landbridge drift {peer}` lists them"
        );
    }
}

fn cache_table(status: &Status) {
    let rows: Vec<[String; 7]> = status
        .caches
        .iter()
        .map(|c| {
            [
                c.name.to_string(),
                c.entries.to_string(),
                c.tombstones.to_string(),
                c.conflicts.to_string(),
                bytes(c.bytes),
                c.merge.clone(),
                c.replicate.clone(),
            ]
        })
        .collect();
    table(["CACHE", "ENTRIES", "TOMBSTONES", "CONFLICTS", "BYTES", "MERGE", "REPLICATE"], &rows);
}

pub(super) async fn sites(to: &Target) -> Result<Exit, Failure> {
    let status = status_of(to).await?;
    if to.json {
        output::json(&status.links)?;
    } else {
        links(&status.links);
    }
    Ok(Exit::Done)
}

pub(super) async fn caches(to: &Target) -> Result<Exit, Failure> {
    let status = status_of(to).await?;
    if to.json {
        output::json(&status.caches)?;
    } else {
        cache_table(&status);
    }
    Ok(Exit::Done)
}

pub(super) async fn nodes(to: &Target) -> Result<Exit, Failure> {
    let status = status_of(to).await?;
    if to.json {
        output::json(&status.sessions)?;
        return Ok(Exit::Done);
    }
    let rows: Vec<[String; 5]> = status
        .sessions
        .iter()
        .map(|s| {
            let node = if s.member { s.node.to_string() } else { format!("{}/cli", s.node) };
            [node, s.site.to_string(), s.address.clone(), s.subscriptions.to_string(), span(s.connected_ms)]
        })
        .collect();
    table(["NODE", "SITE", "ADDRESS", "SUBSCRIPTIONS", "CONNECTED"], &rows);
    Ok(Exit::Done)
}

pub(super) async fn take_offline(to: &Target, peer: SiteName) -> Result<Exit, Failure> {
    change(to, Request::TakeOffline { peer }).await
}

pub(super) async fn bring_online(to: &Target, peer: SiteName) -> Result<Exit, Failure> {
    change(to, Request::BringOnline { peer }).await
}

async fn change(to: &Target, request: Request) -> Result<Exit, Failure> {
    let mut operator = Operator::connect(&to.profile()?).await?;
    let link = operator.link(request).await?;
    operator.close().await;
    if to.json {
        output::json(&link)?;
    } else {
        let detail = if link.detail.is_empty() { String::new() } else { format!(", {}", link.detail) };
        say!("link to {}: {}{detail}", link.peer, link.state);
    }
    Ok(Exit::Done)
}
