//! One incoming stream per peer at a time: the newest.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use landbridge_protocol::name::SiteName;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// Who may receive from which peer. A newcomer ends the one before it, and begins when that one has ended: what a stream has
/// given to the writer, its loss included, is given before anything of the next one.
#[derive(Debug, Default)]
pub(in crate::link) struct Tenancies {
    by_peer: Mutex<HashMap<SiteName, Tenant>>,
}

#[derive(Debug, Default)]
struct Tenant {
    ended: CancellationToken,
    room: Arc<tokio::sync::Mutex<()>>,
}

/// The right to receive from a peer, until dropped.
#[derive(Debug)]
pub(in crate::link) struct Tenancy {
    /// Cancelled when a newer stream wants the place.
    pub(in crate::link) ended: CancellationToken,
    _room: OwnedMutexGuard<()>,
}

impl Tenancies {
    /// Waits for the place; `None` where a newer stream has come meanwhile.
    pub(in crate::link) async fn move_in(&self, peer: SiteName) -> Option<Tenancy> {
        let ended = CancellationToken::new();
        let room = {
            let mut by_peer = self.by_peer.lock().unwrap_or_else(PoisonError::into_inner);
            let tenant = by_peer.entry(peer).or_default();
            std::mem::replace(&mut tenant.ended, ended.clone()).cancel();
            tenant.room.clone()
        };
        let tenancy = Tenancy { _room: room.lock_owned().await, ended };
        (!tenancy.ended.is_cancelled()).then_some(tenancy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_gets_in_after_the_former_has_left() {
        let tenancies = Arc::new(Tenancies::default());
        let peer = SiteName::new("site2").unwrap();
        let first = tenancies.move_in(peer).await.unwrap();
        let second = tokio::spawn({
            let tenancies = tenancies.clone();
            async move { tenancies.move_in(peer).await.is_some() }
        });
        first.ended.cancelled().await;
        assert!(!second.is_finished());
        let third = tokio::spawn({
            let tenancies = tenancies.clone();
            async move { tenancies.move_in(peer).await.is_some() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(!second.await.unwrap(), "the third came while it waited");
        assert!(third.await.unwrap());
        assert!(tenancies.move_in(SiteName::new("site3").unwrap()).await.is_some(), "peers don't wait for one another");
    }
}
