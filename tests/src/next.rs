//! The next minor version of Landbridge, built from this one: a copy of the sources with one of each thing that a minor
//! version may add (a protocol version, frame kinds in two conversations, fields in hellos, a cache option). With it
//! the tests hold relays and clients of two versions to each other.
//!
//! The additions are in `edits`: where the code that they stand beside has changed, the build says which one to adapt.

mod edits;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use self::edits::EDITS;

/// One change of a copied file: `find` stands in it once, and `put` in its place.
#[derive(Debug)]
struct Edit {
    file: &'static str,
    find: &'static str,
    put: &'static str,
}

impl Edit {
    fn applied(&self, text: &str) -> String {
        let found = text.matches(self.find).count();
        assert!(found == 1, "{}: {found} times, not once; adapt tests/src/next/edits.rs:\n{}", self.file, self.find);
        text.replace(self.find, self.put)
    }
}

/// The `landbridge` of the next version; built at the first call, which takes about as long as building the relay does.
///
/// # Panics
/// When it can't be built: an edit that no longer fits, or the compiler's words.
pub fn binary() -> PathBuf {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(build);
    BUILT.clone()
}

fn build() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's directory");
    // Beside the artefacts of this build, whose dependencies it shares.
    let this = crate::relay::binary();
    let profile = this.parent().expect("a directory of binaries");
    let target = profile.parent().expect("the target directory");
    let copy = target.join("next");
    fs::create_dir_all(&copy).expect("the target directory is writable");
    for part in ["Cargo.toml", "Cargo.lock", "protocol", "client", "relay"] {
        mirror(top, &copy, Path::new(part)).unwrap_or_else(|error| panic!("{part} can't be copied: {error}"));
    }
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--package", "landbridge", "--bin", "landbridge-next", "--target-dir"]).arg(target);
    match profile.ends_with("release") {
        true => build.arg("--release"),
        // It need not be fast, and is built in half the time.
        false => build.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0"),
    };
    let built = build.current_dir(&copy).output().expect("cargo can be run");
    assert!(built.status.success(), "the next version can't be built:\n{}", String::from_utf8_lossy(&built.stderr));
    profile.join(format!("landbridge-next{}", std::env::consts::EXE_SUFFIX))
}

/// Copies with the edits. A file that is as it should be keeps its time, so that it is not compiled again.
fn mirror(top: &Path, copy: &Path, part: &Path) -> io::Result<()> {
    let (from, to) = (top.join(part), copy.join(part));
    if from.is_dir() {
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(&from)? {
            mirror(top, copy, &part.join(entry?.file_name()))?;
        }
        return Ok(());
    }
    let mut bytes = fs::read(from)?;
    for edit in EDITS.iter().filter(|edit| part == Path::new(edit.file)) {
        bytes = edit.applied(&String::from_utf8(bytes).map_err(io::Error::other)?).into_bytes();
    }
    if fs::read(&to).ok().as_deref() == Some(&bytes) { Ok(()) } else { fs::write(to, bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds after a change that no longer fits, and not minutes.
    #[test]
    fn every_edit_fits_the_code_that_there_is() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for edit in EDITS {
            edit.applied(&fs::read_to_string(top.join(edit.file)).unwrap());
        }
    }
}
