//! The commands `backup` and `restore`: the log of a running relay as a file, and a store made of it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use landbridge_protocol::frame::{
    FromAdmin, ToAdmin,
    admin::{BackupPart, Report, Request},
};
use serde_json::json;

use super::{
    Exit, Failure, Target,
    admin::Operator,
    output::{self, bytes, say},
};
use crate::{
    clock::Stopwatch,
    service::{BACKUP_FILE, RestoreFailed, restore as restore_store},
};

/// Progress is told so often, on standard error.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Writes a backup to a file in `dir`; until it is whole it has another name.
pub(super) async fn backup(to: &Target, dir: &Path) -> Result<Exit, Failure> {
    let (whole, part) = (dir.join(BACKUP_FILE), dir.join(format!("{BACKUP_FILE}.part")));
    if whole.exists() {
        let text = format!("{} is there already; nothing was changed: name another --dir", whole.display());
        return Err(Failure::new(Exit::Usage, text));
    }
    let unwritten = |e: io::Error| Failure::new(Exit::Failed, format!("cannot write {}: {e}", part.display()));
    let mut operator = Operator::connect(&to.profile()?).await?;
    fs::create_dir_all(dir).map_err(unwritten)?;
    // It holds all values in the clear: nobody else of this machine reads it.
    let own = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
    let mut file = own.map_err(unwritten)?;
    let (watch, mut said, mut written) = (Stopwatch::start(), TELL_EVERY, 0u64);
    let mut answer = operator.exchange(&ToAdmin::Request(Request::Backup)).await?;
    let head = loop {
        let FromAdmin::Report(Report::Backup(BackupPart { bytes: some, through, head, last })) = answer else {
            return Err(operator.unexpected(&answer));
        };
        file.write_all(&some.0).map_err(unwritten)?;
        written += some.0.len() as u64;
        if last {
            break head;
        }
        if watch.elapsed() >= said {
            said = watch.elapsed() + TELL_EVERY;
            eprintln!("landbridge: {} so far, through sequence {through} of {head}", bytes(written));
        }
        answer = operator.hear().await?;
    };
    operator.close().await;
    let synced = |path: &Path| File::open(path).and_then(|file| file.sync_all());
    let kept = file.sync_all().and_then(|()| fs::rename(&part, &whole)).and_then(|()| synced(dir));
    kept.map_err(unwritten)?;
    if to.json {
        output::json(&json!({"file": whole, "bytes": written, "head": head}))?;
    } else {
        say!("{}: {}, the log through sequence {head}", whole.display(), bytes(written));
    }
    Ok(Exit::Done)
}

/// Makes a relay's store of a backup.
pub(super) fn restore(config: &Path, dir: &Path, as_json: bool) -> Result<Exit, Failure> {
    let (watch, mut said) = (Stopwatch::start(), TELL_EVERY);
    let tell = |through: u64| {
        if watch.elapsed() >= said {
            said = watch.elapsed() + TELL_EVERY;
            eprintln!("landbridge: restored through sequence {through}");
        }
    };
    let (store, through) = restore_store(config, dir, tell).map_err(|e| {
        let wrong = matches!(e, RestoreFailed::Config(_) | RestoreFailed::Open { .. });
        Failure::because(if wrong { Exit::Usage } else { Exit::Failed }, &e)
    })?;
    if as_json {
        output::json(&json!({"store": store, "through": through}))?;
    } else {
        let next = "start the relay, and its peers bring what came after";
        say!("{} is restored through sequence {through}; {next}", store.display());
    }
    Ok(Exit::Done)
}
