//! `GET /invites/pictures/{name}`: pictures that hold a secret. They are in memory for two minutes, under a name that nobody can guess.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header;
use jiff::{SignedDuration, Timestamp};
use qrcode::{Color, EcLevel, QrCode};
use tiny_skia::{Paint, Pixmap, Rect, Transform};
use zeroize::Zeroizing;

use super::{Amiss, Viewer};
use crate::http::admin::AdminPlane;
use crate::store::entropy;

/// So long a picture can be loaded.
const KEPT: SignedDuration = SignedDuration::from_mins(2);
/// So many at once.
const MOST: usize = 8;
const NAME_BYTES: usize = 16;
/// Pixels of a cell, and cells of the quiet zone around.
const CELL: u32 = 4;
const QUIET: u32 = 4;

/// All of them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Pictures(Arc<Mutex<Vec<Kept>>>);

struct Kept {
    name: String,
    until: Timestamp,
    png: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Pictures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pictures(…)")
    }
}

impl Pictures {
    /// Keeps a picture; the path where it is loaded from.
    pub fn keep(&self, png: Zeroizing<Vec<u8>>, now: Timestamp) -> String {
        let mut bytes = [0u8; NAME_BYTES];
        rand_core::Rng::fill_bytes(&mut entropy(), &mut bytes);
        let name = format!("{}.png", data_encoding::HEXLOWER.encode(&bytes));
        let path = format!("/invites/pictures/{name}");
        let until = now.saturating_add(KEPT).unwrap_or(Timestamp::MAX);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|kept| kept.until > now);
        if all.len() >= MOST {
            all.remove(0);
        }
        all.push(Kept { name, until, png });
        path
    }

    fn find(&self, name: &str, now: Timestamp) -> Option<Vec<u8>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|kept| kept.until > now);
        all.iter().find(|kept| kept.name == name).map(|kept| kept.png.to_vec())
    }
}

/// One picture.
pub(super) async fn picture(
    _: Viewer,
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
) -> Result<Response, Amiss> {
    let png = plane.pictures().find(&name, plane.now()).ok_or_else(Amiss::not_found)?;
    Ok(([(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, "no-store")], png).into_response())
}

/// A text for a camera, and how many pixels wide and high that is; none if it is too long. Upper case makes it a third smaller.
pub(super) fn qr_code(text: &str) -> Option<(Zeroizing<Vec<u8>>, u32)> {
    drawn(&text.to_uppercase(), EcLevel::L)
}

/// The same for paper, which may get a crease or a stain; letters as they are.
pub(super) fn printed_code(text: &str) -> Option<(Zeroizing<Vec<u8>>, u32)> {
    drawn(text, EcLevel::M)
}

fn drawn(text: &str, level: EcLevel) -> Option<(Zeroizing<Vec<u8>>, u32)> {
    let code = QrCode::with_error_correction_level(text, level).ok()?;
    let width = u32::try_from(code.width()).ok()?;
    let side = (width + 2 * QUIET) * CELL;
    let mut pixels = Pixmap::new(side, side)?;
    pixels.fill(tiny_skia::Color::WHITE);
    let mut black = Paint::default();
    black.set_color_rgba8(0, 0, 0, 255);
    black.anti_alias = false;
    for (at, _) in (0u32..).zip(code.to_colors()).filter(|(_, colour)| *colour == Color::Dark) {
        let place = |cell: u32| ((cell + QUIET) * CELL) as f32;
        let cell = Rect::from_xywh(place(at % width), place(at / width), CELL as f32, CELL as f32)?;
        pixels.fill_rect(cell, &black, Transform::identity(), None);
    }
    Some((Zeroizing::new(pixels.encode_png().ok()?), side))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_gone_after_a_while_and_known_by_its_name_alone() {
        let (pictures, now) = (Pictures::default(), Timestamp::UNIX_EPOCH);
        let (png, side) = qr_code("bulbil:abc").unwrap();
        let pixels = Pixmap::decode_png(&png).unwrap();
        assert_eq!((pixels.width(), pixels.height()), (side, side));
        assert_eq!(pixels.pixel(0, 0).unwrap().red(), 255, "around it all is white");
        assert_eq!(pixels.pixel(QUIET * CELL, QUIET * CELL).unwrap().red(), 0, "it begins with a corner mark");
        let path = pictures.keep(png.clone(), now);
        let name = path.rsplit('/').next().unwrap();
        assert_eq!(pictures.find(name, now).unwrap(), *png);
        assert!(pictures.find("", now).is_none());
        assert!(pictures.find(name, now.saturating_add(KEPT).unwrap()).is_none());
    }
}
