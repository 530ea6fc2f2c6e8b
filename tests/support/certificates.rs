//! Certificates for a test, made with the command `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use crate::program::installed;

/// A certificate authority in a temporary folder, which is removed when the value is dropped.
pub struct Authority(TempDir);

impl Authority {
    #[track_caller]
    pub fn new(name: &str) -> Self {
        installed("openssl", "version");
        let authority = Authority(tempfile::tempdir().expect("the temporary folder is writable"));
        authority.openssl(&format!(
            "req -x509 {NEW_KEY} -keyout ca.key -out ca.pem -subj /CN={name} -days 2"
        ));
        authority
    }

    /// The authority's own certificate, which clients must trust.
    pub fn pem(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// The key of the authority's own certificate.
    pub fn key(&self) -> PathBuf {
        self.0.path().join("ca.key")
    }

    /// Makes a certificate for these names (`DNS:localhost,IP:127.0.0.1`). Returns the paths of the
    /// certificate and its key.
    pub fn certify(&self, names: &str) -> (PathBuf, PathBuf) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("server-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = |end: &str| self.0.path().join(format!("{name}.{end}"));
        std::fs::write(path("names"), format!("subjectAltName={names}\n"))
            .expect("the temporary folder is writable");
        self.openssl(&format!(
            "req {NEW_KEY} -keyout {name}.key -out {name}.csr -subj /CN=Server"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -days 2 -extfile {name}.names \
             -out {name}.pem"
        ));
        (path("pem"), path("key"))
    }

    fn openssl(&self, arguments: &str) {
        run(self.0.path(), arguments);
    }
}

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

fn run(folder: &Path, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("openssl is installed");
    assert!(
        output.status.success(),
        "openssl {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
