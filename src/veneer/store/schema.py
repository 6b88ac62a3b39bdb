"""The catalogue's tables: what the store has, as rows.

One invariant: a row implies its file, whole and verified.  Nothing counts references; what is needed follows
from the rows by foreign keys and by `blob_ref`, so that no counter can drift.

Digests, image IDs, diff IDs and chain IDs are TEXT in their full form (`sha256:...`); times are REAL, Unix
seconds; flags are 0 or 1.
"""

from __future__ import annotations

APPLICATION_ID = 0x766E6572  # "vner": file(1) and a person with a hex dump can tell whose database this is
VERSION = 5
"""`PRAGMA user_version` of the newest schema this veneer writes; MIGRATIONS has as many steps."""

_FIRST = """
-- Facts about the store as a whole: `driver` is the storage driver that new stacks of layers go to, `mapping` whose ids
-- the files of all layers have.
CREATE TABLE setting (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- blobs/<algorithm>/<hex>: layers, configs, manifests and indexes, byte for byte as they came.
-- media_type is what a manifest or index was sent as ('' for other blobs: their descriptors say it).
CREATE TABLE blob (
    digest     TEXT PRIMARY KEY,
    size       INTEGER NOT NULL CHECK (size >= 0),
    media_type TEXT NOT NULL DEFAULT '',
    added      REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Which blobs a stored manifest, index or config-bearing document needs.  No foreign key on `child`: an index
-- names platforms that were not pulled, and a manifest foreign layers that are never stored.
CREATE TABLE blob_ref (
    blob  TEXT NOT NULL REFERENCES blob ON DELETE CASCADE,
    child TEXT NOT NULL,
    PRIMARY KEY (blob, child)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_ref_child ON blob_ref (child);

-- A stored blob that unpacks to the layer `diff_id`.  media_type as in its descriptor; compressor names the
-- code that made it here ('' for a blob that came from elsewhere).
CREATE TABLE blob_diff (
    diff_id    TEXT NOT NULL,
    blob       TEXT NOT NULL REFERENCES blob ON DELETE CASCADE,
    media_type TEXT NOT NULL,
    compressor TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (diff_id, blob)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_diff_blob ON blob_diff (blob);

-- Where a blob is known to be, so that a push to the same registry mounts instead of uploading.
CREATE TABLE blob_source (
    blob       TEXT NOT NULL REFERENCES blob ON DELETE CASCADE,
    registry   TEXT NOT NULL,
    repository TEXT NOT NULL,
    seen       REAL NOT NULL,
    PRIMARY KEY (blob, registry, repository)
) STRICT, WITHOUT ROWID;

-- <driver>/<id>: the unpacked files of one layer.  size is docker's layer size, tar_size the uncompressed tar's
-- length, entries its members.  standalone: it needed nothing from the layers below, so it serves every chain
-- ID with its diff ID.  durable = 0: not known to be on the disk; trusted only in this boot and mount.
CREATE TABLE snapshot (
    id         TEXT PRIMARY KEY,
    driver     TEXT NOT NULL,
    diff_id    TEXT NOT NULL,
    size       INTEGER NOT NULL,
    tar_size   INTEGER NOT NULL,
    entries    INTEGER NOT NULL,
    standalone INTEGER NOT NULL CHECK (standalone IN (0, 1)),
    durable    INTEGER NOT NULL CHECK (durable IN (0, 1)),
    boot_id    TEXT NOT NULL DEFAULT '',
    mount_id   INTEGER NOT NULL DEFAULT 0,
    created    REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshot_diff ON snapshot (diff_id);
CREATE INDEX snapshot_undurable ON snapshot (id) WHERE durable = 0;

-- A layer in its place: diff_id on top of parent (NULL: a base layer).  Its snapshot is of the driver that its parent's
-- is of: one driver serves a stack.
CREATE TABLE layer (
    chain_id TEXT PRIMARY KEY,
    diff_id  TEXT NOT NULL,
    parent   TEXT REFERENCES layer,
    snapshot TEXT NOT NULL REFERENCES snapshot,
    created  REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX layer_diff ON layer (diff_id);
CREATE INDEX layer_parent ON layer (parent);
CREATE INDEX layer_snapshot ON layer (snapshot);

-- id is the config blob's digest.  manifest: the manifest it came with or was given.  created is the config's
-- time (0 if it has none), added when it came here, last_tagged 0 if never.  labels is the config's Labels as a
-- JSON object.  Everything that `images` lists or filters by is here, so that no file is opened for it.
CREATE TABLE image (
    id           TEXT PRIMARY KEY REFERENCES blob,
    manifest     TEXT NOT NULL REFERENCES blob,
    parent       TEXT REFERENCES image ON DELETE SET NULL,
    top          TEXT REFERENCES layer,
    created      REAL NOT NULL,
    added        REAL NOT NULL,
    last_tagged  REAL NOT NULL DEFAULT 0,
    size         INTEGER NOT NULL,
    os           TEXT NOT NULL,
    architecture TEXT NOT NULL,
    variant      TEXT NOT NULL DEFAULT '',
    os_version   TEXT NOT NULL DEFAULT '',
    built        INTEGER NOT NULL DEFAULT 0 CHECK (built IN (0, 1)),
    author       TEXT NOT NULL DEFAULT '',
    comment      TEXT NOT NULL DEFAULT '',
    labels       TEXT NOT NULL DEFAULT '{}'
) STRICT, WITHOUT ROWID;
CREATE INDEX image_manifest ON image (manifest);
CREATE INDEX image_parent ON image (parent);
CREATE INDEX image_top ON image (top);
CREATE INDEX image_created ON image (created);

-- name is the full reference, `docker.io/library/nginx:1.25`; repository its part before the colon.  target is
-- what the name resolved to where it came from, a manifest or an index (NULL: the image's own manifest).
CREATE TABLE tag (
    name       TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    image      TEXT NOT NULL REFERENCES image ON DELETE CASCADE,
    target     TEXT REFERENCES blob,
    tagged_at  REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_image ON tag (image);
CREATE INDEX tag_repository ON tag (repository);
CREATE INDEX tag_target ON tag (target);

-- name is `docker.io/library/nginx@sha256:...`: docker's RepoDigests.  target is that manifest or index where
-- it is stored (NULL where only its digest is known).
CREATE TABLE digest_ref (
    name       TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    image      TEXT NOT NULL REFERENCES image ON DELETE CASCADE,
    target     TEXT REFERENCES blob,
    added      REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX digest_ref_image ON digest_ref (image);
CREATE INDEX digest_ref_repository ON digest_ref (repository);
CREATE INDEX digest_ref_target ON digest_ref (target);

-- Work under way.  A lease lives as long as the flock on ingest/<id>/lock is held (or its mount is there); pid is for
-- people.
CREATE TABLE lease (
    id      TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    pid     INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    created REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE lease_blob (
    lease TEXT NOT NULL REFERENCES lease ON DELETE CASCADE,
    blob  TEXT NOT NULL REFERENCES blob,
    PRIMARY KEY (lease, blob)
) STRICT, WITHOUT ROWID;
CREATE INDEX lease_blob_blob ON lease_blob (blob);
CREATE TABLE lease_layer (
    lease    TEXT NOT NULL REFERENCES lease ON DELETE CASCADE,
    chain_id TEXT NOT NULL REFERENCES layer,
    PRIMARY KEY (lease, chain_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX lease_layer_layer ON lease_layer (chain_id);
-- Snapshots being made, before they have a row of their own: no foreign key on purpose.
CREATE TABLE lease_snapshot (
    lease    TEXT NOT NULL REFERENCES lease ON DELETE CASCADE,
    snapshot TEXT NOT NULL,
    driver   TEXT NOT NULL,
    diff_id  TEXT NOT NULL,
    PRIMARY KEY (lease, snapshot)
) STRICT, WITHOUT ROWID;
CREATE INDEX lease_snapshot_snapshot ON lease_snapshot (snapshot);

-- Files whose rows are gone and that are still to be unlinked: kind is blob, index, snapshot, container or volume; key
-- the digest, diff ID, snapshot ID, container ID or volume's name; driver is '' but for snapshots.
CREATE TABLE trash (
    kind   TEXT NOT NULL,
    key    TEXT NOT NULL,
    driver TEXT NOT NULL DEFAULT '',
    size   INTEGER NOT NULL,
    since  REAL NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
"""

_BUILDS = """
-- What made an image here: the build cache.  parent is the image it was built on ('' for none), key the hash of
-- `facts`, a JSON object of all that decides whether the step has to be done again.
CREATE TABLE build_step (
    image   TEXT NOT NULL REFERENCES image ON DELETE CASCADE,
    parent  TEXT NOT NULL,
    key     TEXT NOT NULL,
    facts   TEXT NOT NULL,
    created REAL NOT NULL,
    used    REAL NOT NULL,
    uses    INTEGER NOT NULL,
    PRIMARY KEY (image, parent, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX build_step_parent ON build_step (parent, key);
CREATE INDEX build_step_key ON build_step (key);

-- RUN --mount=type=cache: cache-mounts/<folder> is the directory of `id`; of one id there may be several, where
-- builds side by side each wanted it for themselves.
CREATE TABLE cache_mount (
    folder  TEXT PRIMARY KEY,
    id      TEXT NOT NULL,
    created REAL NOT NULL,
    used    REAL NOT NULL,
    uses    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX cache_mount_id ON cache_mount (id);
"""

_CONTAINERS = """
-- A container: image is what it was made from (no foreign key: the image may be removed by force while the container
-- stays; its layers are held by `top`, NULL for an image without layers).  rw is the snapshot it writes to, on init
-- ('' for none), on the image's layers.  document is a JSON object of docker's: Config, HostConfig, NetworkingConfig,
-- Mounts.  containers/<id>/ has what happens to it.
CREATE TABLE container (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    image      TEXT NOT NULL,
    image_name TEXT NOT NULL,
    top        TEXT REFERENCES layer,
    driver     TEXT NOT NULL,
    rw         TEXT NOT NULL UNIQUE,
    init       TEXT NOT NULL,
    created    REAL NOT NULL,
    document   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX container_image ON container (image);
CREATE INDEX container_top ON container (top);
CREATE INDEX container_init ON container (init);

-- The snapshot with the places for what every container is given (/dev, /etc/hosts, ...), on the layers up to `top`
-- ('' for none); all containers on them share it.
CREATE TABLE init_layer (
    snapshot TEXT PRIMARY KEY,
    driver   TEXT NOT NULL,
    top      TEXT NOT NULL,
    UNIQUE (driver, top)
) STRICT, WITHOUT ROWID;

-- volumes/<name>/_data.  options and labels are JSON objects; anonymous: nobody chose its name.
CREATE TABLE volume (
    name      TEXT PRIMARY KEY,
    driver    TEXT NOT NULL,
    options   TEXT NOT NULL,
    labels    TEXT NOT NULL,
    created   REAL NOT NULL,
    anonymous INTEGER NOT NULL CHECK (anonymous IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE TABLE volume_use (
    volume    TEXT NOT NULL REFERENCES volume,
    container TEXT NOT NULL REFERENCES container ON DELETE CASCADE,
    PRIMARY KEY (volume, container)
) STRICT, WITHOUT ROWID;
CREATE INDEX volume_use_container ON volume_use (container);

-- document is what docker's `network inspect` shows but for its containers.
CREATE TABLE network (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    driver   TEXT NOT NULL,
    document TEXT NOT NULL,
    created  REAL NOT NULL
) STRICT, WITHOUT ROWID;
-- Which container has an address of a network, as long as it lives.
CREATE TABLE address (
    network   TEXT NOT NULL REFERENCES network ON DELETE CASCADE,
    address   TEXT NOT NULL,
    container TEXT NOT NULL REFERENCES container ON DELETE CASCADE,
    mac       TEXT NOT NULL,
    PRIMARY KEY (network, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX address_container ON address (container);
"""

_MOUNTS = """
-- A mount that holds what it shows: its lease has no process and lives as long as the kernel has the mount (store's
-- mounts.py).  shown is what was asked for, kind image or container; snapshot the container's own ('' for none),
-- scratch the snapshot that is written to ('' for none).  mount is which one it is in the mount namespace with that
-- inode.
CREATE TABLE mount (
    lease     TEXT PRIMARY KEY REFERENCES lease ON DELETE CASCADE,
    target    TEXT NOT NULL,
    shown     TEXT NOT NULL,
    kind      TEXT NOT NULL,
    top       TEXT,
    driver    TEXT NOT NULL,
    snapshot  TEXT NOT NULL,
    scratch   TEXT NOT NULL,
    namespace INTEGER NOT NULL,
    mount     TEXT NOT NULL,
    anchored  INTEGER NOT NULL CHECK (anchored IN (0, 1)),
    boot_id   TEXT NOT NULL,
    created   REAL NOT NULL
) STRICT, WITHOUT ROWID;
"""

_COPIES = """
-- A layer's files once more, with another driver than the one that serves it (layer.snapshot); a layer has a copy only
-- where the one below it has the same driver's, as copy or as what serves it.  kept = 1: until somebody says otherwise
-- (`system migrate`: being made, or --keep); 0: as long as a container, a lease or a mount stands on it.
CREATE TABLE layer_copy (
    chain_id TEXT NOT NULL REFERENCES layer ON DELETE CASCADE,
    driver   TEXT NOT NULL,
    snapshot TEXT NOT NULL REFERENCES snapshot,
    kept     INTEGER NOT NULL CHECK (kept IN (0, 1)),
    PRIMARY KEY (chain_id, driver)
) STRICT, WITHOUT ROWID;
CREATE INDEX layer_copy_snapshot ON layer_copy (snapshot);
CREATE INDEX snapshot_driver ON snapshot (driver);
"""

MIGRATIONS: tuple[str, ...] = (_FIRST, _BUILDS, _CONTAINERS, _MOUNTS, _COPIES)
"""MIGRATIONS[n] brings a catalogue of user_version n to n + 1."""
