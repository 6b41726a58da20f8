-- The catalogue's tables (STORAGE.md 10). Columns stand in the order of engine/catalogue_tables.c, and new ones are only
-- ever added at the end. Unsigned 64-bit values are stored as the signed integer of the same bits.
CREATE TABLE schema_version (
  version INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_ns INTEGER NOT NULL
) STRICT;

CREATE TABLE store (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  uuid BLOB NOT NULL,
  generation INTEGER NOT NULL,
  next_gid INTEGER NOT NULL,
  clean INTEGER NOT NULL
) STRICT;

CREATE TABLE account (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  limits BLOB
) STRICT;

CREATE TABLE stream (
  gid INTEGER PRIMARY KEY,
  account TEXT NOT NULL,
  name TEXT,
  storage INTEGER NOT NULL,
  cfg BLOB,
  cfg_version INTEGER NOT NULL,
  created INTEGER NOT NULL,
  next_sub INTEGER NOT NULL,
  state INTEGER NOT NULL,
  drop_lsn INTEGER NOT NULL,
  UNIQUE (account, name)
) STRICT;

CREATE TABLE stream_ckpt (
  gid INTEGER PRIMARY KEY,
  flushed_lsn INTEGER NOT NULL,
  oseq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  first_seq INTEGER NOT NULL,
  msgs INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  last_ts INTEGER NOT NULL,
  raft_index INTEGER NOT NULL,
  raft_term INTEGER NOT NULL,
  raft_vote BLOB,
  index_root BLOB,
  delete_epoch INTEGER NOT NULL,
  dedup BLOB,
  tail BLOB
) STRICT;

CREATE TABLE consumer (
  gid INTEGER NOT NULL,
  sub INTEGER NOT NULL,
  name TEXT,
  cfg BLOB,
  cfg_version INTEGER NOT NULL,
  created INTEGER NOT NULL,
  state INTEGER NOT NULL,
  PRIMARY KEY (gid, sub)
) STRICT, WITHOUT ROWID;

CREATE TABLE consumer_ckpt (
  gid INTEGER NOT NULL,
  sub INTEGER NOT NULL,
  blob BLOB,
  PRIMARY KEY (gid, sub)
) STRICT, WITHOUT ROWID;

CREATE TABLE segment (
  gid INTEGER NOT NULL,
  segno INTEGER NOT NULL,
  gen INTEGER NOT NULL,
  seg_uuid BLOB NOT NULL,
  state INTEGER NOT NULL,
  created_generation INTEGER NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  min_ts INTEGER NOT NULL,
  max_ts INTEGER NOT NULL,
  durable_len INTEGER NOT NULL,
  nblocks INTEGER NOT NULL,
  chain_crc INTEGER NOT NULL,
  last_section INTEGER NOT NULL,
  live_msgs INTEGER NOT NULL,
  live_bytes INTEGER NOT NULL,
  min_expiry INTEGER NOT NULL,
  dict_id INTEGER NOT NULL,
  wrapped_dek BLOB,
  PRIMARY KEY (gid, segno)
) STRICT, WITHOUT ROWID;

CREATE TABLE segdel (
  gid INTEGER NOT NULL,
  segno INTEGER NOT NULL,
  part INTEGER NOT NULL,
  runs BLOB,
  PRIMARY KEY (gid, segno, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE pending_purge (
  gid INTEGER NOT NULL,
  lsn INTEGER NOT NULL,
  filter BLOB,
  hi_seq INTEGER NOT NULL,
  PRIMARY KEY (gid, lsn)
) STRICT, WITHOUT ROWID;

CREATE TABLE lane (
  id INTEGER PRIMARY KEY,
  checkpoint_lsn INTEGER NOT NULL,
  end_lsn INTEGER NOT NULL
) STRICT;

CREATE TABLE damage (
  gid INTEGER NOT NULL,
  lo INTEGER NOT NULL,
  hi INTEGER NOT NULL,
  cause TEXT,
  found_ns INTEGER NOT NULL,
  state INTEGER NOT NULL,
  PRIMARY KEY (gid, lo, hi)
) STRICT, WITHOUT ROWID;
