"""Whose certificates are trusted: the machine's authorities, or those that the environment names."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Final

import certifi

from batch.core.errors import ConfigError

FILE: Final = "SSL_CERT_FILE"
FOLDER: Final = "SSL_CERT_DIR"


def trusted_authorities(environment: Mapping[str, str]) -> ssl.SSLContext:
    """What `SSL_CERT_FILE` and `SSL_CERT_DIR` name and nothing else; without them the machine's, else Mozilla's list.

    Raises `ConfigError` if a variable names nothing that can be used.
    """
    file, folder = environment.get(FILE) or None, environment.get(FOLDER) or None
    if file is not None and not os.path.isfile(file):
        raise ConfigError(f"{FILE} is set, and {file} is no file; nothing was sent")
    if folder is not None and not os.path.isdir(folder):
        raise ConfigError(f"{FOLDER} is set, and {folder} is no folder; nothing was sent")
    if file is None and folder is None:
        return _of_the_machine()
    try:
        return ssl.create_default_context(cafile=file, capath=folder)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"{FILE} is set, and {file} holds no certificates that can be read: {error.strerror or error}; nothing "
            "was sent"
        ) from error


def _of_the_machine() -> ssl.SSLContext:
    context = ssl.create_default_context()
    folder = ssl.get_default_verify_paths().capath
    if not context.get_ca_certs() and not (folder and os.listdir(folder)):
        context.load_verify_locations(certifi.where())  # a small container has none
    return context
