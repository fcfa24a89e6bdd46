//! A private public-key infrastructure, made by the `openssl` command for one test.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// What `openssl ca` wants to be told. Names of hosts come from the file of extensions.
const SETTINGS: &str = "\
[ca]\ndefault_ca = any\n\
[any]\ndatabase = index\nnew_certs_dir = .\nrand_serial = yes\ndefault_md = sha256\npolicy = names\n\
unique_subject = no\n\
[names]\ncommonName = supplied\n\
[req]\ndistinguished_name = dn\n[dn]\n";

/// Authorities and certificates of one test.
pub struct Pki(TempDir);

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    Authority,
    /// Of a server by these names, as openssl writes them: `IP:127.0.0.1,DNS:localhost`.
    Server(&'a str),
    Client,
}

/// When it is valid.
#[derive(Debug, Clone, Copy)]
pub enum Life {
    /// From now on.
    Days(u32),
    /// For two days in January 2020.
    Over,
}

pub const LOOPBACK: Kind<'static> = Kind::Server("IP:127.0.0.1");

impl Pki {
    /// `None` without openssl, which is said.
    pub fn new(what: &str) -> Option<Self> {
        if let Err(error) = Command::new("openssl").arg("version").output() {
            // Not eprintln!, which is shown only for tests that fail.
            let text = format!("SKIPPED: {what}, for which openssl makes certificates ({error})\n");
            std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).unwrap();
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("settings"), SETTINGS).unwrap();
        fs::write(directory.path().join("index"), "").unwrap();
        Some(Self(directory))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(self.0.path()).env("OPENSSL_CONF", self.path("settings"));
        let ran = command.output().unwrap();
        assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }

    /// An authority that signs itself.
    pub fn authority(&self, name: &str) -> Pair {
        self.make(name, Kind::Authority, Life::Days(30), None)
    }

    /// A certificate that `by` signs.
    pub fn issue(&self, by: &Pair, name: &str, kind: Kind<'_>, life: Life) -> Pair {
        self.make(name, kind, life, Some(by))
    }

    fn make(&self, name: &str, kind: Kind<'_>, life: Life, by: Option<&Pair>) -> Pair {
        let file = |end: &str| self.path(&format!("{name}.{end}"));
        let pair = Pair { certificate: file("pem"), key: file("key") };
        let (request, extensions) = (file("csr"), file("ext"));
        let says = match kind {
            Kind::Authority => "basicConstraints=critical,CA:TRUE\n".to_owned(),
            Kind::Server(names) => {
                format!(
                    "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName={names}\n"
                )
            }
            Kind::Client => "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n".to_owned(),
        };
        fs::write(&extensions, says).unwrap();
        let subject = format!("/CN={name}");
        let new = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let new = new.map(OsStr::new).into_iter();
        self.openssl(new.chain([
            OsStr::new("-subj"),
            subject.as_ref(),
            "-keyout".as_ref(),
            pair.key.as_ref(),
            "-out".as_ref(),
            request.as_ref(),
        ]));
        let mut sign = vec!["ca".into(), "-batch".into(), "-notext".into(), "-config".into()];
        sign.push(self.path("settings").into_os_string());
        match life {
            Life::Days(days) => sign.extend(["-days".into(), days.to_string().into()]),
            Life::Over => sign.extend(
                ["-startdate", "20200101000000Z", "-enddate", "20200103000000Z"].map(|word| word.into()),
            ),
        }
        match by {
            Some(by) => {
                sign.extend(["-cert".into(), by.certificate.clone().into_os_string()]);
                sign.extend(["-keyfile".into(), by.key.clone().into_os_string()]);
            }
            None => sign.extend(["-selfsign".into(), "-keyfile".into(), pair.key.clone().into_os_string()]),
        }
        for (option, path) in [("-in", &request), ("-extfile", &extensions), ("-out", &pair.certificate)] {
            sign.extend([option.into(), path.clone().into_os_string()]);
        }
        self.openssl(sign);
        pair
    }

    /// Files one after the other, as one.
    pub fn joined(&self, name: &str, parts: &[&Path]) -> PathBuf {
        let path = self.path(name);
        let parts: Vec<_> = parts.iter().map(|part| fs::read_to_string(part).unwrap()).collect();
        fs::write(&path, parts.concat()).unwrap();
        path
    }
}

impl Pair {
    /// The same key with a longer chain.
    pub fn with_chain(&self, certificate: PathBuf) -> Self {
        Self { certificate, key: self.key.clone() }
    }
}
