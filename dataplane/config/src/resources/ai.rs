//! LLM backends of the file.

use agentgateway_convert::llm;
use agentgateway_proto::key;
use agentgateway_proto::v1::{self, ObjectRef};
use agentgateway_types::Path;
use agentgateway_types::backend::AiGroups;
use agentgateway_types::file;

use super::Maker;
use super::policies::InFile;

impl Maker<'_, '_> {
    /// The LLM backend `source`, then those of its providers' hosts.
    pub(super) fn ai(
        &mut self,
        config: &AiGroups,
        source: &ObjectRef,
        tls: Option<&file::BackendTls>,
        at: &Path,
    ) -> Option<Vec<v1::Backend>> {
        let for_all = at.clone().join(Path::of("policies.backendTLS"));
        let at = &at.clone().key("ai");
        let mut lookup = InFile { environment: self.environment, files: Vec::new(), backends: Vec::new() };
        let made = llm::ai_groups(config, source, &mut lookup);
        self.files.extend(lookup.files);
        let made = match made {
            Ok(made) => made,
            Err(error) => return self.convert_error(at, &error),
        };
        let mut reached: Vec<v1::Backend> =
            made.into_iter().map(|backend| self.reachable(backend, |_| at.clone())).collect();
        for backend in reached.iter_mut().filter(|b| matches!(b.kind, Some(v1::backend::Kind::Host(_)))) {
            let groups = config.groups.iter().flatten().enumerate();
            let own = groups.flat_map(|(i, group)| group.providers.iter().enumerate().map(move |(j, p)| (i, j, p)));
            let own = own
                .filter(|(_, _, provider)| key::backend_section(source, &provider.name) == backend.key)
                .find_map(|(i, j, provider)| Some((i, j, provider.policies.as_ref()?.backend_tls.as_ref()?)));
            match own {
                Some((i, j, own)) => {
                    let place = at.clone().key("groups").index(i).key("providers").index(j);
                    self.encrypt(backend, Some(own), &place.join(Path::of("policies.backendTLS")));
                }
                None => self.encrypt(backend, tls, &for_all),
            }
        }
        Some(reached)
    }
}
