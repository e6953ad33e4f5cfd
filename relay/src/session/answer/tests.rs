//! Requests, against a shelf in memory.

use bytes::Bytes;
use landbridge_protocol::{
    blob::Blob,
    frame::node::{CacheRef, Write},
    name::{NodeName, SiteName},
    record::ClientId,
};

use super::*;
use crate::{
    config::{CacheConfig, Replicate},
    session::memory_shelf::Memory,
};

fn name(text: &str) -> CacheName {
    CacheName::new(text).unwrap()
}

fn key(text: &str) -> Key {
    Key::new(text.to_string()).unwrap()
}

fn answering(shelf: Memory, role: Role) -> Answering<Memory> {
    let sessions = CacheConfig {
        name: name("sessions"),
        merge: landbridge_protocol::record::Merge::RemoveWins,
        replicate: Replicate::Async,
        lifespan: None,
        messages: false,
        max_entry_bytes: crate::config::ByteSize::new(8),
    };
    let (limits, metrics) = (Limits { max_list_entries: 3, ..Limits::default() }, Metrics::new());
    Answering {
        shelf: Arc::new(shelf),
        session: Introduced {
            version: 1,
            node: NodeName::new("node11").unwrap(),
            home: SiteName::new("site1").unwrap(),
            member: true,
        },
        role,
        terms: watch::Sender::new(Arc::new(Terms::new(&[sessions], limits.clone(), &metrics))).subscribe(),
        limits,
        metrics,
    }
}

fn write(operation: Operation, value: &'static [u8]) -> Write {
    let token = WriteToken { client: ClientId(7), number: 40 };
    Write::new(operation, name("sessions"), key("a"), token, Bytes::from_static(value))
}

async fn refused(answering: &Answering<Memory>, request: Request) -> ErrorCode {
    answering.answer(request).await.unwrap_err().code().unwrap()
}

#[tokio::test]
async fn what_was_written_is_read() {
    let session = answering(Memory::default(), Role::Node);
    let written = session.answer(Request::Write(write(Operation::Put, b"1"))).await;
    assert_eq!(outcome_of(&written), metrics::Outcome::Done);
    let read = session.answer(Request::Get(KeyRef { cache: name("sessions"), key: key("a") })).await;
    assert!(matches!(&read, Ok(Reply::Entry(Some(entry))) if entry.value == "1"), "{read:?}");
    let missing = session.answer(Request::Contains(KeyRef { cache: name("sessions"), key: key("b") })).await;
    assert_eq!(outcome_of(&missing), metrics::Outcome::Missing);
}

#[tokio::test]
async fn bad_requests_are_refused_before_the_writer_hears_of_them() {
    let session = answering(Memory::default(), Role::Node);
    let unknown = Request::Size(CacheRef { cache: name("nonsense") });
    assert_eq!(refused(&session, unknown).await, ErrorCode::UnknownCache);
    let large = write(Operation::Put, b"123456789");
    assert_eq!(refused(&session, Request::Write(large)).await, ErrorCode::EntryTooLarge);
    for bad in [
        write(Operation::ReplaceIfVersion, b"1"),
        write(Operation::Remove, b"1"),
        Write { max_idle: Some(landbridge_protocol::time::Millis::new(1)), ..write(Operation::Put, b"1") },
    ] {
        assert_eq!(refused(&session, Request::Write(bad)).await, ErrorCode::BadArgument);
    }
    assert_eq!(session.shelf.size(&name("sessions")), 0);
}

#[tokio::test]
async fn operators_have_no_business_with_entries() {
    let session = answering(Memory::default(), Role::Admin);
    assert_eq!(refused(&session, Request::Write(write(Operation::Put, b"1"))).await, ErrorCode::NotPermitted);
    assert_eq!(session.may_listen(&name("sessions")).unwrap_err().code(), Some(ErrorCode::NotPermitted));
}

#[tokio::test]
async fn a_relay_that_is_not_ready_answers_signs_of_life_only() {
    let session = answering(Memory { refused: Some(ErrorCode::NotReady), ..Memory::default() }, Role::Node);
    assert_eq!(session.answer(Request::Ping).await, Ok(Reply::Pong));
    assert_eq!(refused(&session, Request::Write(write(Operation::Put, b"1"))).await, ErrorCode::NotReady);
}

fn puts(entries: &[(&str, &'static [u8])]) -> Request {
    let entries = entries.iter().map(|(k, value)| (key(k), Blob(Bytes::from_static(value)))).collect();
    let token = WriteToken { client: ClientId(7), number: 100 };
    Request::PutAll(PutAll { cache: name("sessions"), lifespan: None, token, retry: None, entries })
}

#[tokio::test]
async fn several_puts_have_tokens_in_a_row_and_are_checked_before_the_first_is_done() {
    let session = answering(Memory::default(), Role::Node);
    assert_eq!(refused(&session, puts(&[("a", b"1"), ("b", b"123456789")])).await, ErrorCode::EntryTooLarge);
    assert_eq!(session.shelf.size(&name("sessions")), 0);
    let Ok(Reply::WrittenAll(versions)) = session.answer(puts(&[("a", b"1"), ("b", b"2")])).await else { panic!() };
    assert_eq!(versions.iter().map(|version| version.clock.bits()).collect::<Vec<_>>(), [100, 101]);
    let many = puts(&[("a", b""), ("b", b""), ("c", b""), ("d", b"")]);
    assert_eq!(refused(&session, many).await, ErrorCode::BadArgument);
}

#[tokio::test]
async fn a_page_is_no_longer_than_the_bound() {
    let session = answering(Memory::default(), Role::Node);
    session.answer(puts(&[("a", b""), ("b", b""), ("c", b"")])).await.unwrap();
    session.answer(puts(&[("d", b"")])).await.unwrap();
    let list = |limit| List { cache: name("sessions"), prefix: Bytes::new(), after: None, limit, values: true };
    let Ok(Reply::Page(page)) = session.answer(Request::List(list(1000))).await else { panic!() };
    assert_eq!((page.entries.len(), page.more), (3, true));
    assert_eq!(refused(&session, Request::List(list(0))).await, ErrorCode::BadArgument);
}
