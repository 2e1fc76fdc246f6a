//! arti's configuration: an admin's file, then our wishes where it says nothing, then what must be so.

use arti_client::TorClientConfig;
use arti_client::config::{CfgPath, TorClientConfigBuilder};
use toml::{Table, Value};

use super::{TorError, TorOptions};
use crate::monitor::with_causes;

/// The configuration of a client.
pub(super) fn arti(options: &TorOptions) -> Result<TorClientConfig, TorError> {
    let mut table = match &options.overlay {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|cause| TorError::Read { path: path.clone(), cause })?;
            text.parse::<Table>()
                .map_err(|error| TorError::Malformed { path: path.clone(), what: error.to_string() })?
        }
        None => Table::new(),
    };
    // A service that runs for months is worth an attack on its guards; arti's default is the lighter kind.
    wish(&mut table, &["vanguards", "mode"], "full".into());
    // No circuits to the web are kept ready: nothing here goes there.
    wish(&mut table, &["preemptive_circuits", "initial_predicted_ports"], Value::Array(Vec::new()));
    wish(&mut table, &["address_filter", "allow_onion_addrs"], true.into());
    // Keys come from the home, sealed; arti has them in memory.
    demand(&mut table, &["storage", "keystore", "primary", "kind"], "ephemeral".into());
    let mut unknown = Vec::new();
    let builder: Result<TorClientConfigBuilder, _> =
        serde_ignored::deserialize(table, |path| unknown.push(path.to_string()));
    let mut builder = builder.map_err(|error| match &options.overlay {
        Some(path) => TorError::Malformed { path: path.clone(), what: error.to_string() },
        None => TorError::Unfit(error.to_string()),
    })?;
    if let (Some(path), Some(what)) = (&options.overlay, unknown.first()) {
        return Err(TorError::Malformed { path: path.clone(), what: format!("{what} is not known") });
    }
    builder
        .storage()
        .state_dir(CfgPath::new_literal(options.dir.join("state")))
        .cache_dir(CfgPath::new_literal(options.dir.join("cache")));
    builder.build().map_err(|error| TorError::Unfit(with_causes(&error)))
}

/// Sets what nobody has set.
fn wish(table: &mut Table, path: &[&str], value: Value) {
    set(table, path, value, false);
}

/// Sets it, whatever was there.
fn demand(table: &mut Table, path: &[&str], value: Value) {
    set(table, path, value, true);
}

fn set(table: &mut Table, path: &[&str], value: Value, over: bool) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        if over || !table.contains_key(*first) {
            table.insert((*first).to_owned(), value);
        }
        return;
    }
    let inner = table.entry(*first).or_insert_with(|| Value::Table(Table::new()));
    // Something else than a table there is the admin's mistake; arti names it.
    if let Value::Table(inner) = inner {
        set(inner, rest, value, over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(overlay: Option<&str>) -> (tempfile::TempDir, TorOptions) {
        let dir = tempfile::tempdir().unwrap();
        let path = overlay.map(|text| {
            let path = dir.path().join("arti.toml");
            std::fs::write(&path, text).unwrap();
            path
        });
        let options = TorOptions { dir: dir.path().join("tor"), overlay: path, hosts: false, circuits: 4 };
        (dir, options)
    }

    #[test]
    fn what_an_admin_says_comes_before_our_wishes() {
        let mut table: Table = "[vanguards]\nmode = \"lite\"\n".parse().unwrap();
        wish(&mut table, &["vanguards", "mode"], "full".into());
        wish(&mut table, &["a", "b"], 1.into());
        assert_eq!(table["vanguards"]["mode"].as_str(), Some("lite"));
        assert_eq!(table["a"]["b"].as_integer(), Some(1));
        let (_dir, plain) = options(None);
        assert!(arti(&plain).is_ok());
        let (_dir, other) = options(Some("[vanguards]\nmode = \"lite\"\n[storage]\nstate_dir = \"/nowhere\"\n"));
        assert!(arti(&other).is_ok());
    }

    #[test]
    fn garbage_is_named() {
        let (_dir, garbage) = options(Some("not toml at all"));
        assert!(matches!(arti(&garbage), Err(TorError::Malformed { .. })));
        let (_dir, wrong) = options(Some("[vanguards]\nmode = 7\n"));
        assert!(matches!(arti(&wrong), Err(TorError::Malformed { .. })));
        let (_dir, typo) = options(Some("[vangards]\nmode = \"full\"\n"));
        let error = arti(&typo).unwrap_err().to_string();
        assert!(error.contains("vangards"), "{error}");
        let missing = TorOptions { overlay: Some("/nowhere/at/all.toml".into()), ..garbage };
        assert!(matches!(arti(&missing), Err(TorError::Read { .. })));
    }
}
