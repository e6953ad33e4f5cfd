//! The client in twenty lines, as the README shows it: a test holds the two equal.
//!
//! With the demo up: `cargo run --release -p landbridge-examples --bin readme`

use std::{error::Error, time::Duration};

use landbridge_client::{Client, Conditional, Profile};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Session {
    user: String,
    refreshes: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let session = Session { user: "alice".into(), refreshes: 0 };
    let changed = Session { refreshes: 1, ..session.clone() };
    let profile = Profile::load("landbridge-demo/node11.profile.toml")?;
    let client = Client::builder().profile(profile).connect().await?;
    let sessions = client.cache::<String, Session>("sessions")?;

    let mut listener = sessions.listen().snapshot().start().await?; // what is there, then what changes, anywhere
    let version = sessions.put("s-1", &session).await?; // acknowledged: on disk
    match sessions.replace_if_version("s-1", version, &changed).await? {
        Conditional::Done(_) => {}
        Conditional::Failed(present) => println!("somebody was faster: {present:?}"), // merge, and try again
    }
    let short = sessions.clone().with_lifespan(Duration::from_secs(600));
    short.put("s-2", &session).await?;
    sessions.remove("s-1").await?; // gone at every site, whatever is unreachable now

    while let Some(event) = listener.next().await {
        let event = event?; // kind, key, value, version, site, node, resume token
        println!("{:?} {:?} by {:?}", event.kind(), event.key(), event.node());
    }
    Ok(())
}
