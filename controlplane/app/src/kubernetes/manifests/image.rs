//! The proxy's image: the control plane's setting, with the parts that parameters replace.

use agentgateway_crds::parameters::ImageParameters;

/// An image's name in its parts.
#[derive(Debug, Default, PartialEq)]
struct Parts<'a> {
    registry: Option<&'a str>,
    repository: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(image: &'a str) -> Parts<'a> {
        let (rest, digest) = image.split_once('@').map_or((image, None), |(rest, digest)| (rest, Some(digest)));
        // The first part of a path is a registry when it can be no part of a name.
        let (registry, rest) = match rest.split_once('/') {
            Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), path),
            _ => (None, rest),
        };
        let (repository, tag) = rest.split_once(':').map_or((rest, None), |(name, tag)| (name, Some(tag)));
        Parts { registry, repository, tag, digest }
    }
}

/// `default` with the parts that are set. Another tag or repository goes without the default's digest, which is of what
/// the default names.
pub(super) fn image(default: &str, parameters: &ImageParameters) -> String {
    let mut parts = Parts::of(default);
    if parameters.repository.is_some() || parameters.tag.is_some() {
        parts.digest = None;
    }
    let registry = parameters.registry.as_deref().or(parts.registry);
    let repository = parameters.repository.as_deref().unwrap_or(parts.repository);
    let name = registry.map_or_else(|| repository.to_owned(), |registry| format!("{registry}/{repository}"));
    if let Some(digest) = parameters.digest.as_deref().or(parts.digest) {
        return format!("{name}@{digest}");
    }
    match parameters.tag.as_deref().or(parts.tag) {
        Some(tag) => format!("{name}:{tag}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = "registry.example:5000/team/agentgateway:1.0";

    #[test]
    fn parts_of_names() {
        let parts = Parts::of(DEFAULT);
        assert_eq!(
            (parts.registry, parts.repository, parts.tag),
            (Some("registry.example:5000"), "team/agentgateway", Some("1.0"))
        );
        assert_eq!(Parts::of("agentgateway"), Parts { repository: "agentgateway", ..Parts::default() });
        assert_eq!(Parts::of("team/x@sha256:0").digest, Some("sha256:0"));
    }

    #[test]
    fn what_is_set_replaces_its_part_alone() {
        let text = |text: &str| Some(text.to_owned());
        let with = |change: fn(&mut ImageParameters)| {
            let mut parameters = ImageParameters::default();
            change(&mut parameters);
            image(DEFAULT, &parameters)
        };
        assert_eq!(with(|_| {}), DEFAULT);
        assert_eq!(with(|p| p.tag = Some("2".into())), "registry.example:5000/team/agentgateway:2");
        assert_eq!(with(|p| p.registry = Some("other.example".into())), "other.example/team/agentgateway:1.0");
        assert_eq!(with(|p| p.repository = Some("mine".into())), "registry.example:5000/mine:1.0");
        assert_eq!(with(|p| p.digest = Some("sha256:1".into())), "registry.example:5000/team/agentgateway@sha256:1");
        let pinned = ImageParameters { tag: text("2"), ..ImageParameters::default() };
        assert_eq!(image("a.example/x@sha256:1", &pinned), "a.example/x:2");
    }
}
