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
with open(os.path.join(folder, "asked_users.txt"), encoding="utf-8") as asked:
    users = asked.read().split()
MONTH = "30 days of a user by record, unit and day"
FIRST = "first 100 rows of a user, all columns but the record"
MONTH_FROM, MONTH_TO = "2025-09-01 00:00:00", "2025-10-01 00:00:00"
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
    whole = "SELECT * EXCLUDE (record) FROM t WHERE user_id = ? ORDER BY occurred_at LIMIT 100"
    month = (
        "SELECT subject_id, care_unit_id, CAST(timezone('Europe/Stockholm', occurred_at) AS DATE) AS day, count(*) AS n, "
        "min(epoch_us(occurred_at)) // 1000000 AS first, max(epoch_us(occurred_at)) // 1000000 AS last FROM t WHERE user_id = ? "
        f"AND occurred_at >= TIMESTAMPTZ '{MONTH_FROM}+00' AND occurred_at < TIMESTAMPTZ '{MONTH_TO}+00' "
        "GROUP BY 1, 2, 3"
    )
    days = lambda user: sum(1 + n + first % 1000 + last % 1000 for *_, n, first, last in database.execute(month, [user]).fetchall())
    measure(MONTH, who, users[:20], days)

    def first_rows(user):
        found = database.execute(whole, [user])
        at = [column[0] for column in found.description].index("occurred_at")
        return sum(1 + int(row[at].timestamp()) % 1000 for row in found.fetchall())

    measure(FIRST, who, users[:20], first_rows)
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

    def days(user):
        day = pl.col("occurred_at").dt.convert_time_zone("Europe/Stockholm").dt.date().alias("day")
        bound = lambda text: pl.lit(text).str.to_datetime(time_unit="us", time_zone="UTC")
        found = (
            table.filter(
                (pl.col("user_id") == user)
                & (pl.col("occurred_at") >= bound(MONTH_FROM))
                & (pl.col("occurred_at") < bound(MONTH_TO))
            )
            .group_by("subject_id", "care_unit_id", day)
            .agg(
                pl.len().cast(pl.Int64).alias("n"),
                (pl.col("occurred_at").min().dt.epoch("us") // 1000000).alias("first"),
                (pl.col("occurred_at").max().dt.epoch("us") // 1000000).alias("last"),
            )
            .collect()
        )
        return sum(1 + n + first % 1000 + last % 1000 for n, first, last in found.select("n", "first", "last").iter_rows())

    def first_rows(user):
        found = table.filter(pl.col("user_id") == user).drop("record").sort("occurred_at").head(100).collect()
        return sum(1 + at % 1000 for at in found.select(pl.col("occurred_at").dt.epoch("us") // 1000000).to_series())

    measure(MONTH, "Polars, Insyn's files", users[:20], days)
    measure(FIRST, "Polars, Insyn's files", users[:20], first_rows)

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
    second = lambda column: f"intDiv(toUnixTimestamp64Micro({column}), 1000000)"
    days = lambda user: ask(
        f"SELECT count(), sum(n), sum({second('first')} % 1000), sum({second('last')} % 1000) FROM (SELECT subject_id, "
        "care_unit_id, toDate(occurred_at, 'Europe/Stockholm') AS day, count() AS n, min(occurred_at) AS first, "
        f"max(occurred_at) AS last FROM {table} WHERE user_id = '{user}' "
        f"AND occurred_at >= toDateTime64('{MONTH_FROM}', 6, 'UTC') AND occurred_at < toDateTime64('{MONTH_TO}', 6, 'UTC') "
        "GROUP BY subject_id, care_unit_id, day)"
    )
    # A sum would be made of one column: the rows are given whole.
    first_rows = lambda user: sum(
        1 + int(line.split("\t", 1)[0]) % 1000
        for line in database.query(
            f"SELECT {second('occurred_at')} AS second, * EXCEPT (record) FROM {table} WHERE user_id = '{user}' "
            "ORDER BY occurred_at LIMIT 100",
            "TabSeparated",
        ).bytes().decode().splitlines()
    )
    measure(MONTH, "chDB, Insyn's files", users[:20], days)
    measure(FIRST, "chDB, Insyn's files", users[:20], first_rows)
    for question in QUESTIONS:
        query = filled(question, "toHour(occurred_at, 'UTC')", "intDiv(toUnixTimestamp64Micro(min(occurred_at)), 1000000)")
        query = query.replace("FROM t ", f"FROM {table} ").replace("CAST(sum(n) AS BIGINT)", "sum(n)")
        measure(question, "chDB, Insyn's files", [query] * 3, ask)
