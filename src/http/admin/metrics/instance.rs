//! Figures of the instance: the program, its disks, what is read again, ways in, requests.

use jiff::Timestamp;

use super::catalog::*;
use super::seconds;
use super::text::Page;
use crate::domain::alert::AlertKind;
use crate::http::admin::AdminPlane;
use crate::http::traffic::{CLASSES, Plane};
use crate::store::IndexError;

pub(super) async fn gather(page: &mut Page, plane: &AdminPlane, now: Timestamp) -> Result<(), IndexError> {
    let store = &plane.store;
    let tor = if cfg!(feature = "tor") { "true" } else { "false" };
    page.add(BUILD, &[("version", env!("CARGO_PKG_VERSION")), ("tor", tor)], 1);
    page.add(STARTED, &[], seconds(plane.started_at));
    page.add(UPTIME, &[], now.duration_since(plane.started_at).as_secs_f64().max(0.0));
    let known = store.index.alerts().await?;
    for kind in AlertKind::ALL {
        let open = known.iter().filter(|known| known.over_at.is_none() && known.alert.kind == kind).count();
        page.add(ALERTS, &[("kind", kind.word())], open);
    }
    let scrub = store.index.scrub_state(now, 1).await?;
    page.add(STORE_BYTES, &[], store.index.stored_bytes().await?);
    page.add(STORE_CHUNKS, &[], scrub.objects);
    page.add(STORE_READY, &[], u8::from(store.check_folders().is_ok()));
    page.add(SCRUB_READ, &[], scrub.read);
    page.add(SCRUB_LOST, &[], scrub.lost);
    if let Some(at) = scrub.all_read_since {
        page.add(SCRUB_SINCE, &[], seconds(at));
    }
    if let Some(finding) = scrub.findings.first() {
        page.add(SCRUB_FINDING, &[], seconds(finding.found_at));
    }
    let places = [
        ("home", store.home.root().to_owned()),
        ("chunks", store.home.chunks()),
        ("manifests", store.home.manifests()),
    ];
    for (place, path) in places {
        let Ok(disk) = rustix::fs::statvfs(&path) else { continue };
        let labels = [("place", place)];
        page.add(DISK_SIZE, &labels, disk.f_blocks.saturating_mul(disk.f_frsize));
        page.add(DISK_FREE, &labels, disk.f_bavail.saturating_mul(disk.f_frsize));
        if disk.f_files > 0 {
            page.add(DISK_INODES, &labels, disk.f_favail);
        }
    }
    network(page, plane);
    requests(page, plane);
    Ok(())
}

fn network(page: &mut Page, plane: &AdminPlane) {
    let network = plane.network.network();
    page.add(OPEN, &[], u8::from(network.open));
    if let Some(tor) = &network.tor {
        page.add(TOR_READY, &[], u8::from(tor.ready));
        page.add(TOR_RATIO, &[], f64::from(tor.percent) / 100.0);
        page.add(CLOCK_WRONG, &[], u8::from(tor.clock.is_some()));
    }
    if let Some(at) = network.onion.as_ref().and_then(|onion| onion.reached_at) {
        page.add(ONION_REACHED, &[], seconds(at));
    }
}

fn requests(page: &mut Page, plane: &AdminPlane) {
    for of in Plane::ALL {
        page.add(CONNECTIONS, &[("plane", of.word())], plane.traffic.open(of).number());
    }
    for (asked, answered) in plane.traffic.until_now() {
        let labels = [("plane", asked.plane.word()), ("method", asked.method), ("route", asked.route.as_str())];
        for (status, number) in &answered.by_status {
            let status = status.to_string();
            page.add(REQUESTS, &[&labels[..], &[("status", status.as_str())]].concat(), number);
        }
        let mut until = 0;
        for (end, number) in CLASSES.iter().zip(answered.classes) {
            until += number;
            let end = end.to_string();
            page.add_part(DURATION, "_bucket", &[&labels[..], &[("le", end.as_str())]].concat(), until);
        }
        page.add_part(DURATION, "_bucket", &[&labels[..], &[("le", "+Inf")]].concat(), answered.number);
        page.add_part(DURATION, "_sum", &labels, answered.seconds);
        page.add_part(DURATION, "_count", &labels, answered.number);
    }
}
