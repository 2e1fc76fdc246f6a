//! An S3 server in the tests' own process (`s3s-fs`: objects are files in a folder, signatures are checked), behind a door that does
//! what a bad network does.
#![expect(clippy::disallowed_methods, reason = "a server of the tests, on loopback")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::BULBIL;

pub const ID: &str = "AKIABULBILTEST";
pub const SECRET: &str = "the/secret+of=this server";

/// What happens to bytes on their way.
#[derive(Debug)]
pub struct Faults {
    /// So many bytes of answers still pass before every line is cut; negative: no end.
    pub left: AtomicI64,
    /// How long a request waits, in milliseconds.
    pub wait_ms: AtomicU64,
    /// Requests so far, by their first line.
    pub requests: std::sync::Mutex<Vec<String>>,
}

/// A server with one bucket, `backups`.
pub struct BucketServer {
    pub endpoint: String,
    pub root: PathBuf,
    pub faults: Arc<Faults>,
    _runtime: Runtime,
}

impl BucketServer {
    /// Keeps objects as files below `root`.
    pub fn start(root: &Path) -> Self {
        std::fs::create_dir_all(root.join("backups")).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut service = S3ServiceBuilder::new(FileSystem::new(root).unwrap());
        service.set_auth(SimpleAuth::from_single(ID, SECRET));
        let service = service.build();
        let inner = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let inner_address = inner.local_addr().unwrap();
        runtime.spawn(async move {
            loop {
                let Ok((stream, _)) = inner.accept().await else { return };
                let service = service.clone();
                tokio::task::spawn(async move {
                    let stream = hyper_util::rt::TokioIo::new(stream);
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
                });
            }
        });
        let door = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", door.local_addr().unwrap());
        let faults = Arc::new(Faults {
            left: AtomicI64::new(-1),
            wait_ms: AtomicU64::new(0),
            requests: std::sync::Mutex::default(),
        });
        let shared = Arc::clone(&faults);
        runtime.spawn(async move {
            loop {
                let Ok((outside, _)) = door.accept().await else { return };
                let faults = Arc::clone(&shared);
                tokio::task::spawn(async move {
                    if faults.left.load(Ordering::SeqCst) == 0 {
                        return;
                    }
                    let Ok(inside) = TcpStream::connect(inner_address).await else { return };
                    pass(outside, inside, faults).await;
                });
            }
        });
        Self { endpoint, root: root.to_owned(), faults, _runtime: runtime }
    }

    /// The file of an object.
    pub fn object(&self, name: &str) -> PathBuf {
        self.root.join("backups").join(name)
    }

    /// Cuts every line when so many more bytes of answers have passed.
    pub fn cut_after(&self, bytes: i64) {
        self.faults.left.store(bytes, Ordering::SeqCst);
    }

    /// The network is well again.
    pub fn mend(&self) {
        self.faults.left.store(-1, Ordering::SeqCst);
    }

    /// How many requests there were whose first line has this in it, since it was asked last.
    pub fn requests(&self, like: &str) -> usize {
        let lines = std::mem::take(&mut *self.faults.requests.lock().unwrap());
        lines.iter().filter(|line| line.contains(like)).count()
    }

    /// Runs the binary with the right credentials in its environment.
    pub fn run(&self, home: &Path, args: &[&str]) -> Output {
        Command::new(BULBIL)
            .arg("--home")
            .arg(home)
            .args(args)
            .env("AWS_ACCESS_KEY_ID", ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .output()
            .unwrap()
    }

    /// Runs it and expects this exit code; everything that it said.
    pub fn expect(&self, code: i32, home: &Path, args: &[&str]) -> String {
        let output = self.run(home, args);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "bulbil {args:?}\n{said}");
        assert!(!said.contains(SECRET) && !said.contains(ID), "credentials are shown:\n{said}");
        said
    }
}

/// Passes bytes both ways; notes the first line of each request, and cuts when nothing more may pass.
async fn pass(outside: TcpStream, inside: TcpStream, faults: Arc<Faults>) {
    let (mut from_client, mut to_client) = outside.into_split();
    let (mut from_server, mut to_server) = inside.into_split();
    let up = {
        let faults = Arc::clone(&faults);
        async move {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(n @ 1..) = from_client.read(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..n.min(400)]).into_owned();
                let is_request =
                    ["GET ", "PUT ", "HEAD ", "DELETE ", "POST "].iter().any(|verb| text.starts_with(verb));
                if is_request {
                    let line = text.lines().next().unwrap_or_default().to_owned();
                    faults.requests.lock().unwrap().push(line);
                    tokio::time::sleep(Duration::from_millis(faults.wait_ms.load(Ordering::SeqCst))).await;
                }
                if to_server.write_all(&buffer[..n]).await.is_err() {
                    break;
                }
            }
        }
    };
    let down = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = from_server.read(&mut buffer).await {
            let left = faults.left.load(Ordering::SeqCst);
            if left >= 0 {
                let may = usize::try_from(left).unwrap().min(n);
                faults.left.store(left - may as i64, Ordering::SeqCst);
                let _ = to_client.write_all(&buffer[..may]).await;
                if may < n {
                    break;
                }
            } else if to_client.write_all(&buffer[..n]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
