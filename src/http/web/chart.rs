//! Pictures of figures, as PNG: lines and shapes only. Words and numbers stand beside a picture, as text.

use jiff::Timestamp;
use serde::Deserialize;
use tiny_skia::{FillRule, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform};

/// Pixels from left to right.
pub(super) const WIDTH: u32 = 1200;
/// Pixels from top to bottom of what grew.
pub(super) const GROWTH_HEIGHT: u32 = 240;
/// The same of a time line.
pub(super) const TIMELINE_HEIGHT: u32 = 120;
/// Room above the highest point, and at both ends.
const MARGIN: f32 = 8.0;

/// For which surroundings a picture is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// A light page.
    #[default]
    Light,
    /// A dark page.
    Dark,
}

type Rgb = (u8, u8, u8);

impl Theme {
    /// The colours of the style sheet.
    fn accent(self) -> Rgb {
        match self {
            Self::Light => (0x1b, 0x64, 0x44),
            Self::Dark => (0x86, 0xd1, 0xab),
        }
    }

    fn bad(self) -> Rgb {
        match self {
            Self::Light => (0xa3, 0x22, 0x1a),
            Self::Dark => (0xff, 0x9d, 0x92),
        }
    }

    fn edge(self) -> Rgb {
        match self {
            Self::Light => (0x85, 0x8d, 0x88),
            Self::Dark => (0x7f, 0x8a, 0x84),
        }
    }
}

/// A value that holds from a moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// From when.
    pub at: Timestamp,
    /// How much.
    pub value: u64,
}

/// How a snapshot looks on a time line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Found good since it was made: a full bar.
    Good,
    /// Not looked at yet: an empty bar.
    Unproved,
    /// Something is known against it: a short bar with a gap.
    Bad,
}

/// How a value grew: steps, oldest first, up to `until`. The picture begins with the first one, and is as high as the highest.
pub fn growth(steps: &[Step], until: Timestamp, theme: Theme) -> Vec<u8> {
    let mut canvas = Canvas::new(GROWTH_HEIGHT, theme);
    let height = GROWTH_HEIGHT as f32;
    let highest = steps.iter().map(|step| step.value).max().unwrap_or(0).max(1);
    let Some(first) = steps.first() else { return canvas.png() };
    let x = scale(first.at, until);
    let y = |value: u64| height - (height - MARGIN) * (value as f64 / highest as f64) as f32;
    canvas.grid(height);
    let mut line = PathBuilder::new();
    line.move_to(x(first.at), y(first.value));
    for two in steps.windows(2) {
        line.line_to(x(two[1].at), y(two[0].value));
        line.line_to(x(two[1].at), y(two[1].value));
    }
    let last = steps.last().unwrap_or(first);
    line.line_to(WIDTH as f32, y(last.value));
    let mut area = line.clone();
    area.line_to(WIDTH as f32, height);
    area.line_to(x(first.at), height);
    area.close();
    canvas.fill(area.finish(), theme.accent(), 0.18);
    canvas.stroke(line.finish(), theme.accent(), 4.0);
    canvas.png()
}

/// Snapshots on a line from the oldest to `until`.
pub fn timeline(snapshots: &[(Timestamp, Look)], until: Timestamp, theme: Theme) -> Vec<u8> {
    let mut canvas = Canvas::new(TIMELINE_HEIGHT, theme);
    let Some(first) = snapshots.iter().map(|(at, _)| *at).min() else { return canvas.png() };
    let x = scale(first, until);
    for (at, look) in snapshots {
        let (left, bottom) = (x(*at) - 6.0, TIMELINE_HEIGHT as f32 - 6.0);
        let bar = |top: f32, bottom: f32| Rect::from_ltrb(left, top, left + 12.0, bottom).map(PathBuilder::from_rect);
        match look {
            Look::Good => canvas.fill(bar(10.0, bottom), theme.accent(), 1.0),
            Look::Unproved => canvas.stroke(bar(12.0, bottom - 2.0), theme.accent(), 4.0),
            Look::Bad => {
                canvas.fill(bar(10.0, 24.0), theme.bad(), 1.0);
                canvas.fill(bar(60.0, bottom), theme.bad(), 1.0);
            }
        }
    }
    canvas.png()
}

/// Where a moment is, from left to right.
fn scale(first: Timestamp, until: Timestamp) -> impl Fn(Timestamp) -> f32 {
    let whole = until.duration_since(first).as_secs_f64().max(1.0);
    move |at| {
        let part = (at.duration_since(first).as_secs_f64() / whole).clamp(0.0, 1.0) as f32;
        MARGIN + part * (WIDTH as f32 - 2.0 * MARGIN)
    }
}

struct Canvas {
    pixels: Pixmap,
    theme: Theme,
}

impl Canvas {
    fn new(height: u32, theme: Theme) -> Self {
        Self { pixels: Pixmap::new(WIDTH, height).expect("neither side is zero"), theme }
    }

    /// Faint lines at a quarter, a half and three quarters of the height, and at the top.
    fn grid(&mut self, height: f32) {
        for part in 0..4u8 {
            let y = MARGIN + (height - MARGIN) * f32::from(part) / 4.0;
            let line = Rect::from_xywh(0.0, y, WIDTH as f32, 1.0).map(PathBuilder::from_rect);
            self.fill(line, self.theme.edge(), 0.35);
        }
    }

    fn fill(&mut self, path: Option<Path>, colour: Rgb, opacity: f32) {
        if let Some(path) = path {
            let paint = paint(colour, opacity);
            self.pixels.fill_path(&path, &paint, FillRule::Winding, Transform::identity(), None);
        }
    }

    fn stroke(&mut self, path: Option<Path>, colour: Rgb, width: f32) {
        if let Some(path) = path {
            let stroke = Stroke { width, ..Stroke::default() };
            self.pixels.stroke_path(&path, &paint(colour, 1.0), &stroke, Transform::identity(), None);
        }
    }

    fn png(&self) -> Vec<u8> {
        self.pixels.encode_png().expect("a picture in memory can be encoded")
    }
}

fn paint((red, green, blue): Rgb, opacity: f32) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, (opacity * 255.0) as u8);
    paint
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn alpha(png: &[u8], x: u32, y: u32) -> u8 {
        Pixmap::decode_png(png).unwrap().pixel(x, y).unwrap().alpha()
    }

    #[test]
    fn a_value_that_doubled_is_twice_as_high() {
        let steps =
            [Step { at: at("2026-01-01T00:00:00Z"), value: 100 }, Step { at: at("2026-01-06T00:00:00Z"), value: 200 }];
        let png = growth(&steps, at("2026-01-11T00:00:00Z"), Theme::Light);
        assert_eq!(alpha(&png, 300, 100), 0, "over the first step there is nothing");
        assert!(alpha(&png, 300, 200) > 0 && alpha(&png, 900, 100) > 0 && alpha(&png, 900, 200) > 0);
        assert_ne!(png, growth(&steps, at("2026-01-11T00:00:00Z"), Theme::Dark));
    }

    #[test]
    fn a_time_line_has_a_bar_where_a_snapshot_is() {
        let snapshots = [(at("2026-01-01T00:00:00Z"), Look::Good), (at("2026-01-06T00:00:00Z"), Look::Bad)];
        let png = timeline(&snapshots, at("2026-01-11T00:00:00Z"), Theme::Light);
        assert!(alpha(&png, 8, 40) > 0 && alpha(&png, 600, 15) > 0);
        assert_eq!(
            (alpha(&png, 600, 40), alpha(&png, 300, 40)),
            (0, 0),
            "what is bad has a gap, and between there is nothing"
        );
    }

    #[test]
    fn nothing_is_a_picture_too() {
        let now = at("2026-01-01T00:00:00Z");
        for png in [growth(&[], now, Theme::Light), timeline(&[], now, Theme::Dark)] {
            assert!(png.starts_with(b"\x89PNG"));
        }
    }
}
