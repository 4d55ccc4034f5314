"""The operator's HTTPS server: admission (validating and mutating) and conversion, and the certificates it runs on."""
