"""The control plane: what should run. Parsing, validation, conversion and rendering are pure; `local` and `cli`
act on a laptop. It shares documents with the data plane (manifests, environment), never code."""
