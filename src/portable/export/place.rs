//! Into a place that was named before: begun once, gone on with.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::target::Target;
use super::write::Work;
use super::{ExportError, ExportOptions, Exported, Part};
use crate::monitor::Monitor;
use crate::portable::document::BackupManifest;
use crate::portable::place::Place;
use crate::store::Store;

/// Writes the first document.
pub(in crate::portable) fn begin(place: Place, store: &Store, now: Timestamp) -> Result<(), ExportError> {
    Target::begin(place, store, false, now).map(drop)
}

/// Adds what is new.
#[expect(clippy::too_many_arguments, reason = "what is copied, where to, and by whom")]
pub(in crate::portable) fn go_on(
    place: Place,
    document: BackupManifest,
    store: &Store,
    options: &ExportOptions,
    parts: Vec<Part>,
    now: Timestamp,
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<Exported, ExportError> {
    let target = Target::hold(place, document, true)?;
    Work { store, options, monitor, cancel }.run(target, parts, now)
}
