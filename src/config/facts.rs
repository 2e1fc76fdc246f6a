//! What is in force of the configuration, to be shown: without secrets and addresses, and with where it comes from.

use std::collections::BTreeMap;

use super::{Config, LogFormat};
use crate::domain::channel::AlertSettings;
use crate::http::admin::view::configuration::{FactSource, FactView};

/// The names of what a file says.
pub(super) fn said(text: &str) -> BTreeMap<String, FactSource> {
    let parts: toml::Table = toml::from_str(text).unwrap_or_default();
    let names = parts.iter().flat_map(|(part, values)| {
        let keys = values.as_table().into_iter().flat_map(toml::Table::keys);
        keys.map(move |key| format!("{part}.{key}"))
    });
    names.map(|name| (name, FactSource::File)).collect()
}

impl Config {
    /// A value was given when the program was started, whatever the file says.
    pub fn given(&mut self, name: &str) {
        self.sources.insert(name.to_owned(), FactSource::CommandLine);
    }

    /// What is in force: a name and a value each. What may hold a secret, or is an address, is shown as set or not set.
    pub fn facts(&self) -> Vec<FactView> {
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let set = |is: bool| if is { "set" } else { "not set" }.to_owned();
        let alerts = &self.alerts;
        let (bounds, ping_minutes) =
            (alerts.bounds(&AlertSettings::default()), alerts.ping_minutes(&AlertSettings::default()));
        let facts = [
            ("peer.dangerously_direct", yes(self.peer.dangerously_direct)),
            ("peer.listen", set(self.peer.listen.is_some())),
            ("peer.address", set(self.peer.address.is_some())),
            ("admin.listen", self.admin.listen.to_string()),
            ("admin.socket", set(self.admin.socket.is_some())),
            ("tor.enabled", yes(self.tor.enabled)),
            ("tor.config", set(self.tor.config.is_some())),
            ("tor.socks", set(self.tor.socks.is_some())),
            ("tor.port", self.tor.port.to_string()),
            ("tor.circuits", self.tor.circuits().to_string()),
            ("tor.restricted_discovery", yes(self.tor.restricted_discovery)),
            ("tor.admin_onion", yes(self.tor.admin_onion)),
            ("sync.interval_s", self.sync.interval().as_secs().to_string()),
            ("sync.push", yes(self.sync.push)),
            ("sync.limit_rate", self.sync.limit_rate().map_or_else(|| "not set".to_owned(), |rate| rate.to_string())),
            ("scrub.enabled", yes(self.scrub.enabled)),
            ("scrub.days", self.scrub.days.to_string()),
            ("axon.serve", yes(self.axon.serve)),
            ("alerts.command", set(alerts.command.is_some())),
            ("alerts.webhook", set(alerts.webhook.is_some())),
            ("alerts.mail", set(alerts.mail.is_some())),
            ("alerts.ping", set(alerts.ping.is_some())),
            ("alerts.ping_minutes", ping_minutes.to_string()),
            ("alerts.proxy", set(alerts.proxy.is_some())),
            ("alerts.certificates", set(alerts.certificates.is_some())),
            ("alerts.silent_peer_hours", bounds.silent_peer_hours.to_string()),
            ("alerts.free_percent", bounds.free_percent.to_string()),
            ("log.format", if self.log.format == LogFormat::Json { "json" } else { "text" }.to_owned()),
        ];
        let fact = |(name, value): (&str, String)| FactView {
            source: self.sources.get(name).copied().unwrap_or(FactSource::Default),
            name: name.to_owned(),
            value,
        };
        facts.into_iter().map(fact).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_force_is_shown_with_where_it_comes_from_and_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bulbil.toml");
        let text = "[tor]\nport = 81\n[alerts]\nwebhook = \"https://example.org/a-secret\"\n[alerts.mail]\nserver = \"mail.example.org\"\nfrom = \"a@example.org\"\nto = \"b@example.org\"\n";
        std::fs::write(&path, text).unwrap();
        let mut config = Config::load(&path).unwrap();
        config.tor.socks = Some("127.0.0.1:9050".parse().unwrap());
        config.given("tor.socks");
        let facts = config.facts();
        let of =
            |name: &str| facts.iter().find(|fact| fact.name == name).map(|fact| (fact.value.as_str(), fact.source));
        assert_eq!(of("tor.port"), Some(("81", FactSource::File)));
        assert_eq!(of("alerts.webhook"), Some(("set", FactSource::File)));
        assert_eq!(of("alerts.mail"), Some(("set", FactSource::File)));
        assert_eq!(of("tor.socks"), Some(("set", FactSource::CommandLine)));
        assert_eq!(of("scrub.days"), Some(("30", FactSource::Default)));
        let shown = serde_json::to_string(&facts).unwrap();
        assert!(!shown.contains("a-secret") && !shown.contains("example.org") && !shown.contains("9050"), "{shown}");
    }
}
