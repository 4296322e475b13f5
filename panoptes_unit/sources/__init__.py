"""Where releases come from: registries and bundles, the names and manifests in them, signatures, platforms."""
