"""The questions a person would ask, as pytest tests: plain functions of records named by their parameters.

A check says what healthy means and never names a cause; the catalogue (``diagnostics.causes``) says why not.
"""

ORDER = (
    "test_settings", "test_dns", "test_connection", "test_proxy", "test_tls", "test_http", "test_disk", "test_transfer",
    "test_files", "test_checksums", "test_versions", "test_memory", "test_model", "test_load",
)  # fmt: skip
