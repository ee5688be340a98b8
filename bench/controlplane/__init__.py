"""The control plane on a cluster: how soon changes are served, at which cost, and how that grows with the configuration."""
