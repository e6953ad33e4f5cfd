//! The server for operators' commands: a hello, then requests and reports on the same stream, one after the other.
//!
//! It knows neither links nor the store: what it reports and what it may do is an [`Operated`].

use std::{path::PathBuf, time::Duration};

use bytes::BytesMut;
use landbridge_protocol::{
    blob::Blob,
    error::{ErrorCode, Refusal},
    frame::{
        FrameCodec, FromAdmin, RawFrame, ToAdmin,
        admin::{BackupPart, Conflicts, Drift, Hello, LinkReport, Reloaded, Report, Request, Status, Welcome},
        common_version,
    },
    name::{CacheName, SiteName},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_util::{codec::Decoder, sync::CancellationToken};

use crate::{
    certs::Role,
    config::Limits,
    metrics::{Bound, Metrics},
    transport::{Admitted, close, close_in_order},
};

/// Bytes of a request's frame at most; they are small.
const MAX_REQUEST_BYTES: usize = 64 << 10;

/// Bytes of a backup in one frame at most.
const MAX_PART_BYTES: usize = 1 << 20;

/// How long an operator may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Before the hello has come.
    pub hello: Duration,
    /// While an answer, or a part of one, is there to be read.
    pub answer: Duration,
}

impl From<&Limits> for Patience {
    fn from(limits: &Limits) -> Self {
        Self { hello: limits.hello_timeout.into(), answer: limits.operator_timeout.into() }
    }
}

/// The relay as an operator sees it.
pub trait Operated: Send + Sync + 'static {
    /// A backup under way: its parts, of which one is the last. Dropping it ends it.
    type Backup: Iterator<Item = Result<BackupPart, Refusal>> + Send;

    /// Everything about it, at this moment.
    fn status(&self) -> Status;

    /// A page of its conflict log.
    fn conflicts(&self, cache: Option<&CacheName>, after: u64, limit: usize) -> Result<Conflicts, Refusal>;

    /// Begins a backup.
    fn backup(&self) -> impl Future<Output = Result<Self::Backup, Refusal>> + Send;

    /// Reads the configuration anew, from this file or its own, and takes it over whole or not at all.
    fn reload(&self, file: Option<PathBuf>) -> impl Future<Output = Result<Reloaded, Refusal>> + Send;

    /// What drift checks have found between the relay and a peer, or all of them, of a cache, or all; `begin` begins one
    /// before, and says whether what is lacked is sent.
    fn drift(&self, peer: Option<SiteName>, cache: Option<CacheName>, begin: Option<bool>) -> Result<Drift, Refusal>;

    /// Takes the link to that peer offline, or brings it online; resolves when that has been done.
    fn set_offline(&self, peer: SiteName, offline: bool) -> impl Future<Output = Result<LinkReport, Refusal>> + Send;
}

/// Serves an operator's connection until it ends or `stop` comes. An operator is waited for so long.
pub async fn serve<O: Operated>(
    operated: &O,
    site: SiteName,
    patience: Patience,
    metrics: &Metrics,
    admitted: Admitted,
    stop: CancellationToken,
) {
    let connection = &admitted.connection;
    let opened = tokio::select! {
        biased;
        () = stop.cancelled() => return close(connection, &Refusal::new(ErrorCode::ShuttingDown, "the relay shuts down")),
        opened = tokio::time::timeout(patience.hello, connection.accept_bi()) => opened,
    };
    let (mut send, mut recv) = match opened {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) => return, // it is gone
        Err(_) => return refuse(connection, &no_hello_in_time(metrics), metrics),
    };
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Refusal::new(ErrorCode::ShuttingDown, "the relay shuts down")),
        ended = converse(operated, site, patience, metrics, &mut recv, &mut send) => ended,
    };
    match ended {
        Ok(()) => close_in_order(connection),
        Err(refusal) => refuse(connection, &refusal, metrics),
    }
}

fn refuse(connection: &quinn::Connection, refusal: &Refusal, metrics: &Metrics) {
    metrics.refused(Role::Admin, refusal);
    close(connection, refusal);
}

fn no_hello_in_time(metrics: &Metrics) -> Refusal {
    metrics.bound_hit(Bound::HelloTimeout);
    Refusal::new(ErrorCode::Malformed, "the connection said no hello in time")
}

/// Why a conversation ends before its stream does.
#[derive(Debug)]
enum Ended {
    /// The stream broke: a command has closed its connection, or an operator is gone. Nobody is there to be refused.
    Gone,
    Refused(Refusal),
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The conversation. An error ends it, and is what the operator is told.
async fn converse<O: Operated>(
    operated: &O,
    site: SiteName,
    patience: Patience,
    metrics: &Metrics,
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
) -> Result<(), Refusal> {
    match hear_out(operated, site, patience, metrics, from, to).await {
        Ok(()) | Err(Ended::Gone) => Ok(()),
        Err(Ended::Refused(refusal)) => Err(refusal),
    }
}

async fn hear_out<O: Operated>(
    operated: &O,
    site: SiteName,
    patience: Patience,
    metrics: &Metrics,
    mut from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
) -> Result<(), Ended> {
    let mut telling = Telling { to, patience: patience.answer };
    let mut buffer = BytesMut::new();
    let first = tokio::time::timeout(patience.hello, next(&mut from, &mut buffer)).await;
    let Some(raw) = first.map_err(|_| no_hello_in_time(metrics))?? else { return Ok(()) };
    let no_hello = || Refusal::new(ErrorCode::Malformed, "the first frame of a connection is its hello");
    let ToAdmin::Hello(hello) = decode(&raw)? else { return Err(no_hello().into()) };
    let version = check(&hello, site)?;
    telling.say(raw.request, &FromAdmin::Welcome(Welcome { version, site })).await?;
    while let Some(raw) = next(&mut from, &mut buffer).await? {
        let done = match ToAdmin::decode(&raw) {
            Ok(ToAdmin::Request(request)) => answer(operated, request, raw.request, &mut telling).await?,
            Ok(ToAdmin::Hello(_)) => Err(Refusal::new(ErrorCode::Malformed, "hello was said already")),
            Err(error) => Err(error.refusal()),
        };
        if let Err(refusal) = &done {
            metrics.refused(Role::Admin, refusal);
        }
        telling.say(raw.request, &done.map_or_else(FromAdmin::Refused, FromAdmin::Report)).await?;
    }
    Ok(())
}

/// The answer to a request. The outer error ends the connection.
async fn answer<O: Operated>(
    operated: &O,
    request: Request,
    number: u64,
    telling: &mut Telling<impl AsyncWrite + Unpin>,
) -> Result<Result<Report, Refusal>, Ended> {
    Ok(match request {
        Request::Status => Ok(Report::Status(Box::new(operated.status()))),
        Request::Conflicts { cache, after, limit } => {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            operated.conflicts(cache.as_ref(), after, limit).map(Report::Conflicts)
        }
        Request::Backup => back_up(operated, number, telling).await?,
        Request::Reload { file } => operated.reload(file.map(PathBuf::from)).await.map(Report::Reloaded),
        Request::Drift { peer, cache, repair, begin } => {
            operated.drift(peer, cache, begin.then_some(repair)).map(Report::Drift)
        }
        Request::TakeOffline { peer } => operated.set_offline(peer, true).await.map(Report::Link),
        Request::BringOnline { peer } => operated.set_offline(peer, false).await.map(Report::Link),
    })
}

/// Says all parts of a backup but the last, which it gives. The outer error ends the connection.
async fn back_up<O: Operated>(
    operated: &O,
    number: u64,
    telling: &mut Telling<impl AsyncWrite + Unpin>,
) -> Result<Result<Report, Refusal>, Ended> {
    let parts = match operated.backup().await {
        Ok(parts) => parts,
        Err(refusal) => return Ok(Err(refusal)),
    };
    for part in parts {
        let mut part = match part {
            Ok(part) => part,
            Err(refusal) => return Ok(Err(refusal)),
        };
        loop {
            let rest = part.bytes.0.split_off(part.bytes.0.len().min(MAX_PART_BYTES));
            if rest.is_empty() && part.last {
                return Ok(Ok(Report::Backup(part)));
            }
            let piece = FromAdmin::Report(Report::Backup(BackupPart { last: false, ..part.clone() }));
            telling.say(number, &piece).await?;
            if rest.is_empty() {
                break;
            }
            part.bytes = Blob(rest);
        }
    }
    Ok(Err(Refusal::new(ErrorCode::Internal, "the backup has no end")))
}

/// The protocol version of the connection.
fn check(hello: &Hello, site: SiteName) -> Result<u16, Refusal> {
    let version = common_version(hello.version_min, hello.version_max)?;
    if hello.site != site {
        let text = format!("this is the relay of {site}, not of {}; correct the site or the address", hello.site);
        return Err(Refusal::new(ErrorCode::WrongSite, text));
    }
    Ok(version)
}

fn decode(raw: &RawFrame) -> Result<ToAdmin, Refusal> {
    ToAdmin::decode(raw).map_err(|error| error.refusal())
}

async fn next(from: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> Result<Option<RawFrame>, Ended> {
    let mut codec = FrameCodec::new(MAX_REQUEST_BYTES);
    loop {
        if let Some(raw) = codec.decode(buffer).map_err(|error| error.refusal())? {
            return Ok(Some(raw));
        }
        if from.read_buf(buffer).await.map_err(|_| Ended::Gone)? == 0 {
            return codec.decode_eof(buffer).map_err(|error| error.refusal().into());
        }
    }
}

/// The writing half of a conversation.
struct Telling<W> {
    to: W,
    patience: Duration,
}

impl<W: AsyncWrite + Unpin> Telling<W> {
    /// An error ends the conversation: the frame may have gone in part.
    async fn say(&mut self, request: u64, frame: &FromAdmin) -> Result<(), Ended> {
        let mut bytes = BytesMut::new();
        let encoded = frame.encode(request, &mut bytes);
        encoded.map_err(|error| Refusal::new(ErrorCode::Internal, error.to_string()))?;
        let unread = |_| Refusal::new(ErrorCode::Busy, "an answer was not read within limits.operator_timeout");
        let written = timeout(self.patience, self.to.write_all_buf(&mut bytes)).await.map_err(unread)?;
        written.map_err(|_| Ended::Gone)
    }
}

#[cfg(test)]
mod tests;
