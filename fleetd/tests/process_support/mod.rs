//! The real binary as processes: started clean, read line by line, killed when dropped.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::{
    ffi::OsStr,
    net::SocketAddr,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use fleet_core::fingerprint::Fingerprint;
use fleet_proto::{
    agentadmin::v1::AgentAdminServiceClient,
    client::Channel,
    fleet::v1::{LoginRequest, OperatorServiceClient, SetUpRequest},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::watch,
    time::timeout,
};

/// How long anything may take before that is a failure. Two cores run many tests at once.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// From one look to the next where there is nothing to wait on.
const GLANCE: Duration = Duration::from_millis(50);

pub const ORGANIZATION: &str = "Test Mining";
pub const USER: &str = "ada";
pub const PASSWORD: &str = "twelve-characters-and-more";

/// The directories of one test, and nothing else of this host.
pub struct Home(tempfile::TempDir);

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `fleetd ...` in an environment that holds `HOME` and nothing else, so that no setting of whoever runs the
    /// test gets in.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleetd"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.path())
            .env("TMPDIR", self.path())
            .current_dir(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Process {
        Process::spawn(&mut self.command(arguments))
    }

    /// Runs a command to its end, these lines at its standard input.
    pub async fn run<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &[&str],
    ) -> Ended {
        let mut process = self.start(arguments);
        for line in input {
            process.enter(line).await;
        }
        process.close();
        process.ended().await
    }

    /// What is in the directories, by path below this one.
    pub fn entries(&self) -> Vec<String> {
        entries(self.path()).iter().map(|path| relative(path, self.path())).collect()
    }
}

fn relative(path: &Path, base: &Path) -> String {
    path.strip_prefix(base).unwrap().display().to_string()
}

/// Everything below a directory.
pub fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            found.extend(entries(&entry.path()));
        }
    }
    found.sort();
    found
}

pub fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o777
}

/// Directories 0700 and files 0600, the whole tree.
pub fn assert_private(directory: &Path) {
    assert_eq!(mode(directory), 0o700, "{}", directory.display());
    for path in entries(directory) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
}

/// A process that ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
}

impl Ended {
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Standard output as one text.
    pub fn out(&self) -> String {
        self.stdout.join("\n")
    }

    /// Standard error as one text.
    pub fn err(&self) -> String {
        self.stderr.join("\n")
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out()).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

type Lines = watch::Receiver<Vec<String>>;

/// A process whose output is read as it comes.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines,
    stderr: Lines,
}

impl Process {
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = read(child.stdout.take().unwrap());
        let stderr = read(child.stderr.take().unwrap());
        Self { child, stdin, stdout, stderr }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().expect("it still runs").cast_signed()).unwrap()
    }

    /// Enters a line. A process that does not want it any more has ended or will say why.
    pub async fn enter(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        let _ = stdin.write_all(format!("{line}\n").as_bytes()).await;
        let _ = stdin.flush().await;
    }

    pub fn close(&mut self) {
        self.stdin = None;
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.borrow().clone()
    }

    /// What it has said so far.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.borrow().clone()
    }

    /// The first line of standard output that has what is looked for; `None` if it ended without.
    pub async fn out<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.out_after(0, find).await
    }

    /// The same beyond so many lines.
    pub async fn out_after<T>(&mut self, lines: usize, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let found = line(&mut self.stdout, lines, find).await;
        found.unwrap_or_else(|()| panic!("not in time\n{:#?}\n{:#?}", self.stdout(), self.stderr()))
    }

    /// The same of standard error.
    pub async fn err<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.err_after(0, find).await
    }

    /// The same beyond so many lines.
    pub async fn err_after<T>(&mut self, lines: usize, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let found = line(&mut self.stderr, lines, find).await;
        found.unwrap_or_else(|()| panic!("not in time\n{:#?}\n{:#?}", self.stdout(), self.stderr()))
    }

    /// Waits for its end by itself.
    pub async fn ended(mut self) -> Ended {
        let Ok(status) = timeout(PATIENCE, self.child.wait()).await else {
            panic!("it does not end\n{:#?}\n{:#?}", self.stdout(), self.stderr())
        };
        let status = status.unwrap();
        Ended { status, stdout: rest(&mut self.stdout).await, stderr: rest(&mut self.stderr).await }
    }

    /// SIGTERM, and its end.
    pub async fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// SIGKILL, and its end.
    pub async fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.ended().await
    }
}

fn read(output: impl AsyncRead + Unpin + Send + 'static) -> Lines {
    let (sender, receiver) = watch::channel(Vec::new());
    tokio::spawn(async move {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).await.is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line);
            let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
            sender.send_modify(|lines| lines.push(text));
            line.clear();
        }
    });
    receiver
}

/// `Err` if it does not come in time, `None` if the output ends without.
async fn line<T>(
    lines: &mut Lines,
    mut seen: usize,
    find: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ()> {
    let search = async {
        loop {
            let found = {
                let lines = lines.borrow_and_update();
                let found = lines.iter().skip(seen).find_map(|line| find(line));
                seen = lines.len();
                found
            };
            if found.is_some() || lines.changed().await.is_err() {
                // The last lines and the end may come at once.
                return found.or_else(|| lines.borrow().iter().skip(seen).find_map(|line| find(line)));
            }
        }
    };
    timeout(PATIENCE, search).await.map_err(drop)
}

async fn rest(lines: &mut Lines) -> Vec<String> {
    // Its end closes its output, unless a child of its own still holds that.
    let closed = async { while lines.changed().await.is_ok() {} };
    timeout(PATIENCE, closed).await.expect("its output ends with it");
    lines.borrow().clone()
}

/// The processes of this host that name a path in their arguments.
pub fn processes_naming(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap();
    // A process may have ended meanwhile; one that has, but was not waited for, has no arguments.
    let arguments = entries.filter_map(|entry| std::fs::read(entry.unwrap().path().join("cmdline")).ok());
    let arguments = arguments.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    arguments.filter(|text| text.contains(path.to_str().unwrap())).collect()
}

/// For [`Process::out`]: whether the line holds a text.
pub fn containing(text: &str) -> impl Fn(&str) -> Option<()> + '_ {
    move |line| line.contains(text).then_some(())
}

/// For [`Process::out`]: the fingerprint that stands alone on a line.
pub fn fingerprint(line: &str) -> Option<String> {
    line.trim().parse::<Fingerprint>().ok().map(|_| line.trim().to_owned())
}

/// Looks until something is there.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(GLANCE).await;
    }
}

/// A server process.
pub struct Server {
    pub process: Process,
    pub address: SocketAddr,
}

impl Server {
    /// Starts a server on a free port of loopback, its data in `server` of the test's home.
    pub async fn start(home: &Home, arguments: &[&str]) -> Self {
        Self::spawn(home, &["--mode", "server", "--listen", "127.0.0.1:0"], arguments, None).await
    }

    /// The same with `first` in place of mode and address, and with a point to crash at.
    pub async fn spawn(home: &Home, first: &[&str], arguments: &[&str], crash: Option<&str>) -> Self {
        let data = home.join("server");
        let mut command = home.command(first);
        command.arg("--data-dir").arg(&data).args(arguments);
        if let Some(point) = crash {
            command.env("FLEET_CRASH_AT", point);
        }
        Self::up(Process::spawn(&mut command)).await
    }

    /// Waits until it says where it listens.
    pub async fn up(mut process: Process) -> Self {
        // In either form of the log.
        let address = |line: &str| line.split_once("listening on http://")?.1.split('"').next()?.parse().ok();
        let listening = process.err(address).await;
        match listening {
            Some(address) => Self { process, address },
            None => panic!("the server does not start: {:#?}", process.ended().await),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The link to set it up by.
    pub async fn link(&mut self) -> String {
        let link = self.process.out(|line| line.contains("/setup/").then(|| line.trim().to_owned())).await;
        link.expect("it prints a link")
    }

    /// Sets it up and signs in.
    pub async fn found(&mut self) -> Channel {
        let link = self.link().await;
        let channel = Channel::new(self.url().parse().unwrap(), None);
        let client = OperatorServiceClient::new(channel.clone());
        let request = SetUpRequest {
            setup_token: link.rsplit_once('/').unwrap().1.to_owned(),
            organization: ORGANIZATION.to_owned(),
            user_name: USER.to_owned(),
            password: PASSWORD.to_owned(),
        };
        client.set_up(request).await.unwrap();
        let request = LoginRequest {
            user_name: USER.to_owned(),
            password: PASSWORD.to_owned(),
            ..LoginRequest::default()
        };
        let login = client.login(request).await.unwrap();
        channel.with_bearer(&login.session_token)
    }
}

pub fn admin(channel: &Channel) -> AgentAdminServiceClient {
    AgentAdminServiceClient::new(channel.clone())
}
