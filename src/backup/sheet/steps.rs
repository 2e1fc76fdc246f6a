//! What to do when the disk has died, step by step.

use super::Sheet;

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    match text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-:".contains(c)) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub what: String,
    /// The commands that do it.
    pub commands: Vec<String>,
}

impl Step {
    fn new(what: String, commands: Vec<String>) -> Self {
        Self { what, commands }
    }
}

/// What to do when the disk has died, one after the other.
pub fn steps(sheet: &Sheet) -> Vec<Step> {
    let collection = sheet.collections.first();
    let name = collection.map_or("NAME", |of| of.name.as_str());
    let folder = collection.and_then(|of| of.folders.first()).map_or("DIR", String::as_str);
    let quoted = quoted(folder);
    let place = sheet.targets.first().map_or_else(|| "/media/DISK".to_owned(), |place| self::quoted(place));
    let mut steps = vec![
        Step::new(
            "On a new machine install bulbil. Type the recovery key into a file that only you can read.".to_owned(),
            vec!["(umask 077; cat > key.txt)".to_owned()],
        ),
        Step::new(
            match sheet.targets.as_slice() {
                [] => "You have a portable backup (a disk with a folder backup_…):".to_owned(),
                targets => format!(
                    "Copies go to {} ('bulbil import --help' says how a bucket is reached):",
                    targets.join(", ")
                ),
            },
            vec![
                format!("bulbil init --name {}-2", sheet.name),
                format!("bulbil import {place} --rekey --recovery-key-file key.txt"),
                format!("bulbil restore {name} --target {quoted}"),
            ],
        ),
        Step::new(
            format!(
                "Or a peer has a copy it can read{}: there the first, here the others.",
                match sheet.peers.as_slice() {
                    [] => " (none was known when this was printed)".to_owned(),
                    peers => format!(" (peers: {})", peers.join(", ")),
                }
            ),
            vec![
                format!("bulbil invite --collections {name} --onward"),
                "bulbil clone 'bulbil:…'".to_owned(),
                format!("bulbil restore {name} --target {quoted}"),
            ],
        ),
        Step::new(
            "Or you have the folders chunks/ and manifests/ (of the old disk, or of a mirror):".to_owned(),
            vec![
                "bulbil rescue /mnt/FOLDER --recovery-key-file key.txt".to_owned(),
                format!("bulbil rescue /mnt/FOLDER --recovery-key-file key.txt {name} --target {quoted}"),
            ],
        ),
    ];
    if sheet.collections.iter().any(|of| !of.secrets.is_empty()) {
        steps.push(Step::new(
            "Give the application its secrets: scan the codes of this sheet into a file, and put what is shown where the application looks \
             for it. After an import with --rekey the second line does it without this sheet."
                .to_owned(),
            vec![
                "bulbil secret show NAME --document scanned.txt --recovery-key-file key.txt".to_owned(),
                format!("bulbil secret show {name} NAME"),
            ],
        ));
    }
    let preset =
        collection.and_then(|of| of.preset.as_ref()).map(|preset| format!("--preset {preset} ")).unwrap_or_default();
    steps.push(Step::new(
        "Look whether all is well, start the application, back it up again (as a new collection, unless the old home is back), and remove the \
         key."
        .to_owned(),
        vec![
            format!("bulbil check {name} --snapshot latest"),
            format!("bulbil collection add {name}-2 {preset}{quoted}"),
            "bulbil backup; bulbil status".to_owned(),
            "shred -u key.txt scanned.txt".to_owned(),
        ],
    ));
    steps
}
