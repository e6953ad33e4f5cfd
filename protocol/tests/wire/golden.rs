//! Golden bytes: a change of the format shows in a diff of `golden/`. A change there means a new protocol version, or a
//! new format number on disk; then `LANDBRIDGE_GOLDEN=write cargo test -p landbridge-protocol` writes them anew.

use std::{fmt::Write, fs, path::PathBuf};

use bytes::BytesMut;
use landbridge_protocol::{
    frame::{
        FrameKind, FromAdmin, ToAdmin,
        admin::{Report, Request},
    },
    record_set,
};

use crate::{
    draw::Draw,
    samples::{
        Frame, backup_part, conflicts, conflicts_asked, drift_asked, drift_told, reload_asked, reloaded, sample,
    },
};

/// The request id in golden frames of nodes and operators; peers' frames have none.
const REQUEST: u64 = 7;

fn section(title: &str, bytes: &[u8]) -> String {
    let mut text = format!("# {title}: {} bytes\n", bytes.len());
    for line in bytes.chunks(32) {
        for byte in line {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn compare(file: &str, now: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(file);
    if std::env::var_os("LANDBRIDGE_GOLDEN").is_some() {
        fs::write(&path, now).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    for (line, (was, is)) in committed.lines().zip(now.lines()).enumerate() {
        assert_eq!(is, was, "golden/{file}, line {}: the format has changed", line + 1);
    }
    assert_eq!(now.lines().count(), committed.lines().count(), "golden/{file} has not the same frames");
}

#[test]
fn every_frame_kind_has_its_golden_bytes() {
    for (file, conversations) in [("node.hex", 0..2), ("peer.hex", 2..4), ("admin.hex", 4..6)] {
        let mut text = String::new();
        for kind in FrameKind::ALL.iter().filter(|kind| conversations.contains(&(kind.number() >> 8))) {
            let bytes = sample(*kind, &mut Draw::fixed()).bytes(REQUEST);
            text += &section(&format!("{:#06x} {kind:?}", kind.number()), &bytes);
        }
        compare(file, &text);
    }
}

#[test]
fn a_page_of_the_conflict_log_has_its_golden_bytes() {
    let mut draw = Draw::fixed();
    let asked = Frame::ToAdmin(ToAdmin::Request(conflicts_asked(&mut draw)));
    let told = Frame::FromAdmin(FromAdmin::Report(Report::Conflicts(conflicts(&mut draw))));
    let text = section("what is asked", &asked.bytes(REQUEST)) + &section("what is told", &told.bytes(REQUEST));
    compare("conflicts.hex", &text);
}

#[test]
fn a_part_of_a_backup_has_its_golden_bytes() {
    let mut draw = Draw::fixed();
    let asked = Frame::ToAdmin(ToAdmin::Request(Request::Backup));
    let told = Frame::FromAdmin(FromAdmin::Report(Report::Backup(backup_part(&mut draw))));
    let text = section("what is asked", &asked.bytes(REQUEST)) + &section("what is told", &told.bytes(REQUEST));
    compare("backup.hex", &text);
}

#[test]
fn a_reload_has_its_golden_bytes() {
    let mut draw = Draw::fixed();
    let asked = Frame::ToAdmin(ToAdmin::Request(reload_asked(&mut draw)));
    let told = Frame::FromAdmin(FromAdmin::Report(Report::Reloaded(reloaded(&mut draw))));
    let text = section("what is asked", &asked.bytes(REQUEST)) + &section("what is told", &told.bytes(REQUEST));
    compare("reload.hex", &text);
}

#[test]
fn a_drift_check_has_its_golden_bytes() {
    let mut draw = Draw::fixed();
    let asked = Frame::ToAdmin(ToAdmin::Request(drift_asked(&mut draw)));
    let told = Frame::FromAdmin(FromAdmin::Report(Report::Drift(drift_told(&mut draw))));
    let text = section("what is asked", &asked.bytes(REQUEST)) + &section("what is told", &told.bytes(REQUEST));
    compare("drift.hex", &text);
}

#[test]
fn a_record_set_has_its_golden_bytes() {
    let mut draw = Draw::fixed();
    let records: Vec<_> = (0..8).map(|_| draw.record()).collect();
    let mut bytes = BytesMut::new();
    record_set::encode(&records, &mut bytes).unwrap();
    compare("record_set.hex", &section("eight records", &bytes));
}

#[test]
fn a_resume_token_has_its_golden_bytes() {
    compare("resume_token.hex", &section("a resume token", &Draw::fixed().resume().to_bytes()));
}
