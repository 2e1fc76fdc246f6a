//! What belongs to something, in a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{EntityError, MAX_LIST_BYTES, PartFile, PartLine, Parts};
use crate::backup::content::ContentReader;
use crate::backup::open::OpenSnapshot;
use crate::domain::content::parse_json;
use crate::domain::crypto::hash::FileHasher;
use crate::domain::entity::{EntityId, each_line, similar};
use crate::domain::metadata::entry::{Attributes, EntryKind, FileEntry};
use crate::domain::metadata::path::TreePath;
use crate::domain::preset::{Entity, FieldPath, Preset, Template, globs};
use crate::store::{ChunkStore, TreeReader};

/// So many ids are named that may have been meant.
const SIMILAR: usize = 5;

/// A snapshot that is looked into.
struct Looking<'a> {
    preset: &'a Preset,
    tree: TreeReader<'a>,
    reader: ContentReader<'a>,
    roots: Vec<TreePath>,
}

/// A file that was found.
#[derive(Clone)]
struct Found {
    path: TreePath,
    attributes: Attributes,
    file: FileEntry,
}

/// What there is of a kind: ids, with their titles where the preset says where those stand. Blocks.
///
/// # Errors
/// [`EntityError`].
pub fn list(
    open: &OpenSnapshot,
    chunks: &Arc<dyn ChunkStore>,
    preset: &Preset,
    kind: &str,
) -> Result<Vec<(String, Option<String>)>, EntityError> {
    let entity = entity(preset, kind)?;
    Looking::new(open, chunks, preset).list(entity)
}

/// What belongs to this one. Blocks.
///
/// # Errors
/// [`EntityError`].
pub fn find(
    open: &OpenSnapshot,
    chunks: &Arc<dyn ChunkStore>,
    preset: &Preset,
    id: &EntityId,
) -> Result<Parts, EntityError> {
    let entity = entity(preset, &id.kind)?;
    Looking::new(open, chunks, preset).find(entity, id)
}

fn entity<'p>(preset: &'p Preset, kind: &str) -> Result<&'p Entity, EntityError> {
    let there = || preset.entities.iter().map(|entity| entity.kind.clone()).collect();
    let found = preset.entities.iter().find(|entity| entity.kind == kind);
    found.ok_or_else(|| EntityError::NoKind { preset: preset.name.clone(), kind: kind.to_owned(), there: there() })
}

impl<'a> Looking<'a> {
    fn new(open: &'a OpenSnapshot, chunks: &'a Arc<dyn ChunkStore>, preset: &'a Preset) -> Self {
        let roots = open.private.roots.iter();
        Self {
            preset,
            tree: open.tree(chunks.as_ref()),
            reader: ContentReader::new(chunks, open.collection(), &open.root),
            roots: roots.filter_map(|root| TreePath::new(root.name.clone().into_bytes()).ok()).collect(),
        }
    }

    fn list(&mut self, entity: &Entity) -> Result<Vec<(String, Option<String>)>, EntityError> {
        let wrong = |why| EntityError::Preset { kind: entity.kind.clone(), why };
        let title = entity.title.as_deref().map(FieldPath::parse).transpose().map_err(wrong)?;
        let title = |value: &Value| title.as_ref().and_then(|title| title.text(value));
        let mut all: BTreeMap<String, Option<String>> = BTreeMap::new();
        for line in &entity.lines {
            let field = FieldPath::parse(&line.field).map_err(wrong)?;
            let Some(list) = self.file(&line.index)? else { continue };
            let bytes = self.content(&list)?;
            each_line(&bytes, |value, _| {
                if let Some(id) = field.text(value) {
                    all.insert(id, title(value));
                }
            });
        }
        if entity.lines.is_empty() {
            for (id, found) in self.named(&entity.files[0])? {
                let document = if entity.title.is_some() { self.content(&found)? } else { Vec::new() };
                all.insert(id, parse_json(&document).ok().and_then(|document| title(&document)));
            }
        }
        Ok(all.into_iter().collect())
    }

    fn find(&mut self, entity: &Entity, id: &EntityId) -> Result<Parts, EntityError> {
        let wrong = |why| EntityError::Preset { kind: entity.kind.clone(), why };
        let mut parts = Parts { id: id.clone(), files: Vec::new(), lines: Vec::new(), missing: Vec::new() };
        let mut own = Vec::new();
        for template in &entity.files {
            let path = Template::parse(template).map_err(wrong)?.path(&json!({ "id": id.id }));
            // What is a list is nobody's own file, whatever it is called.
            let Some(path) = path.filter(|path| !entity.lines.iter().any(|line| line.index == *path)) else { continue };
            own.extend(self.file(&path)?);
        }
        let mut own_lines = Vec::new();
        for line in &entity.lines {
            let field = FieldPath::parse(&line.field).map_err(wrong)?;
            own_lines.extend(
                self.lines(&line.index, &field, &BTreeSet::from([id.id.clone()]))?.into_iter().map(|(line, _)| line),
            );
        }
        if own.is_empty() && own_lines.is_empty() {
            let all = self.list(entity)?;
            let similar = similar(&id.id, &all, SIMILAR).into_iter().map(|(id, title)| match title {
                Some(title) => format!("{id} ({})", crate::domain::text::shown(title)),
                None => id.clone(),
            });
            return Err(EntityError::None { id: id.clone(), similar: similar.collect() });
        }
        if own.is_empty() {
            parts.missing.push(format!("{id} stands in the list, and its file is not in the snapshot"));
        } else if own_lines.is_empty() && !entity.lines.is_empty() {
            parts.missing.push(format!("{id} stands in no list of the snapshot: the application may not show it"));
        }
        self.attachments(entity, &own, &mut parts)?;
        parts.files.extend(own.into_iter().map(PartFile::from));
        parts.lines.extend(own_lines);
        parts.files.dedup_by(|a, b| a.path == b.path);
        Ok(parts)
    }

    /// Files of lists that its own files name.
    fn attachments(&mut self, entity: &Entity, own: &[Found], parts: &mut Parts) -> Result<(), EntityError> {
        let wrong = |why| EntityError::Preset { kind: entity.kind.clone(), why };
        let (mut named, mut found) = (BTreeSet::new(), BTreeSet::new());
        for attached in &entity.attachments {
            let field = FieldPath::parse(&attached.field).map_err(wrong)?;
            let mut wanted = BTreeSet::new();
            for file in own {
                let bytes = self.content(file)?;
                let mut note = |value: &Value| {
                    field.each(value, &mut |value| wanted.extend(crate::domain::preset::field::text(value)));
                };
                match parse_json(&bytes) {
                    Ok(document) => note(&document),
                    Err(_) => each_line(&bytes, |value, _| note(value)),
                }
            }
            let name_of = self.name_of(&attached.index).map_err(wrong)?;
            let rules: Vec<_> =
                self.preset.checks.files.iter().filter(|listed| listed.index == attached.index).collect();
            for (line, value) in self.lines(&attached.index, &name_of, &wanted)? {
                found.insert(line.id.clone());
                let mut there = None;
                for place in rules.iter().flat_map(|rule| &rule.places) {
                    let Some(path) = Template::parse(&place.path).map_err(wrong)?.path(&value) else { continue };
                    there = self.file(&path)?;
                    if there.is_some() {
                        break;
                    }
                }
                match there {
                    Some(file) if parts.files.iter().all(|known| known.path != file.path) => {
                        parts.files.push(file.into())
                    }
                    Some(_) => {}
                    None => parts
                        .missing
                        .push(format!("the file {} stands in {}, and is not in the snapshot", line.id, attached.index)),
                }
                parts.lines.push(line);
            }
            named.extend(wanted);
        }
        let lost = named
            .difference(&found)
            .map(|id| format!("the file {id} is named in it, and stands in no list of the snapshot"));
        parts.missing.extend(lost);
        Ok(())
    }

    /// The field of a list that says what a line is about.
    fn name_of(&self, index: &str) -> Result<FieldPath, String> {
        for ids in &self.preset.checks.ids {
            if let (Some(field), true) = (&ids.field, globs(std::slice::from_ref(&ids.from))?.is_match(index)) {
                return FieldPath::parse(field);
            }
        }
        FieldPath::parse("id")
    }

    /// Lines of a list that are about these, with what they say.
    fn lines(
        &mut self,
        index: &str,
        field: &FieldPath,
        wanted: &BTreeSet<String>,
    ) -> Result<Vec<(PartLine, Value)>, EntityError> {
        let mut lines: Vec<(PartLine, Value)> = Vec::new();
        if wanted.is_empty() {
            return Ok(lines);
        }
        let Some(list) = self.file(index)? else { return Ok(lines) };
        let bytes = self.content(&list)?;
        each_line(&bytes, |value, line| {
            let Some(id) = field.text(value).filter(|id| wanted.contains(id)) else { return };
            // Of several the application takes one; the last one is the newest.
            lines.retain(|(known, _)| known.id != id);
            let (path, attributes) = (list.path.clone(), list.attributes.clone());
            lines.push((PartLine { path, attributes, field: field.clone(), id, line: line.to_vec() }, value.clone()));
        });
        Ok(lines)
    }

    /// The file at a path of the application's folder.
    fn file(&mut self, path: &str) -> Result<Option<Found>, EntityError> {
        for root in self.roots.clone() {
            let whole = [root.as_bytes(), b"/", path.as_bytes()].concat();
            let Ok(path) = TreePath::new(whole) else { continue };
            let Some(mut entry) = self.tree.find(&path)? else { continue };
            if let EntryKind::HardLink { to } = &entry.kind {
                let Some(target) = self.tree.find(&to.clone())? else { continue };
                entry.kind = target.kind;
                entry.attributes = target.attributes;
            }
            if let EntryKind::File(file) = entry.kind {
                return Ok(Some(Found { path, attributes: entry.attributes, file }));
            }
        }
        Ok(None)
    }

    /// The files that a template names, whatever the id.
    fn named(&mut self, template: &str) -> Result<Vec<(String, Found)>, EntityError> {
        let Some((before, after)) = template.split_once("{id}") else { return Ok(Vec::new()) };
        let folder = before.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut named = Vec::new();
        for root in self.roots.clone() {
            let within = match folder.is_empty() {
                true => Ok(root.clone()),
                false => TreePath::new([root.as_bytes(), b"/", folder.as_bytes()].concat()),
            };
            let Ok(within) = within else { continue };
            let skip = root.as_bytes().len() + 1;
            let mut ids = Vec::new();
            self.tree.walk(Some(&within), |entry| {
                let path = entry.path.as_bytes().get(skip..).map(String::from_utf8_lossy).unwrap_or_default();
                let id = path.strip_prefix(before).and_then(|path| path.strip_suffix(after));
                if let Some(id) = id.filter(|id| !id.is_empty() && !id.contains('/')) {
                    ids.push((id.to_owned(), path.to_string()));
                }
                Ok::<_, EntityError>(())
            })?;
            for (id, path) in ids {
                named.extend(self.file(&path)?.map(|found| (id, found)));
            }
        }
        Ok(named)
    }

    /// Reads a file as a whole, and compares it with its hash.
    fn content(&mut self, found: &Found) -> Result<Vec<u8>, EntityError> {
        let path = || String::from_utf8_lossy(found.path.as_bytes()).into_owned();
        if found.file.size > MAX_LIST_BYTES {
            return Err(EntityError::TooLong(path()));
        }
        let mut bytes = Vec::with_capacity(found.file.size as usize);
        let read = self.reader.read(&found.file, &mut |piece| bytes.extend_from_slice(piece));
        read.map_err(|cause| EntityError::Damaged { path: path(), cause: Some(cause) })?;
        let mut hasher = FileHasher::default();
        hasher.update(&bytes);
        match hasher.finish() == found.file.hash {
            true => Ok(bytes),
            false => Err(EntityError::Damaged { path: path(), cause: None }),
        }
    }
}

impl From<Found> for PartFile {
    fn from(found: Found) -> Self {
        Self { path: found.path, attributes: found.attributes, file: found.file }
    }
}
