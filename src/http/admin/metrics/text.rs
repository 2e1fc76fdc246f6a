//! Prometheus' text format 0.0.4: names, types, labels, values.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

/// What the figures of one name are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Counter,
    Histogram,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// A name of figures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
}

/// Labels of one figure.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// All figures of one look.
#[derive(Debug, Default)]
pub(super) struct Page {
    lines: BTreeMap<&'static str, Vec<String>>,
}

impl Page {
    /// Adds a figure.
    pub fn add(&mut self, metric: Metric, labels: Labels<'_>, value: impl Display) {
        self.add_part(metric, "", labels, value);
    }

    /// Adds a part of a histogram: `_bucket`, `_sum` or `_count`.
    pub fn add_part(&mut self, metric: Metric, part: &str, labels: Labels<'_>, value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.lines.entry(metric.name).or_default().push(format!("{}{part}{labels} {value}", metric.name));
    }

    /// The text, in the order of `metrics`. A name without figures is told all the same: whoever watches it sees that it is known.
    pub fn text(&self, metrics: &[Metric]) -> String {
        let mut out = String::new();
        for Metric { name, kind, help } in metrics {
            let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} {}", help.replace('\\', "\\\\"), kind.word());
            for line in self.lines.get(name).into_iter().flatten() {
                let _ = writeln!(out, "{line}");
            }
        }
        out
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
