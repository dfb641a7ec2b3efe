"""Who rated: e-mail addresses become pseudonyms, ids of several servers become one list of raters."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import click

from fmltk.toolkit.clip import composed
from fmltk.toolkit.command_options import option
from fmltk.toolkit.errors import AnnotationError, ConfigError
from fmltk.toolkit.io.cells import clean_id
from fmltk.toolkit.io.columns import find_columns
from fmltk.toolkit.io.files import TEMPORARY_PREFIX, check_regular, temporary_name
from fmltk.toolkit.io.table_kinds import RATERS
from fmltk.toolkit.io.tables import open_rows

SALT_BYTES = 32
PSEUDONYM_DIGITS = 10  # of 16 each: two of 10,000 raters share a pseudonym with probability 5e-5
DEFAULT_SOURCE = "label-studio"


def text_id(value: object) -> str | None:
    """Return an id as text: whole numbers in digits, text in Unicode's composed form, anything else None."""
    if isinstance(value, str):
        return composed(value) if value.strip() else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def read_identity(value: object) -> str | None:
    """Return who an annotation or a draft belongs to: the id of {"id": 3, "email": ...}, else the address."""
    if isinstance(value, dict):
        if "created_username" in value:  # a draft: "ann@example.com, 5"
            numbered = re.search(r", ([0-9]+)$", str(value["created_username"] or ""))
            return numbered.group(1) if numbered else read_identity(value.get("user"))
        return text_id(value.get("id")) or text_id(value.get("email"))
    return text_id(value)


def default_salt_path() -> Path:
    """Return where the salt is kept: in the user's configuration, never next to the ratings."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "fmltk" / "rater-salt"


def read_salt(path: Path) -> bytes:
    """Return the salt, drawn and stored for this user alone if there is none yet.

    Raises ConfigError if the file cannot be read or written, or is not a salt.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            written = path.with_name(temporary_name(TEMPORARY_PREFIX))
            try:
                with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                    file.write(secrets.token_hex(SALT_BYTES) + "\n")
                with contextlib.suppress(FileExistsError):  # another run drew it in the meantime
                    path.hardlink_to(written)
            finally:
                written.unlink(missing_ok=True)
        check_regular(path)
        text = path.read_text(encoding="ascii").strip()
        salt = bytes.fromhex(text)
    except OSError as error:
        raise ConfigError(
            f"cannot use the salt {path}: {error.strerror or error}; name another by --salt-file"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path} is not a salt: expected {2 * SALT_BYTES} hexadecimal digits") from error
    if len(salt) < SALT_BYTES:
        raise ConfigError(f"{path} is not a salt: {len(salt)} bytes, expected {SALT_BYTES}")
    return salt


def pseudonym(identity: str, salt: bytes) -> str:
    """Return the name that stands for an e-mail address: the same for the same salt, not to be undone without it.

    >>> pseudonym("Ann@Example.com", b"salt") == pseudonym("ann@example.com", b"salt")
    True
    """
    digest = hmac.new(salt, _folded(identity).encode(), hashlib.sha256).hexdigest()
    return f"rater-{digest[:PSEUDONYM_DIGITS]}"


def _folded(identity: str) -> str:
    """Return an address in lower case, since servers differ in how they write it, and ids as they are."""
    return identity.strip().lower() if "@" in identity else identity


def read_rater_list(path: Path) -> dict[tuple[str, str], str]:
    """Read map.csv, or such a spreadsheet: columns id (or e-mail), rater, and source where there are several.

    Raises AnnotationError if the file cannot be read, a column is missing, a cell is empty, or an id has two names.
    """
    listed: dict[tuple[str, str], str] = {}
    with open_rows(path, is_text=True, error=AnnotationError) as table:
        columns = find_columns(RATERS, table.header, table=path.name, error=AnnotationError)
        if not {"id", "rater"} <= columns.used.keys():
            found = ", ".join(table.header)
            raise AnnotationError(f"{path} needs the columns {RATERS.expected}; its columns are {found!r}")
        for where, written in table.rows:
            row = columns.fields(written)
            key = (row.get("source", "").strip(), _folded(clean_id(row.get("id", ""))))
            rater = row.get("rater", "").strip()
            if not key[1] or not rater:
                raise AnnotationError(f"{where}: id or rater is empty")
            if listed.setdefault(key, rater) != rater:
                raise AnnotationError(f"{where}: id {key[1]!r} is given two annotators")
    return listed


@dataclass(slots=True)
class RaterNames:
    """Turns the ids and addresses of exports into the names of ratings.parquet.

    Ids of any source but the default one are written ``source:id``, so that rater 3 of two servers stays two raters.
    The keys of `listed` are (source or "", id, an address in lower case). The salt is read when the first e-mail
    address occurs.
    """

    source: str = field(
        default=DEFAULT_SOURCE,
        metadata=option(help="Name of the server or table that ids belong to; give one per server."),
    )
    listed: dict[tuple[str, str], str] | None = field(
        default=None,
        metadata=option(
            "--raters",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            parse=read_rater_list,
            help="CSV with the columns id, rater (and source): one name per annotator; others are refused.",
        ),
    )
    keep_identities: bool = field(
        default=False, metadata=option(help="Keep e-mail addresses; without it they become pseudonyms.")
    )
    salt_path: Path = field(
        default_factory=default_salt_path,
        metadata=option(
            "--salt-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="The secret that pseudonyms are made with; default: in your configuration folder, drawn once.",
        ),
    )
    _salt: bytes | None = None

    def name(self, identity: str) -> str | None:
        """Return the rater's name; None if there is a list and `identity` is not on it."""
        if self.listed is not None:
            known = (self.listed.get((source, _folded(identity))) for source in (self.source, ""))
            name = next((name for name in known if name is not None), None)
            return self.safe_name(name) if name and "@" in name else name  # a list may map ids to addresses
        return self.safe_name(identity)

    def safe_name(self, identity: str) -> str:
        """Return a name that may be shown, for those who are on the list and those who are not."""
        if "@" in identity:
            if self.keep_identities:
                return _folded(identity)
            if self._salt is None:
                self._salt = read_salt(self.salt_path)
            return pseudonym(identity, self._salt)
        return self.of_source(identity)

    def of_source(self, number: str) -> str:
        """Return a number of the server so that the same of another server is another."""
        return number if self.source == DEFAULT_SOURCE else f"{self.source}:{number}"
