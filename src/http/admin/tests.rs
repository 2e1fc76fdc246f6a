use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::{Request, StatusCode, header};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::network::DirectOnly;
use super::token::{AdminToken, TokenError};
use super::{AdminPlane, Following, admin_router, openapi_admin};
use crate::clock::{Clock, SystemClock};
use crate::domain::access::{Admission, Cost, PasswordHash};
use crate::http::peer::{PeerLimits, PeerPlane, peer_router};
use crate::monitor::Tally;
use crate::replicate::call::PeerCaller;
use crate::replicate::pull::Puller;
use crate::replicate::serve::Serve;
use crate::store::testing::TestStore;
use crate::store::{Store, entropy};
use crate::transport::client::{ClientLimits, HttpClient};
use crate::transport::memory::MemoryNet;
use crate::worker::follow::Worker;
use crate::worker::jobs::Jobs;

/// Both planes over one repository.
pub(in crate::http) struct Planes {
    pub(in crate::http) _home: TestStore,
    pub(in crate::http) token: AdminToken,
    pub(in crate::http) plane: AdminPlane,
    pub(in crate::http) admin: axum::Router,
    pub(in crate::http) peer: axum::Router,
    wake: watch::Receiver<u64>,
}

impl Planes {
    /// As `bulbil password set` does, but with little work.
    pub(in crate::http) fn set_password(&self, password: &str, now: Timestamp) {
        let hash = PasswordHash::new(password, Cost::LITTLE, &mut entropy()).unwrap();
        let change = |admission: &mut Admission| {
            admission.set_password(hash, now);
            Ok(())
        };
        self._home.store.change_admission(change).unwrap();
    }
}

async fn planes() -> Planes {
    planes_at(Arc::new(SystemClock)).await
}

/// The admin plane of a repository, without a listener.
pub(super) fn plane_of(store: &Store) -> AdminPlane {
    plane_and_bell(store, Arc::new(SystemClock)).0
}

fn plane_and_bell(store: &Store, clock: Arc<dyn Clock>) -> (AdminPlane, watch::Receiver<u64>) {
    let client = HttpClient::new(Arc::new(MemoryNet::new()), ClientLimits::default());
    let caller = PeerCaller::new(client, Arc::clone(&store.keys), Arc::clone(&clock));
    let puller = Puller::new(store.clone(), caller.clone(), Arc::new(Tally::default()));
    let worker = Worker::new(puller, Serve::new(store.clone()), Duration::from_secs(60));
    let (following, wake) = Following::new(worker);
    let token = AdminToken::load_or_create(&store.home).unwrap();
    let network = Arc::new(DirectOnly { address: "http://127.0.0.1:7001".to_owned() });
    let at_work = (TaskTracker::new(), CancellationToken::new());
    let jobs = Jobs::new(
        Puller::new(store.clone(), caller, Arc::new(Tally::default())),
        Arc::clone(&clock),
        Arc::new(Tally::default()),
        at_work,
    );
    let plane = AdminPlane::new(store.clone(), Arc::clone(&clock), token.clone(), following, network, jobs);
    (plane, wake)
}

/// Both planes, by this clock.
pub(in crate::http) async fn planes_at(clock: Arc<dyn Clock>) -> Planes {
    let home = TestStore::new().await;
    let store = home.store.clone();
    let (plane, wake) = plane_and_bell(&store, Arc::clone(&clock));
    let token = AdminToken::load_or_create(&store.home).unwrap();
    let peer = peer_router(PeerPlane::new(Serve::new(store), clock, PeerLimits::default()));
    Planes { _home: home, token, admin: admin_router(plane.clone()), plane, peer, wake }
}

/// Status and body of an answer to a request with this host and token.
async fn ask(
    router: &axum::Router,
    method: &str,
    path: &str,
    host: &str,
    token: Option<&AdminToken>,
) -> (StatusCode, String) {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, token.header().as_str());
    }
    let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (head.status, String::from_utf8(body.to_vec()).unwrap())
}

const PATHS: [(&str, &str); 7] = [
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/statusz"),
    ("GET", "/admin/v1/status"),
    ("GET", "/admin/v1/addresses"),
    ("POST", "/admin/v1/sync"),
    ("POST", "/admin/v1/feed-changed"),
];
const HERE: &str = "127.0.0.1:7002";

#[tokio::test]
async fn who_has_the_token_is_answered_and_nobody_else() {
    let planes = planes().await;
    assert_eq!(ask(&planes.admin, "GET", "/healthz", HERE, None).await.0, StatusCode::OK);
    let stranger = TestStore::new().await;
    let wrong = AdminToken::load_or_create(&stranger.store.home).unwrap();
    for (method, path) in PATHS {
        for token in [None, Some(&wrong)] {
            let (status, body) = ask(&planes.admin, method, path, HERE, token).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(body.contains("no-token"), "{body}");
        }
    }
    for (method, path) in PATHS {
        let (status, body) = ask(&planes.admin, method, path, HERE, Some(&planes.token)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
    }
    let (status, body) = ask(&planes.admin, "GET", "/admin/v1/nothing", HERE, Some(&planes.token)).await;
    assert_eq!((status, body.contains("not-found")), (StatusCode::NOT_FOUND, true));
    assert!(planes.wake.has_changed().unwrap(), "the worker was woken");
    let (status, _) = ask(&planes.admin, "POST", "/admin/v1/sync?wait=perhaps", HERE, Some(&planes.token)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_server_whose_disk_is_not_mounted_runs_and_is_not_ready() {
    let planes = planes().await;
    let home = planes._home.home();
    std::fs::rename(home.join("chunks"), home.join("mounted")).unwrap();
    std::fs::create_dir(home.join("chunks")).unwrap();
    let (status, body) = ask(&planes.admin, "GET", "/readyz", HERE, Some(&planes.token)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("Is its disk mounted?"), "{body}");
    let (status, body) = ask(&planes.admin, "GET", "/admin/v1/status", HERE, Some(&planes.token)).await;
    assert_eq!((status, body.contains("Is its disk mounted?")), (StatusCode::OK, true), "{body}");
}

#[tokio::test]
async fn a_name_that_is_not_loopbacks_is_refused_even_with_the_token() {
    let planes = planes().await;
    for (method, path) in PATHS.into_iter().chain([("GET", "/healthz")]) {
        let (status, body) = ask(&planes.admin, method, path, "rebound.example:7002", Some(&planes.token)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(body.contains("not-loopback"), "{body}");
    }
}

#[tokio::test]
async fn r9_nothing_of_one_plane_answers_on_the_other() {
    let planes = planes().await;
    let (nowhere, same) = ask(&planes.peer, "GET", "/nowhere", HERE, Some(&planes.token)).await;
    for (method, path) in PATHS.into_iter().chain([("GET", "/healthz")]) {
        let answer = ask(&planes.peer, method, path, HERE, Some(&planes.token)).await;
        assert_eq!(answer, (nowhere, same.clone()), "{path} looks different from what does not exist");
    }
    for path in ["/peer/v1/identity", "/peer/v1/changes", "/peer/v1/config"] {
        let (status, _) = ask(&planes.admin, "GET", path, HERE, Some(&planes.token)).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    let described = openapi_admin().to_json().unwrap();
    assert!(!described.contains("/peer/v1") && !crate::http::openapi_peer().to_json().unwrap().contains("/admin"));
}

#[tokio::test]
async fn a_token_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let home = TestStore::new().await;
    let token = AdminToken::load_or_create(&home.store.home).unwrap();
    assert_eq!(AdminToken::load(&home.store.home).unwrap().header(), token.header());
    let path = home.store.home.keys().join("admin-token");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(AdminToken::load(&home.store.home), Err(TokenError::Readable { mode: 0o644, .. })));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "short\n").unwrap();
    assert!(matches!(AdminToken::load_or_create(&home.store.home), Err(TokenError::Damaged { .. })));
}

#[tokio::test]
async fn statusz_says_what_is_wrong_in_words() {
    let planes = planes().await;
    let (status, body) = ask(&planes.admin, "GET", "/statusz", HERE, Some(&planes.token)).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, r#"{"status":"ok","reasons":[]}"#));
    let home = planes._home.home();
    std::fs::rename(home.join("chunks"), home.join("mounted")).unwrap();
    std::fs::create_dir(home.join("chunks")).unwrap();
    let (status, body) = ask(&planes.admin, "GET", "/statusz", HERE, Some(&planes.token)).await;
    assert_eq!(status, StatusCode::OK, "the answer is one, whatever it says");
    assert!(
        body.contains("\"degraded\"") && body.contains("\"away\"") && body.contains("Is its disk mounted?"),
        "{body}"
    );
}
