//! **Reads own writes**: who reads at a site sees what was acknowledged there before he asked, whoever wrote it.
//!
//! What is read has the rank of the last acknowledged write of the key at that site, or a higher one; or nothing is there, and
//! something of that rank or a higher one was removed, cleared or past its deadline. And what is read was durable there
//! before: no read tells of what may be lost; nor was it removed there (**Gone is gone**). Exact but for deadlines, which are
//! taken with the skew of all clocks. Let pass: reads after the site's disk was replaced, or a disk has lost what it had of the key.

use super::{
    Broken, Promise,
    ledger::{Ledger, place_of, rank_of},
};
use crate::simulation::{
    history::{Answer, Happening},
    nodes::key_of,
    plan::What,
};

/// Every read that was answered.
pub(super) fn check(ledger: &Ledger<'_>) -> Result<(), Broken> {
    let acknowledged: Vec<_> = ledger.acknowledged().collect();
    for read in &ledger.exchanges {
        let (What::Get, Answer::Read(found)) = (read.operation.what, read.answer) else { continue };
        let key = key_of(read.operation.key);
        let broken = |how: String| {
            let (node, site) = (read.node, read.site + 1);
            Err(Broken::new(Promise::ReadsOwnWrites, format!("node{node} at site{site} reads {key:?}: {how}")))
        };
        let there = match found {
            None => None,
            Some(found) => {
                let before = &ledger.history[..read.answered];
                let durable = before.iter().find_map(|entry| match &entry.what {
                    Happening::Durable { site, record, .. }
                        if *site == read.site && record.version == found.version =>
                    {
                        Some(record)
                    }
                    _ => None,
                });
                match durable {
                    Some(record) if record.value == found.value => Some(record),
                    _ => return broken(format!("{} was not on disk", found.version)),
                }
            }
        };
        let same_disk = !ledger.was_replaced(read.site, read.asked, read.answered);
        let there_still = there.filter(|_| same_disk);
        if let Some(removal) = there_still.and_then(|there| ledger.has_returned(read.site, there, read.asked)) {
            let (node, site, version) = (read.node, read.site + 1, there.map(|there| there.version));
            let how = format!("node{node} at site{site} reads {key:?} {version:?}, which {removal} had removed there");
            return Err(Broken::new(Promise::GoneIsGone, how));
        }
        for (write, record) in &acknowledged {
            let before = write.answered < read.asked && write.site == read.site;
            let same = write.operation.cache == read.operation.cache && record.key.as_ref() == Some(&key);
            if !before || !same || ledger.was_replaced(read.site, write.asked, read.answered) {
                continue;
            }
            let seen = match there {
                Some(there) => rank_of(there) >= rank_of(record) || ledger.may_outlive(there, record),
                None => ledger.may_be_gone(record, ledger.at_ms(read.answered)),
            };
            let seen = seen || place_of(record).is_some_and(|place| ledger.was_lost(&place, read.answered));
            if !seen {
                let there = there.map(|there| there.version);
                return broken(format!("{there:?} is there, and {} was acknowledged before", record.version));
            }
        }
    }
    Ok(())
}
