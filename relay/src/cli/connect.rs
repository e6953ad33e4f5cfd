//! From a profile to a connection, and from what may go wrong there to an exit status.

use std::{future::Future, time::Duration};

use landbridge_client::{Client, ConnectError, Error, ErrorCode, Profile, RawCache, Refusal};
use landbridge_protocol::name::CacheName;

use super::{Exit, Failure, Target};

/// How long a command waits for its relay before it says that it can't be reached.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Runs a command to its end.
pub(super) fn block_on(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Usage, format!("cannot start the runtime: {e}")))?;
    runtime.block_on(command)
}

impl Target {
    /// The profile that was named.
    pub(super) fn profile(&self) -> Result<Profile, Failure> {
        let Some(path) = &self.profile else {
            return Err(Failure::new(
                Exit::Usage,
                "which relay? Name a profile with --profile FILE or in LANDBRIDGE_PROFILE; `landbridge demo` writes \
                 two to try: landbridge-demo/site1.profile.toml and landbridge-demo/site2.profile.toml",
            ));
        };
        Profile::load(path).map_err(|e| Failure::because(Exit::Usage, &e))
    }

    /// A session with the relay of the profile, as a command: in no site view.
    pub(super) async fn connect(&self) -> Result<Client, Failure> {
        session(self.profile()?, PATIENCE).await
    }

    /// A cache of the relay of the profile, and the client that it belongs to.
    pub(super) async fn cache(&self, name: &CacheName) -> Result<(Client, RawCache), Failure> {
        let client = self.connect().await?;
        let cache = client.raw(name.as_str()).map_err(|e| failed(&e))?;
        Ok((client, cache))
    }
}

/// A session with the relay of a profile, as a command: in no site view. `timeout` bounds each operation.
pub(super) async fn session(profile: Profile, timeout: Duration) -> Result<Client, Failure> {
    let relay = profile.relay.clone();
    let builder = Client::builder().profile(profile).member(false).connect_timeout(PATIENCE).timeout(timeout);
    builder.connect().await.map_err(|e| {
        let failure = Failure::because(exit_of_connect(&e), &e);
        let hint = look_at(matches!(&e, ConnectError::Refused(_)));
        Failure::new(failure.exit, format!("no session with the relay at {relay}: {failure}{hint}"))
    })
}

fn exit_of_connect(error: &ConnectError) -> Exit {
    match error {
        ConnectError::Unreachable { .. } => Exit::Unreachable,
        _ => Exit::Usage,
    }
}

/// What the relay refuses because of what was asked is wrong usage; the rest may be different tomorrow.
pub(super) fn exit_of_refusal(refusal: &Refusal) -> Exit {
    use ErrorCode::{BadArgument, EntryTooLarge, NotPermitted, UnknownCache, UnknownPeer, WrongSite};
    match refusal.code() {
        Some(UnknownCache | UnknownPeer | BadArgument | EntryTooLarge | NotPermitted | WrongSite) => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// What to look at where certificates are the trouble; nothing where the text is about something else.
pub(super) fn look_at(tls: bool) -> &'static str {
    if tls { "; see `relay`, `site`, `certificate` and `trust` in the profile" } else { "" }
}

/// An operation that did not get its answer.
pub(super) fn failed(error: &Error) -> Failure {
    let exit = match error {
        _ if error.is_unreachable() => Exit::Unreachable,
        Error::Refused(refusal) => exit_of_refusal(refusal),
        Error::Name(_) | Error::Key(_) | Error::TooLarge { .. } => Exit::Usage,
        _ => Exit::Failed,
    };
    Failure::because(exit, error)
}
