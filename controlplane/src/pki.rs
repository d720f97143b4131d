//! The cluster's certificates: one authority, made at the first start, and what it has signed.
//!
//! Everything lies in one directory (mode 0700, keys 0600). A certificate is issued again when its names change or
//! less than a third of its life is left.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(24 * 3650);
const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(24 * 365);

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub struct Credentials {
    pub certificate: String,
    pub key: String,
}

/// The cluster's certificate authority, open for signing.
pub struct Pki {
    dir: PathBuf,
    authority_certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Who a certificate is for.
struct Subject<'a> {
    user: &'a str,
    groups: &'a [&'a str],
    /// DNS names and addresses it serves under; empty for a client.
    names: &'a [String],
}

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("{path}: {why}; restore the file from a backup, or start over with `coracle down --purge`")]
    Damaged { path: PathBuf, why: String },
    #[error("{path}: {why}")]
    Io { path: PathBuf, why: std::io::Error },
    #[error("making a certificate for {user:?}: {why}")]
    Sign { user: String, why: rcgen::Error },
}

impl Pki {
    /// Opens the authority in `dir`, or makes one where there is none.
    pub fn open(dir: &Path) -> Result<Self, PkiError> {
        private_dir(dir)?;
        let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !certificate.exists() && !key.exists() {
            let authority = make_authority()?;
            write_private(&key, &authority.key)?;
            write_private(&certificate, &authority.certificate)?;
        }
        let (pem, key_pem) = (read(&certificate)?, read(&key)?);
        let key_pair = KeyPair::from_pem(&key_pem).map_err(|e| damaged(&key, e))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key_pair).map_err(|e| damaged(&certificate, e))?;
        Ok(Self { dir: dir.into(), authority_certificate: pem, issuer })
    }

    /// The authority's certificate, PEM: what clients trust.
    pub fn authority(&self) -> &str {
        &self.authority_certificate
    }

    /// The API server's certificate for these DNS names and addresses.
    pub fn server(&self, names: &[String]) -> Result<Credentials, PkiError> {
        self.ensure("server", &Subject { user: "kube-apiserver", groups: &[], names })
    }

    /// A client certificate kept as `<file>.crt` and `<file>.key`.
    pub fn client(&self, file: &str, user: &str, groups: &[&str]) -> Result<Credentials, PkiError> {
        self.ensure(file, &Subject { user, groups, names: &[] })
    }

    /// The key that signs service account tokens: P-256, PKCS #8 PEM.
    pub fn token_key(&self) -> Result<String, PkiError> {
        let path = self.dir.join("service-accounts.key");
        if !path.exists() {
            let key = KeyPair::generate().map_err(|why| PkiError::Sign { user: "service accounts".into(), why })?;
            write_private(&path, &key.serialize_pem())?;
        }
        read(&path)
    }

    fn ensure(&self, file: &str, subject: &Subject<'_>) -> Result<Credentials, PkiError> {
        let (certificate, key) = (self.dir.join(format!("{file}.crt")), self.dir.join(format!("{file}.key")));
        if certificate.exists() && key.exists() {
            let kept = Credentials { certificate: read(&certificate)?, key: read(&key)? };
            if still_good(&kept.certificate, subject.names).map_err(|why| damaged(&certificate, why))? {
                return Ok(kept);
            }
        }
        let made = self.issue(subject).map_err(|why| PkiError::Sign { user: subject.user.into(), why })?;
        write_private(&key, &made.key)?;
        write_private(&certificate, &made.certificate)?;
        Ok(made)
    }

    fn issue(&self, subject: &Subject<'_>) -> Result<Credentials, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(subject.names.to_vec())?;
        params.distinguished_name = distinguished_name(subject.user, subject.groups);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![if subject.names.is_empty() {
            ExtendedKeyUsagePurpose::ClientAuth
        } else {
            ExtendedKeyUsagePurpose::ServerAuth
        }];
        params.use_authority_key_identifier_extension = true;
        live_for(&mut params, LEAF_LIFE);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Credentials { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn make_authority() -> Result<Credentials, PkiError> {
    let make = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = distinguished_name("coracle-ca", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        live_for(&mut params, AUTHORITY_LIFE);
        let certificate = params.self_signed(&key)?;
        Ok(Credentials { certificate: certificate.pem(), key: key.serialize_pem() })
    };
    make().map_err(|why| PkiError::Sign { user: "coracle-ca".into(), why })
}

fn distinguished_name(user: &str, groups: &[&str]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, user);
    for group in groups {
        name.push(DnType::OrganizationName, *group);
    }
    name
}

/// From yesterday on, so that a client whose clock is a little behind accepts it.
fn live_for(params: &mut CertificateParams, life: SignedDuration) {
    let day = |at: Timestamp| {
        let date = at.to_zoned(TimeZone::UTC).date();
        rcgen::date_time_ymd(date.year().into(), date.month() as u8, date.day() as u8)
    };
    let now = Timestamp::now();
    params.not_before = day(now - SignedDuration::from_hours(24));
    params.not_after = day(now + life);
}

fn still_good(pem: &str, names: &[String]) -> Result<bool, String> {
    let (pem, _) = Pem::read(std::io::Cursor::new(pem)).map_err(|e| e.to_string())?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(|e| e.to_string())?;
    let left = certificate.validity().not_after.timestamp() - Timestamp::now().as_second();
    let fresh = left > LEAF_LIFE.as_secs() / 3;
    let held = subject_names(&certificate);
    Ok(fresh && held.len() == names.len() && names.iter().all(|n| held.contains(n)))
}

fn subject_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for extension in certificate.extensions() {
        if let ParsedExtension::SubjectAlternativeName(list) = extension.parsed_extension() {
            for name in &list.general_names {
                match name {
                    GeneralName::DNSName(dns) => names.push((*dns).to_owned()),
                    GeneralName::IPAddress(bytes) => names.extend(address(bytes).map(|a| a.to_string())),
                    _ => {}
                }
            }
        }
    }
    names
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn damaged(path: &Path, why: impl ToString) -> PkiError {
    PkiError::Damaged { path: path.into(), why: why.to_string() }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> PkiError + '_ {
    move |why| PkiError::Io { path: path.into(), why }
}

fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(io(path))
}

fn private_dir(path: &Path) -> Result<(), PkiError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io(path))
}

fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    crate::files::replace(path, text.as_bytes(), 0o600).map_err(io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn certificates_are_kept_until_their_names_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Pki::open(dir.path()).expect("a new authority");
        let made = first.server(&names(&["localhost", "127.0.0.1"])).expect("a certificate");
        let again = Pki::open(dir.path()).expect("the same authority");
        assert_eq!(again.authority(), first.authority());
        let kept = again.server(&names(&["127.0.0.1", "localhost"])).expect("the same certificate");
        assert_eq!(kept.certificate, made.certificate);
        let other = again.server(&names(&["localhost", "127.0.0.1", "10.0.0.1"])).expect("a new certificate");
        assert_ne!(other.certificate, made.certificate);
        assert_eq!(again.token_key().expect("a key"), first.token_key().expect("the same key"));
    }

    #[test]
    fn a_damaged_authority_is_refused_and_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        Pki::open(dir.path()).expect("a new authority");
        let path = dir.path().join("ca.key");
        fs::write(&path, "nonsense").expect("written");
        assert!(matches!(Pki::open(dir.path()), Err(PkiError::Damaged { .. })));
        assert_eq!(fs::read_to_string(&path).expect("still there"), "nonsense");
    }
}
