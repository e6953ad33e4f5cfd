//! What stands below the options in each command's `--help`: lines to copy.

pub(super) const PUT: &str = "Examples:
  landbridge put sessions s-1 hello --lifespan 10m
  landbridge put sessions s-1 - < value.bin
  landbridge put sessions s-1 hello --if-absent    # exit status 1 where there is one
  landbridge put sessions s-1 -- -5                # a value that begins with a dash";
pub(super) const GET: &str = "Examples:
  landbridge get sessions s-1 > value.bin
  landbridge get sessions s-1 --json    # version and deadline, too; value_base64 where it is no text";
pub(super) const REMOVE: &str = "Example:
  landbridge remove sessions s-1    # exit status 1 where none was";
pub(super) const LS: &str = "Examples:
  landbridge ls sessions --prefix user-7/ --limit 20
  landbridge ls sessions --json | jq -r .key";
pub(super) const EXPORT: &str = "Example:
  landbridge export sessions > sessions.jsonl";
pub(super) const IMPORT: &str = "Example:
  landbridge import sessions < sessions.jsonl

Each entry is a new write, with what is left of its lifespan; one without a deadline gets the cache's own. \
What has expired is left out. The line that something is wrong with is named, and what is before it stands.";
pub(super) const CLEAR: &str = "Example:
  landbridge clear work";
pub(super) const SIZE: &str = "Example:
  landbridge size sessions";
pub(super) const WATCH: &str = r#"Examples:
  landbridge watch sessions --snapshot
  landbridge watch sessions --json | jq -r 'select(.kind == "removed").key'
  landbridge watch sessions --from "$TOKEN"    # the member `token` of an event printed by --json"#;
pub(super) const STATUS: &str = "Examples:
  landbridge status --profile landbridge-demo/site1.profile.toml
  landbridge status --json | jq '.links[] | {peer, state, lag_seconds}'";
pub(super) const BENCH: &str =
    "Without --profile it starts relays as processes of this binary, with mutual TLS and every write on disk, and \
removes them and their files afterwards. Exit status 1 when an operation failed.

Examples:
  landbridge bench put --in-flight 64
  landbridge bench get --in-flight 64 --batch 16 --sites 1
  landbridge bench event --rate 5000 --json    # from the put at one site to the event at another
  landbridge bench event --rate 100 --subscriptions 1000 --sites 1
  landbridge bench mixed --profile landbridge-demo/node11.profile.toml --cache work";
pub(super) const TAKE_OFFLINE: &str = "Example:
  landbridge take-offline site2    # at site1; and take-offline site1 at site2";
pub(super) const BRING_ONLINE: &str = "Example:
  landbridge bring-online site2";
pub(super) const DRIFT: &str = "Examples:
  landbridge drift                           # changes nothing
  landbridge drift site2 --cache sessions --repair

Exit status 1 where something is lacked still, a link could not be checked, or the cache that was asked for, or each one, was \
left out. What is on its way, and what was removed, is never listed. Before a repair look at the list: ops/RUNBOOK.md, \"The caches differ\".";
pub(super) const BACKUP: &str = "Example:
  landbridge backup --dir backups/monday

It holds all that the relay's log does, but for the conflict log. Writes go on meanwhile, and compaction waits.";
pub(super) const RESTORE: &str = "Example:
  landbridge restore --config relay.toml --dir backups/monday    # then start the relay

What came after the backup comes from the peers. What had not reached a peer is lost.";
pub(super) const RELOAD: &str = "Example:
  landbridge check --config relay.toml; landbridge reload

Caches, peers and replication are taken over at once, other limits by sessions that begin afterwards. What needs a restart \
is named, and nothing is changed then. SIGHUP does the same; what came of it is in the log.";
pub(super) const CHECK: &str = "Example:
  landbridge check --config relay.toml    # exit status 1 where something is wrong

Of the store it reads the format and the journal, and changes nothing; `log/db` is read at a start only. A store in use is let be.";
pub(super) const RUN: &str = "Examples:
  landbridge run --config relay.toml
  LANDBRIDGE_LOG=debug landbridge run --config relay.toml

It serves when it has printed `ready`. SIGTERM and Ctrl-C let what is under way be done, then it exits 0.";
pub(super) const CERTS: &str = "Example:
  landbridge certs --dir certs --site site1 --site site2 --node site1/node11 --node site2/node21";
pub(super) const DEMO: &str = "Examples:
  landbridge demo           # stays up, and prints commands to try in other terminals
  landbridge demo --once    # ends after the story
  landbridge demo --sites 3 # three sites, and a cut that changes find their way around";
