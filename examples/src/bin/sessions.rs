//! Logs a user in, refreshes the session, and logs out, telling what every node of every site hears of it.
//!
//! Start the demo (`cargo run --release -- demo`), then, in another terminal:
//! `cargo run --release -p landbridge-examples --bin sessions -- landbridge-demo/node11.profile.toml`

use std::{error::Error, time::Duration};

use landbridge_client::{Change, Client, Profile, Update};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Session {
    user: String,
    refreshes: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).or_else(|| std::env::var("LANDBRIDGE_PROFILE").ok());
    let path = path.ok_or("name a profile: as the argument, or in LANDBRIDGE_PROFILE")?;
    let client = Client::builder().profile(Profile::load(path)?).connect().await?;
    println!("{} joined {}: {}", client.node(), client.site(), client.site_view());

    // A cache is a map with types. A session ends by itself after half an hour.
    let sessions = client.cache::<String, Session>("sessions")?.with_lifespan(Duration::from_secs(1800));
    let id = format!("example-{}", std::process::id());
    let mut changes = sessions.listen().start().await?;

    let login = Session { user: "alice".into(), refreshes: 0 };
    println!("logged in: version {}", sessions.put(&id, &login).await?);
    let refresh = |session: Option<Session>| match session {
        Some(session) => Update::Put(Session { refreshes: session.refreshes + 1, ..session }),
        None => Update::Keep,
    };
    println!("refreshed: {:?}", sessions.update(&id, refresh).await?);
    println!("logged out: {:?} is gone", sessions.remove(&id).await?.map(|entry| entry.value.user));

    // What this node hears is what every node hears, at this site and the others. States in between may be left out.
    while let Some(event) = changes.next().await {
        match event?.change {
            Change::Created(entry) if entry.key == id => println!("heard: created by {:?}", entry.node),
            Change::Modified(entry) if entry.key == id => println!("heard: modified, {:?}", entry.value),
            Change::Removed(entry) if entry.key == id => {
                println!("heard: removed at {}", entry.version.origin.site);
                break;
            }
            _ => {}
        }
    }
    client.close().await;
    Ok(())
}
