"""A peer of the race: race_peers.py FOLDER PEER. Prints question|who|p50|p95|most|asked|answer, times in milliseconds."""

import os
import sys
import time

from deltalake import DeltaTable

folder, peer = sys.argv[1:]
COLUMNS = [
    "occurred_at", "event_id", "activity", "activity_level", "purpose",
    "user_id", "user_name", "user_title", "care_unit_id", "care_unit_name",
]
RECORD = "first 100 rows of a record, ten columns"
with open(os.path.join(folder, "asked.txt"), encoding="utf-8") as asked:
    subjects = asked.read().split()
files = [uri.removeprefix("file://") for uri in DeltaTable(os.path.join(folder, "lake/access_events")).file_uris()]
names = "[" + ", ".join(f"'{file}'" for file in files) + "]"
by_time = os.path.join(folder, "by-time.parquet")

QUESTIONS = {
    "subjects of each user": (
        "SELECT count(*) AS a, CAST(sum(n) AS BIGINT) AS b FROM "
        "(SELECT user_id, count(DISTINCT subject_id) AS n FROM t GROUP BY user_id) AS x"
    ),
    "accesses by hour and action": (
        "SELECT count(*) AS a, CAST(sum(n * n % 1000003) AS BIGINT) AS b FROM "
        "(SELECT HOUR AS h, action, count(*) AS n FROM t GROUP BY HOUR, action) AS x"
    ),
    "first time of each user in each unit": (
        "SELECT count(*) AS a, CAST(sum(s % 1000003) AS BIGINT) AS b FROM "
        "(SELECT user_id, care_unit_id, SECONDS AS s FROM t GROUP BY user_id, care_unit_id) AS x"
    ),
}


def measure(question, who, asked, answer):
    """Asks each; the first of them twice, to be warm."""
    answer(asked[0])
    times, total = [], 0
    for one in asked:
        start = time.perf_counter()
        total += answer(one)
        times.append((time.perf_counter() - start) * 1000)
    times.sort()
    at = lambda share: f"{times[int((len(times) - 1) * share)]:.1f}"
    print(f"{question}|{who}|{at(0.5)}|{at(0.95)}|{at(1.0)}|{len(times)}|{total}", flush=True)


def filled(question, hour, seconds):
    return QUESTIONS[question].replace("HOUR", hour).replace("SECONDS", seconds)


if peer in ("duckdb", "duckdb-time"):
    import duckdb

    database = duckdb.connect()
    database.execute("SET threads = 2")
    database.execute("SET TimeZone = 'UTC'")
    database.execute(f"SET temp_directory = '{folder}/spill'")
    database.execute("SET memory_limit = '6GB'")
    if peer == "duckdb-time" and not os.path.exists(by_time):
        database.execute(
            f"COPY (SELECT * FROM read_parquet({names}) ORDER BY occurred_at) TO '{by_time}.part' "
            "(FORMAT parquet, COMPRESSION zstd)"
        )
        os.rename(by_time + ".part", by_time)
    source = f"read_parquet('{by_time}')" if peer == "duckdb-time" else f"read_parquet({names})"
    database.execute(f"CREATE VIEW t AS SELECT * FROM {source} WHERE source <> 'insyn'")
    who = "DuckDB, rows in order of time" if peer == "duckdb-time" else "DuckDB, Insyn's files"
    few = subjects[:20] if peer == "duckdb-time" else subjects[:200]
    record = f"SELECT {', '.join(COLUMNS)} FROM t WHERE subject_id = ? ORDER BY occurred_at LIMIT 100"
    measure(RECORD, who, few, lambda subject: len(database.execute(record, [subject]).fetchall()))
    if peer == "duckdb":
        for question in QUESTIONS:
            query = filled(question, "hour(occurred_at)", "epoch_us(min(occurred_at)) // 1000000")
            measure(question, who, [query] * 3, lambda text: sum(database.execute(text).fetchone()))
elif peer == "polars":
    os.environ["POLARS_MAX_THREADS"] = "2"
    import polars as pl

    table = pl.scan_parquet(files).filter(pl.col("source") != "insyn")
    find = lambda subject: (
        table.filter(pl.col("subject_id") == subject).select(COLUMNS).sort("occurred_at").head(100).collect().height
    )
    measure(RECORD, "Polars, Insyn's files", subjects[:20], find)

    def answer(frame):
        a, b = frame.collect().row(0)
        return a + b

    each = {
        "subjects of each user": lambda: table.group_by("user_id")
        .agg(pl.col("subject_id").drop_nulls().n_unique().alias("n"))
        .select(pl.len().cast(pl.Int64), pl.col("n").cast(pl.Int64).sum()),
        "accesses by hour and action": lambda: table.group_by(pl.col("occurred_at").dt.hour(), "action")
        .agg(pl.len().cast(pl.Int64).alias("n"))
        .select(pl.len().cast(pl.Int64), (pl.col("n") * pl.col("n") % 1000003).sum()),
        "first time of each user in each unit": lambda: table.group_by("user_id", "care_unit_id")
        .agg((pl.col("occurred_at").min().dt.epoch("us") // 1000000).alias("s"))
        .select(pl.len().cast(pl.Int64), (pl.col("s") % 1000003).sum()),
    }
    for question, frame in each.items():
        measure(question, "Polars, Insyn's files", [None] * 3, lambda _: answer(frame()))
elif peer == "chdb":
    from chdb import session as chs

    database = chs.Session()
    database.query("SET max_threads = 2")
    folders = {}
    for file in files:
        folders.setdefault(os.path.dirname(file), []).append(os.path.basename(file))
    listed = lambda names: names[0] if len(names) == 1 else "{" + ",".join(names) + "}"
    parts = [f"SELECT * FROM file('{where}/{listed(found)}', Parquet)" for where, found in folders.items()]
    table = f"(SELECT * FROM ({' UNION ALL '.join(parts)}) WHERE source <> 'insyn') AS t"

    def ask(text):
        rows = database.query(text, "TabSeparated").bytes().decode().strip().split("\n")
        return sum(int(cell) for cell in rows[0].split("\t"))

    find = lambda subject: ask(
        f"SELECT count() FROM (SELECT {', '.join(COLUMNS)} FROM {table} WHERE subject_id = '{subject}' "
        "ORDER BY occurred_at LIMIT 100)"
    )
    measure(RECORD, "chDB, Insyn's files", subjects[:20], find)
    for question in QUESTIONS:
        query = filled(question, "toHour(occurred_at, 'UTC')", "intDiv(toUnixTimestamp64Micro(min(occurred_at)), 1000000)")
        query = query.replace("FROM t ", f"FROM {table} ").replace("CAST(sum(n) AS BIGINT)", "sum(n)")
        measure(question, "chDB, Insyn's files", [query] * 3, ask)
