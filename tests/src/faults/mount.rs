//! Small file systems of a test's own, in memory. They need the right to mount.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A mounted one; unmounted when it is dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// One of so many MiB at that directory; `None` where this process may not mount.
    ///
    /// # Panics
    /// When the directory can't be made.
    pub fn at(dir: &Path, mib: u32) -> Option<Self> {
        fs::create_dir_all(dir).expect("the test's directory is writable");
        let options = format!("size={mib}m,mode=0700");
        mount(&["-t", "tmpfs", "-o", &options, "landbridge-tests"], dir).then(|| Self(dir.to_owned()))
    }

    /// Lets nobody write on it any more, or again. Nobody may have a file of it open for writing.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn set_read_only(&self, read_only: bool) {
        let options = if read_only { "remount,ro" } else { "remount,rw" };
        assert!(mount(&["-o", options], &self.0), "{} can't be mounted with {options}", self.0.display());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, as a relay that was just killed may not be quite gone. What fails is left to whoever cleans the machine.
        let _left = Command::new("umount").arg("-l").arg(&self.0).stderr(Stdio::null()).status();
    }
}

fn mount(args: &[&str], dir: &Path) -> bool {
    let mounted = Command::new("mount").args(args).arg(dir).stderr(Stdio::null()).status();
    mounted.is_ok_and(|status| status.success())
}
