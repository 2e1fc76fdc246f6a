//! `bulbil collection add|list|set`

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::json;

use crate::backup::collections::{self, NewFolders};
use crate::backup::select;
use crate::domain::preset::Hooks;
use crate::domain::text::path_text;
use crate::source::Excludes;
use crate::source::volumes::Engine;
use crate::store::index::{Application, Collection};
use crate::store::{Store, blocking};

use super::args::{CollectionAddArgs, CollectionCommand, CollectionSetArgs};
use super::context::Context;
use super::output::Outcome;
use super::preset;
use super::remote::leader;

/// Adds, lists or changes collections.
pub async fn run(command: CollectionCommand, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    match command {
        CollectionCommand::Add(args) => {
            let collection = add(args, &store, context).await?;
            context.output.document("collection add", document(&collection), &[]);
            Ok(Outcome::Done)
        }
        CollectionCommand::List => list(&store, context).await,
        CollectionCommand::Set(args) => set(args, &store, context).await,
    }
}

/// Adds one, and says what was found of it.
pub(super) async fn add(args: CollectionAddArgs, store: &Store, context: &Context) -> anyhow::Result<Collection> {
    let volumes = volumes(&args.volume).await?;
    let folders: Vec<PathBuf> = args.roots.iter().chain(volumes.iter().map(|(_, path)| path)).cloned().collect();
    let new = NewFolders {
        name: args.name,
        folders,
        // Their folders are all called '_data'.
        names: volumes,
        excludes: args.exclude,
        preset: args.preset,
        level: Some(args.compression),
        padding: args.padding,
    };
    let (collection, preset) = collections::add(store, new).await?;
    context.output.line(format!("added collection {}", collection.name));
    for root in &collection.settings.as_ref().expect("it is our own").roots {
        context.output.line(format!("  {}", root.path.display()));
    }
    if let Some(preset) = &preset {
        preset::say_parts(preset, &collection, context);
    }
    Ok(collection)
}

/// Where volumes are on this machine.
async fn volumes(names: &[String]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut volumes = Vec::new();
    for name in names {
        let wanted = name.clone();
        let path = blocking(move || Engine::find()?.volume(&wanted)).await;
        let path = path.with_context(|| format!("the volume {name:?} is not found"))?;
        anyhow::ensure!(
            std::fs::read_dir(&path).is_ok(),
            "the volume {name:?} is in {}, which cannot be read: run bulbil as root, or back up what a command in a container writes \
             ('bulbil backup --from-command')",
            path.display()
        );
        volumes.push((name.clone(), path));
    }
    Ok(volumes)
}

async fn list(store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let collections = store.index.collections().await?;
    if collections.is_empty() {
        context.output.remark("There are no collections yet: 'bulbil collection add NAME FOLDER' adds one.");
    }
    for collection in &collections {
        match &collection.settings {
            Some(settings) => {
                let leader = match collection.origin == store.keys.instance() {
                    true => String::new(),
                    false => {
                        format!("  (led by {}: no snapshots are made here)", leader(store, &collection.origin).await?)
                    }
                };
                context.output.line(format!("{}{leader}", collection.name));
                for root in &settings.roots {
                    context.output.line(format!("  {}", root.path.display()));
                }
                if let Some(application) = &settings.application {
                    context.output.line(format!("  by the preset {}", application.preset));
                }
                for pattern in &settings.excludes {
                    context.output.line(format!("  without {pattern}"));
                }
            }
            None => context.output.line(format!("{}  (of instance {})", collection.name, collection.origin.short())),
        }
    }
    context.output.document("collection list", collections.iter().map(document).collect::<Vec<_>>(), &[]);
    Ok(Outcome::Done)
}

async fn set(args: CollectionSetArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let collection = select::collection(store, &args.name).await?;
    let mut settings = collection.settings.clone().with_context(|| {
        format!("collection {:?} belongs to another instance; its settings are changed there", args.name)
    })?;
    if !args.folder.is_empty() {
        settings.roots = collections::moved(&settings, &args.folder, &collection.name, store)?;
        if let Some(application) = &mut settings.application {
            application.preset = collections::choose(store, &application.preset, &args.folder)?.name;
        }
    }
    if let Some(excludes) = args.exclude {
        Excludes::new(&excludes)?;
        settings.excludes = excludes;
    }
    match args.preset.as_deref() {
        None => {}
        Some("none") => settings.application = None,
        Some(name) => {
            let folders: Vec<PathBuf> = settings.roots.iter().map(|root| root.path.clone()).collect();
            let preset = collections::choose(store, name, &folders)?.name;
            let hooks = settings.application.take().and_then(|application| application.hooks);
            settings.application = Some(Application { preset, hooks });
        }
    }
    let (before, after, timeout_secs) = (args.hook_before, args.hook_after, args.hook_timeout);
    if args.preset_hooks || args.no_hooks || before.is_some() || after.is_some() || timeout_secs.is_some() {
        let application = settings.application.as_mut();
        let application = application.context("hooks belong to a preset: say --preset generic, too")?;
        let known = application.hooks.take().unwrap_or_default();
        application.hooks = match (args.preset_hooks, args.no_hooks) {
            (true, _) => None,
            (_, true) => Some(Hooks::default()),
            _ => Some(Hooks {
                before: before.or(known.before),
                after: after.or(known.after),
                timeout_secs: timeout_secs.or(known.timeout_secs),
            }),
        };
    }
    settings.level = args.compression.unwrap_or(settings.level);
    store.index.update_settings(&collection.id, &settings).await?;
    let collection = Collection { settings: Some(settings), ..collection };
    context.output.line(format!("changed collection {}", collection.name));
    context.output.document("collection set", document(&collection), &[]);
    Ok(Outcome::Done)
}

fn document(collection: &Collection) -> serde_json::Value {
    let settings = collection.settings.as_ref().map(|settings| {
        json!({
            "roots": settings.roots.iter().map(|root| json!({ "name": root.name, "path": path_text(&root.path) })).collect::<Vec<_>>(),
            "excludes": settings.excludes, "compression": settings.level, "padding": settings.padding,
            "preset": settings.application.as_ref().map(|application| &application.preset),
            "hooks": settings.application.as_ref().and_then(|application| application.hooks.as_ref()),
        })
    });
    json!({ "id": collection.id, "name": collection.name, "origin": collection.origin, "settings": settings })
}
