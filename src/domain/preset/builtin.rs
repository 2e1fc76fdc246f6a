//! The presets that come with the program.

use super::{Preset, PresetError};

/// Names and documents.
const ALL: [(&str, &str); 4] = [
    ("quilltap", include_str!("builtin/quilltap.toml")),
    ("quilltap-4", include_str!("builtin/quilltap-4.toml")),
    ("axon-bbs", include_str!("builtin/axon-bbs.toml")),
    ("generic", include_str!("builtin/generic.toml")),
];

/// The names of all.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// The document of one, as it is written.
pub fn text(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// One of them.
///
/// # Errors
/// None in a program that was tested.
pub fn preset(name: &str) -> Option<Result<Preset, PresetError>> {
    text(name).map(|text| Preset::parse(name, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_sound_and_say_their_own_name() {
        for name in names() {
            let preset = preset(name).unwrap().unwrap();
            assert_eq!(preset.name, name);
            assert!(!preset.about.is_empty());
            for other in &preset.instead {
                assert!(text(&other.preset).is_some(), "{name} names {}", other.preset);
            }
        }
    }
}
