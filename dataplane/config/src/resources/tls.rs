//! TLS: files read, and compiled once to find what only the proxy's own code can.

use agentgateway_convert::tls;
use agentgateway_proto::v1;
use agentgateway_tls::{Client, Server};
use agentgateway_types::Path;
use agentgateway_types::file::{BackendTls, ListenerTls};

use super::Maker;

impl Maker<'_, '_> {
    pub(super) fn listener_tls(&mut self, config: &ListenerTls, at: &Path) -> Option<v1::ServerTls> {
        let settings = self.with_files(|read| tls::server(config, read));
        match settings {
            Ok(settings) => {
                if let Err(error) = Server::compile(&settings, &[]) {
                    self.report.error(at, error.to_string());
                }
                Some(settings)
            }
            Err(error) => self.convert_error(at, &error),
        }
    }

    /// Sets how connections to the backend are encrypted, if they are.
    pub(super) fn encrypt(&mut self, backend: &mut v1::Backend, config: Option<&BackendTls>, at: &Path) {
        let Some(config) = config else { return };
        let host = match &backend.kind {
            Some(v1::backend::Kind::Host(hosts)) => hosts.hosts.first().map(|h| h.host.clone()),
            _ => None,
        };
        let host = host.unwrap_or_default();
        match self.with_files(|read| tls::backend(config, &host, read)) {
            Ok(settings) => {
                if let Err(error) = Client::compile(&settings, None) {
                    self.report.error(at, error.to_string());
                }
                backend.tls = Some(settings);
            }
            Err(error) => {
                self.convert_error::<()>(at, &error);
            }
        }
    }

    fn with_files<T>(&mut self, convert: impl FnOnce(&mut tls::ReadFile<'_>) -> T) -> T {
        let (environment, mut read) = (self.environment, Vec::new());
        let converted = convert(&mut |name| environment.read(name, &mut read));
        self.files.extend(read);
        converted
    }
}
