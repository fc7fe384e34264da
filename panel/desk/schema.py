"""The tables, as the migrations that made them. A migration that was released is never edited: add another.

What an editor may undo is kept as *marks*: one row for each thing that differs from the machine's draft, under a key
(`text:<target>`, `verdict:<target>`, `use:<target>`, `dossier:<tool>`) with a JSON value. A *step* holds the marks
before and after, so undo and redo put back rows. The history is apart from both, and nothing is ever taken from it.
"""

from __future__ import annotations

_FIRST = (
    """CREATE TABLE records (sha256 TEXT PRIMARY KEY, json BLOB NOT NULL, seen TEXT NOT NULL)""",
    """CREATE TABLE items (
        id INTEGER PRIMARY KEY,
        slug TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL CHECK (kind IN ('comparison', 'review')),
        title TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'draft'
            CHECK (state IN ('draft', 'in review', 'approved', 'published', 'withdrawn')),
        revision INTEGER NOT NULL DEFAULT 0,
        record TEXT NOT NULL REFERENCES records (sha256),
        latest TEXT NOT NULL REFERENCES records (sha256),
        stat TEXT NOT NULL,
        created TEXT NOT NULL,
        updated TEXT NOT NULL,
        owner TEXT,
        live INTEGER NOT NULL DEFAULT 0,
        edited INTEGER NOT NULL DEFAULT 0,
        approved_by TEXT,
        approved_at TEXT,
        withdrawn_by TEXT,
        withdrawn_at TEXT,
        withdrawn_why TEXT,
        split REAL NOT NULL DEFAULT 0,
        unscored INTEGER NOT NULL DEFAULT 0,
        flagged INTEGER NOT NULL DEFAULT 0,
        ungrounded INTEGER NOT NULL DEFAULT 0,
        closeness REAL NOT NULL DEFAULT 0,
        flip_rate REAL,
        urgency REAL NOT NULL DEFAULT 0)""",
    """CREATE TABLE tools (
        item INTEGER NOT NULL REFERENCES items (id),
        place INTEGER NOT NULL,
        slug TEXT NOT NULL,
        name TEXT NOT NULL,
        percent INTEGER,
        ship INTEGER NOT NULL,
        skip INTEGER NOT NULL,
        unscored INTEGER NOT NULL,
        decisions TEXT NOT NULL,
        PRIMARY KEY (item, place)) WITHOUT ROWID""",
    """CREATE TABLE flip_rates (tool TEXT PRIMARY KEY, rate REAL NOT NULL CHECK (rate BETWEEN 0 AND 1))""",
    """CREATE TABLE marks (
        item INTEGER NOT NULL REFERENCES items (id),
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        by TEXT NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (item, key)) WITHOUT ROWID""",
    """CREATE TABLE steps (
        id INTEGER PRIMARY KEY,
        item INTEGER NOT NULL REFERENCES items (id),
        by TEXT NOT NULL,
        target TEXT NOT NULL,
        changes TEXT NOT NULL,
        undone INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE offers (
        id INTEGER PRIMARY KEY,
        item INTEGER NOT NULL REFERENCES items (id),
        target TEXT NOT NULL,
        version INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('open', 'used', 'declined')),
        by TEXT NOT NULL,
        at TEXT NOT NULL,
        note TEXT NOT NULL,
        review TEXT NOT NULL,
        UNIQUE (item, target, version))""",
    """CREATE TABLE waivers (
        item INTEGER NOT NULL REFERENCES items (id),
        key TEXT NOT NULL,
        reason TEXT NOT NULL,
        by TEXT NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (item, key)) WITHOUT ROWID""",
    """CREATE TABLE dossiers (
        tool TEXT NOT NULL,
        version INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        name TEXT NOT NULL,
        json TEXT NOT NULL,
        by TEXT NOT NULL,
        at TEXT NOT NULL,
        note TEXT NOT NULL,
        PRIMARY KEY (tool, version)) WITHOUT ROWID""",
    """CREATE TABLE users (
        name TEXT PRIMARY KEY,
        role TEXT NOT NULL CHECK (role IN ('editor', 'approver')),
        hash TEXT NOT NULL)""",
    # what was begun on the published folder, until it is done: a process that is killed is ended by the next one
    """CREATE TABLE intents (
        item INTEGER PRIMARY KEY REFERENCES items (id),
        action TEXT NOT NULL CHECK (action IN ('publish', 'withdraw')),
        reason TEXT NOT NULL,
        by TEXT NOT NULL,
        at TEXT NOT NULL)""",
    """CREATE TABLE history (
        id INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        by TEXT NOT NULL,
        item INTEGER REFERENCES items (id),
        revision INTEGER,
        action TEXT NOT NULL,
        target TEXT NOT NULL,
        detail TEXT NOT NULL)""",
    """CREATE TRIGGER history_stands BEFORE UPDATE ON history
        BEGIN SELECT RAISE(ABORT, 'the history is only added to'); END""",
    """CREATE TRIGGER history_stays BEFORE DELETE ON history
        BEGIN SELECT RAISE(ABORT, 'the history is only added to'); END""",
    # INSERT OR REPLACE deletes without a trigger unless the connection asks for recursive ones
    """CREATE TRIGGER history_grows BEFORE INSERT ON history
        WHEN EXISTS (SELECT 1 FROM history WHERE id = new.id)
        BEGIN SELECT RAISE(ABORT, 'the history is only added to'); END""",
)

_SECOND = (
    "CREATE INDEX items_by_urgency ON items (urgency DESC, id)",
    "CREATE INDEX items_by_state ON items (state, urgency DESC, id)",
    "CREATE INDEX items_by_update ON items (updated DESC, id)",
    "CREATE INDEX items_by_title ON items (title COLLATE NOCASE, id)",
    "CREATE INDEX tools_by_slug ON tools (slug)",
    "CREATE INDEX steps_by_item ON steps (item, undone, id)",
    "CREATE INDEX dossiers_by_content ON dossiers (tool, sha256)",
    "CREATE INDEX history_by_item ON history (item, id)",
    "CREATE INDEX marks_by_key ON marks (key)",
    """CREATE VIRTUAL TABLE search
        USING fts5 (title, body, tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3')""",
)

#: Statements by version: a file of `user_version` n has seen the first n of them.
MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _SECOND)
