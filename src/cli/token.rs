//! `bulbil token create|list|revoke`

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::domain::access::{KeptToken, Token};
use crate::store::entropy;

use super::args::{TokenCommand, TokenCreateArgs};
use super::context::Context;
use super::output::Outcome;

/// What lets programs in on the admin plane.
pub async fn run(command: TokenCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        TokenCommand::Create(args) => create(args, context).await,
        TokenCommand::List => list(context).await,
        TokenCommand::Revoke(args) => {
            let store = context.store().await?;
            store.change_admission(|all| all.revoke_token(&args.name))?;
            context.output.line(format!("revoked token {}: it is good for nothing from now on", args.name));
            context.output.document("token revoke", json!({ "name": args.name }), &[]);
            Ok(Outcome::Done)
        }
    }
}

async fn create(args: TokenCreateArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let now = context.clock.now();
    let token = Token::random(&mut entropy());
    let expires_at = args.expires.end(now);
    let kept = store.change_admission(|all| all.add_token(&args.name, &token, args.scope, expires_at, now))?;
    let text = token.reveal();
    let out = &context.output;
    out.line(text.as_str());
    let until = kept.expires_at.map_or_else(|| "it does not expire".to_owned(), |end| format!("good until {end:.0}"));
    out.remark(format!("token {} for {}, {until}. Keep it now: it is not shown again", kept.name, kept.scopes));
    let mut document = shown(&kept);
    document["token"] = Value::from(text.as_str());
    out.document("token create", document, &[]);
    Ok(Outcome::Done)
}

async fn list(context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let (tokens, now) = (store.admission()?.tokens, context.clock.now());
    let rows: Vec<[String; 5]> = tokens
        .iter()
        .map(|token| {
            let until = match token.expires_at {
                None => "does not expire".to_owned(),
                Some(end) if end <= now => format!("expired {end:.0}"),
                Some(end) => format!("until {end:.0}"),
            };
            let used = token.last_used_on.map_or_else(|| "never".to_owned(), |day| day.to_string());
            [token.name.clone(), token.scopes.to_string(), format!("{:.0}", token.created_at), until, used]
        })
        .collect();
    if rows.is_empty() {
        context.output.remark("no tokens yet: 'bulbil token create NAME --scope read' makes one");
    } else {
        context.output.table(&["name", "scopes", "made", "good", "last used"].map(str::to_owned), &rows);
    }
    context.output.document("token list", tokens.iter().map(shown).collect::<Vec<_>>(), &[]);
    Ok(Outcome::Done)
}

fn shown(token: &KeptToken) -> Value {
    json!({
        "name": token.name, "scopes": token.scopes, "created_at": token.created_at,
        "expires_at": token.expires_at, "last_used_on": token.last_used_on,
    })
}
