//! What the demo backs up: a small notes application's folder, the same each time.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

const PAGE: usize = 4096;
const PAGES: usize = 128;

/// Makes the folder.
pub fn make(at: &Path) -> io::Result<()> {
    for dir in ["2026/may", "2026/june", "photos", "drafts"] {
        fs::create_dir_all(at.join(dir))?;
    }
    for n in 1..=24 {
        let month = if n % 2 == 0 { "may" } else { "june" };
        fs::write(at.join(format!("2026/{month}/note-{n:02}.md")), note(n))?;
    }
    for n in 1..=5 {
        fs::write(at.join(format!("photos/photo-{n}.jpg")), noise(&format!("photo {n}"), 180_000 + 7001 * n))?;
    }
    fs::write(at.join("settings.json"), "{\n  \"theme\": \"dark\",\n  \"language\": \"en\"\n}\n")?;
    fs::write(at.join("notes.db"), database())?;
    fs::write(at.join("reindex.sh"), "#!/bin/sh\nexec notes --reindex\n")?;
    fs::set_permissions(at.join("reindex.sh"), fs::Permissions::from_mode(0o750))?;
    symlink("2026/june/note-23.md", at.join("latest.md"))
}

/// A day's work in it: one note more, one changed, one gone, and one page of the database.
pub fn change(at: &Path) -> io::Result<()> {
    fs::write(at.join("2026/june/note-25.md"), note(25))?;
    let path = at.join("2026/may/note-02.md");
    fs::write(&path, fs::read_to_string(&path)? + "\nOne line more.\n")?;
    fs::remove_file(at.join("2026/june/note-05.md"))?;
    let mut pages = fs::read(at.join("notes.db"))?;
    pages[40 * PAGE..41 * PAGE].copy_from_slice(&noise("changed page", PAGE));
    fs::write(at.join("notes.db"), pages)?;
    fs::remove_file(at.join("latest.md"))?;
    symlink("2026/june/note-25.md", at.join("latest.md"))
}

fn note(n: usize) -> String {
    let mut text = format!("# Note {n}\n\n");
    for line in 0..10 + n {
        text.push_str(&format!("Thought {line} of note {n}: bulbs keep what the flower was.\n"));
    }
    text
}

fn database() -> Vec<u8> {
    let mut bytes = b"SQLite format 3\0".to_vec();
    bytes.resize(PAGE, 0);
    for page in 1..PAGES {
        bytes.extend(noise(&format!("page {page}"), PAGE / 2));
        bytes.resize((page + 1) * PAGE, 0);
    }
    bytes
}

/// Bytes that do not compress and are the same each time.
fn noise(seed: &str, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
