//! Certificates by name, and files that are not valid.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;

use socketserver::prelude::*;
use socketserver::tls::TlsConfig;
use support::certificates::Authority;
use support::logs::Logs;
use support::tls::{AUTHORITY, client_config, shake_hands, tls_client_with};
use support::{ANY, eventually, in_background};

#[test]
fn a_client_gets_the_certificate_for_its_name() -> io::Result<()> {
    let second = Authority::new("Second");
    let third = Authority::new("Third");
    let (one, one_key) = AUTHORITY.certify("DNS:one.example");
    let (two, two_key) = second.certify("DNS:two.example");
    let (three, three_key) = third.certify("DNS:*.three.example");
    for rejects in [false, true] {
        let config = TlsConfig::builder()
            .certificate(&one, &one_key)
            .certificate(&two, &two_key)
            .certificate(&three, &three_key)
            .reject_unknown_names(rejects)
            .build()?;
        let builder = ThreadingTcpServer::builder().tls(config);
        let server = in_background(builder.bind_fn(ANY, |_| Ok(())));
        let ask = |authority: &Authority, name| {
            let config = client_config(&authority.pem());
            let mut client = tls_client_with(server.server_address(), config, name);
            shake_hands(&mut client)
        };
        ask(&AUTHORITY, "one.example")?;
        ask(&second, "two.example")?;
        ask(&third, "a.three.example")?;
        let unknown = ask(&AUTHORITY, "unknown.example").expect_err("no certificate has it");
        let text = if rejects {
            "AccessDenied"
        } else {
            "not valid for name"
        };
        assert!(unknown.to_string().contains(text), "{unknown}");
        eventually("it is counted", || {
            let tls = server.handle().statistics().tls;
            let (known, unknown) = if rejects { (1, 0) } else { (0, 1) };
            tls.server_name == known && tls.refused_by_client == unknown
        });
    }
    Ok(())
}

#[test]
fn errors_name_the_file() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let (certificate, key) = AUTHORITY.certify("DNS:localhost");
    let missing = folder.path().join("missing.pem");
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "")?;
    let other = Authority::new("Other");
    for (certificate, key, kind, named) in [
        (&missing, &key, ErrorKind::NotFound, &missing),
        (&certificate, &missing, ErrorKind::NotFound, &missing),
        (&empty, &key, ErrorKind::InvalidData, &empty),
        (&certificate, &empty, ErrorKind::InvalidData, &empty),
        (
            &certificate,
            &other.key(),
            ErrorKind::InvalidData,
            &other.key(),
        ),
    ] {
        let error = TlsConfig::from_pem_files(certificate, key).expect_err("a file is not valid");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(
            error.to_string().contains(&named.display().to_string()),
            "{error}"
        );
    }
    let error = TlsConfig::builder().build().expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let folder_error = TlsConfig::builder()
        .certificate(&certificate, &key)
        .client_ca(&missing)
        .build();
    assert!(
        folder_error
            .unwrap_err()
            .to_string()
            .contains("missing.pem")
    );
    Ok(())
}

#[test]
fn early_data_is_not_accepted() -> io::Result<()> {
    use socketserver::tls::rustls::ServerConfig;
    use socketserver::tls::rustls::crypto::ring;
    use socketserver::tls::rustls::pki_types::pem::PemObject;
    use socketserver::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let (certificate, key) = AUTHORITY.certify("DNS:localhost");
    let certificate = CertificateDer::from_pem_file(certificate).expect("it is valid");
    let key = PrivateKeyDer::from_pem_file(key).expect("it is valid");
    let mut config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("the versions are known")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    config.max_early_data_size = 1000;
    let builder = TcpServer::builder().tls(TlsConfig::from(config));
    let error = builder.bind_fn(ANY, |_| Ok(())).expect_err("0-RTT is off");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("max_early_data_size"), "{error}");
    Ok(())
}

#[test]
fn a_key_that_everybody_may_read_is_logged() -> io::Result<()> {
    let logs = Logs::from_here();
    let (certificate, key) = AUTHORITY.certify("DNS:localhost");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    TlsConfig::from_pem_files(&certificate, &key)?;
    let path = key.display().to_string();
    assert_eq!(logs.with(&path), []);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    TlsConfig::from_pem_files(&certificate, &key)?;
    let lines = logs.with(&path);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].0, log::Level::Warn);
    Ok(())
}
