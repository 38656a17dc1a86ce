"""Tables of the history store (SQLAlchemy Core), the same on SQLite, MariaDB/MySQL and PostgreSQL.

Import this module lazily: it imports SQLAlchemy.

A run is one item of one session; ``mad_runs`` has one row for each, ``mad_metrics`` one per measured value.
Facts of host and GPU are many times the same, so they lie apart in ``mad_contexts``; so do (model, metric)
pairs in ``mad_series``, which keeps the index of the trend queries narrow whatever the names are.  The full
record of a run is a document in ``mad_records``, so that lists never read it.  ``dlm_table`` is the table of
contract 18.1, filled from perf.csv, and independent of the others.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql

from pytest_madengine.results.columns import V2_COLUMNS

#: Highest version that this code writes; ``migrations`` has a step to each.
VERSION: Final = 3

#: Text of any length: TEXT of MySQL ends at 64 KiB.
_TEXT: Final = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
#: SQLite numbers rows by itself for INTEGER keys only.
_ID: Final = BigInteger().with_variant(Integer, "sqlite")
#: utf8mb4: without it an emoji is an error.  Binary collation: ``A`` is not ``a``.
_MYSQL: Final[dict[str, Any]] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}
#: Characters of a name that an index of ``dlm_table`` covers: the limit of MySQL is 3,072 bytes.
PREFIX: Final = {"model": 191, "metric": 100}

metadata: Final = MetaData()

schema_version: Final = Table(
    "mad_schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied_at", DateTime, nullable=False),
    **_MYSQL,
)

contexts: Final = Table(
    "mad_contexts",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("context_key", String(64), nullable=False, unique=True),
    Column("hostname", _TEXT),
    Column("gpu_vendor", _TEXT),
    Column("gpu_architecture", _TEXT),
    Column("gpu_product", _TEXT),
    Column("n_gpus", _TEXT),
    Column("training_precision", _TEXT),
    #: All facts as a JSON object.
    Column("facts", _TEXT, nullable=False),
    **_MYSQL,
)

series: Final = Table(
    "mad_series",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("series_key", String(64), nullable=False, unique=True),
    #: The name as in perf.csv: with the row name of multiple results.
    Column("model", _TEXT, nullable=False),
    Column("metric", _TEXT, nullable=False),
    **_MYSQL,
)

runs: Final = Table(
    "mad_runs",
    metadata,
    Column("id", _ID, primary_key=True),
    #: Hash of run id and item id.
    Column("run_key", String(64), nullable=False, unique=True),
    Column("run_id", String(255), nullable=False),
    Column("item_id", _TEXT, nullable=False),
    Column("model", _TEXT, nullable=False),
    Column("model_key", String(64), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("reason", _TEXT),
    Column("phase", _TEXT),
    Column("exit_code", Integer),
    #: UTC, without time zone, whole seconds.
    Column("started_at", DateTime),
    Column("finished_at", DateTime, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("context_id", ForeignKey("mad_contexts.id"), nullable=False),
    Column("image", _TEXT),
    Column("image_digest", _TEXT),
    Column("git_commit", _TEXT),
    Column("infrastructure", Boolean, nullable=False),
    Index("mad_runs_by_run", "run_id"),
    Index("mad_runs_by_time", "finished_at", "id"),
    Index("mad_runs_by_model", "model_key", "finished_at", "id"),
    **_MYSQL,
)

records: Final = Table(
    "mad_records",
    metadata,
    Column("run_row", ForeignKey("mad_runs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    #: ``RunRecord.to_dict()`` as JSON.
    Column("document", _TEXT, nullable=False),
    **_MYSQL,
)

metrics: Final = Table(
    "mad_metrics",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("run_row", ForeignKey("mad_runs.id", ondelete="CASCADE"), nullable=False),
    #: Number of the row within the run, from 0.
    Column("position", Integer, nullable=False),
    Column("series_id", ForeignKey("mad_series.id"), nullable=False),
    Column("outcome", String(16), nullable=False),
    #: As printed by the model.
    Column("value", _TEXT, nullable=False),
    #: The value as a number; NULL for text.
    Column("number", Double),
    # Copies of the run's columns: the trend query filters in its index, without a look at the run.
    Column("finished_at", DateTime, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("context_id", ForeignKey("mad_contexts.id"), nullable=False),
    #: Hash of what must be equal for two values to be compared (``gate.key``); NULL: not to be compared.
    Column("gate_key", String(64)),
    #: What the gate said; NULL without a gate.
    Column("verdict", String(16)),
    #: What the value was measured for (``gate.past``).
    Column("role", String(16)),
    #: The number of the first run, where a later run of the session decided and ``number`` is that one's.
    Column("first_number", Double),
    UniqueConstraint("run_row", "position", name="mad_metrics_of_run"),
    Index("mad_metrics_trend", "series_id", "finished_at", "id", "outcome", "context_id", "fingerprint"),
    **_MYSQL,
)

#: Columns of ``mad_metrics`` that version 3 added.
GATE_COLUMNS: Final = ("gate_key", "verdict", "role", "first_number")

#: What people say about a series of values: a change they accepted, a level they pinned.
marks: Final = Table(
    "mad_marks",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("gate_key", String(64), nullable=False),
    #: ``accept`` or ``pin``.
    Column("kind", String(16), nullable=False),
    #: Session at which an accepted level begins.
    Column("run", String(255)),
    Column("value", Double, nullable=False),
    Column("reason", _TEXT),
    Column("by", _TEXT),
    #: UTC, without time zone, whole seconds.
    Column("at", DateTime, nullable=False),
    Index("mad_marks_by_key", "gate_key"),
    **_MYSQL,
)

dlm: Final = Table(
    "dlm_table",
    metadata,
    Column("id", _ID, primary_key=True),
    #: When the row was stored, UTC.
    Column("created_date", DateTime, nullable=False),
    *(Column(name, _TEXT) for name in V2_COLUMNS),
    Column("run_id", _TEXT),
    **_MYSQL,
)

#: Keys (``rowkeys``) of the perf.csv rows that ``dlm_table`` got.
uploads: Final = Table(
    "mad_uploads",
    metadata,
    Column("row_key", String(32), primary_key=True),
    **_MYSQL,
)

#: Tables that the first version made.
HISTORY: Final = (schema_version, contexts, series, runs, records, metrics)
