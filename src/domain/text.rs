//! Names that others gave, as they are shown to people.

/// A name that somebody gave, to be shown: what would move a terminal's cursor, or turn the direction of what follows, is replaced.
pub fn shown(name: &str) -> String {
    name.chars().map(|c| if is_unseen(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Whether a character is not seen itself, and may change how others are.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
