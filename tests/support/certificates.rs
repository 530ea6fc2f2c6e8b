//! Certificates for a test, made with the command `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;

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
        let folder = self.0.path();
        std::fs::write(folder.join("names"), format!("subjectAltName={names}\n"))
            .expect("the temporary folder is writable");
        self.openssl(&format!(
            "req {NEW_KEY} -keyout server.key -out server.csr -subj /CN=Server"
        ));
        self.openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile names -out server.pem",
        );
        (folder.join("server.pem"), folder.join("server.key"))
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
