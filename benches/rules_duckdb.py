"""The rules of the pack as plain SQL in DuckDB, over Insyn's own files: rules_duckdb.py FOLDER RULES DAY.

FOLDER has insyn.toml, lake/, context/*.csv and state.db after a run of Insyn over what came on DAY (2026-10-15, local); RULES has
pack/ and explanations/. Every explanation and every rule runs over the day with its default parameters, as its file has it: parameters
become literals, what a rule may read (rules/src/desk.rs) becomes tables and macros, and what DuckDB says otherwise is in REWRITES. Two
threads, 4 GB.

Prints of each explanation and rule: name|ms|accesses|waiting|ms of Insyn|whether Insyn says the same. `accesses` are the distinct
(source, event_id) that are named and can be judged, and the same ones must be in Insyn's findings of the day; `waiting` are rows that
wait for what may still come. What Insyn keeps of explanations is how many looks of the day each unit has, and how many of them are
explained; of each explanation it is known where FOLDER has explanations.ndjson, which is `insyn rules explanations` of the day. Last come
name|value of the whole. Ends with 1 where an answer is another, and with 3 where DuckDB or the reader of Delta is not installed.

What stays outside of the time: context CSV is made into Parquet first, as `insyn context load` does, and answers are held against
each other afterwards.
"""

import csv
import datetime as dt
import json
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
import tomllib
from zoneinfo import ZoneInfo

try:
    import duckdb
    from deltalake import DeltaTable
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(3)

# The context tables: column and what it holds, text where nothing is said.
TIMES = {"valid_from", "employed_from", "starts_at", "created_at", "lifted_at"}
ENDS = {"valid_to", "employed_to", "ends_at"}
DATES = {"deceased_on"}
FLAGS = {"protected_identity", "public_figure"}
CONTEXT = {
    "units": "care_unit_id name care_provider_id care_provider_name parent_unit_id manager_user_id deputy_user_id controller_id",
    "staff": "user_id person_id name title address postcode employed_from employed_to employer protected_identity",
    "accounts": "source account_id user_id",
    "identities": "subject_id other_id other_id_type",
    "assignments": "user_id care_unit_id role purpose",
    "subjects": "subject_id name address postcode protected_identity public_figure deceased_on protection_kind",
    "watchlist": "subject_id reason decided_by",
    "care_relations": "subject_id care_unit_id user_id kind created_by created_at",
    "schedule": "user_id care_unit_id starts_at ends_at kind",
    "kinship": "subject_id related_id kind",
    "consents": "subject_id care_unit_id care_provider_id kind against_id given_by created_by created_at lifted_by lifted_at",
    "blocks": "subject_id care_unit_id care_provider_id kind against_id given_by created_by created_at lifted_by lifted_at",
    "rights": "user_id source right care_unit_id",
    "places": "address_range care_unit_id",
}
# Beside the written id of a person the one that holds now.
KEYS = {
    "staff": {"person_key": "person_id"},
    "subjects": {"subject_key": "subject_id"},
    "watchlist": {"subject_key": "subject_id"},
    "care_relations": {"subject_key": "subject_id"},
    "kinship": {"subject_key": "subject_id", "related_key": "related_id"},
    "consents": {"subject_key": "subject_id"},
    "blocks": {"subject_key": "subject_id"},
}
# Accounts that stand for the one person who has them.
BEHIND = {"care_relations": ["created_by", "user_id"], "consents": ["created_by"]}

ALWAYS = (
    "segment seq event_id source occurred_at controller_id care_unit_id user_kind outcome activity user_id subject_id "
    "user_person_id"
).split()
IS_LOOK = (
    "subject_key is not null and actor_id is not null "
    "and (user_kind is null or user_kind not in ('subject', 'representative', 'system')) "
    "and (outcome is null or outcome = 'success')"
)
# What `user_history` may count by.
COUNTED_BY = {
    "source": "source",
    "account": "lower(user_id)",
    "unit": "care_unit_id",
    "record": "subject_key(subject_id)",
}

# What DuckDB says otherwise, outside of texts and comments.
REWRITES = [
    # A word of its own, that may not be a column's name.
    (re.compile(r"\bat\b"), '"at"'),
    # The middle of two whole numbers is a whole number there, and half of one here.
    (re.compile(r"\bmedian\((\w+(?:\.\w+)?)\)((?: over \([^)]*\))?)"), r"floor(median(\1)\2)"),
]
# And with its texts: types are named otherwise.
ARROW_CAST = re.compile(r"arrow_cast\((.*), 'Timestamp\(Microsecond, Some\(\"UTC\"\)\)'\)")
TEXTS = re.compile(r"('(?:[^']|'')*'|--[^\n]*)")
MACROS = """
create macro local_date(time) as cast(timezone('{zone}', time) as date);
create macro regexp_like(text, pattern) as regexp_matches(text, pattern);
create macro date_bin(width, time) as time_bucket(width, time);
create macro valid_at(since, until, time) as (since is null or since <= time) and (until is null or time <= until);
create macro born(id) as try_cast(id[1:4] || '-' || id[5:6] || '-'
  || lpad(cast(cast(id[7:8] as int) - if(id[7:8] > '60', 60, 0) as varchar), 2, '0') as date);
create macro doubled(id, i) as cast(id[i:i] as int) * if(i % 2 = 1, 2, 1);
create macro is_personnummer(id) as coalesce(
  case when regexp_full_match(id, '(18|19|20)[0-9]{{10}}') then born(id) is not null
    and list_sum(list_transform(range(3, 13), lambda i: doubled(id, i) // 10 + doubled(id, i) % 10)) % 10 = 0 end, false);
create macro age_at(id, time) as case when is_personnummer(id) then cast(date_diff('year', born(id), local_date(time))
  - if(strftime(local_date(time), '%m%d') < strftime(born(id), '%m%d'), 1, 0) as int) end;
"""


def main():
    folder, rules, day = sys.argv[1:4]
    with open(os.path.join(folder, "insyn.toml"), "rb") as file:
        config = tomllib.load(file)
    zone = ZoneInfo(config["organisation"]["timezone"])
    parquet = os.path.join(folder, "duckdb")
    if sys.argv[4:] == ["context"]:
        return context_to_parquet(folder, parquet, zone)
    # In a process of its own: what that takes is not counted.
    subprocess.run([sys.executable, *sys.argv, "context"], check=True)
    run = Run(folder, rules, parquet, zone, dt.date.fromisoformat(day), "intrusive" in config.get("rules", {}))
    begun = time.perf_counter()
    run.open()
    run.lay()
    run.explain()
    run.judge()
    took = time.perf_counter() - begun
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    agree = run.compare()
    shutil.rmtree(parquet)
    for name, seconds in run.spent.items():
        print(f"{name}|{seconds * 1000:.0f}")
    print(f"total ms|{took * 1000:.0f}")
    print(f"resident MiB|{resident}")
    sys.exit(0 if agree else 1)


def context_to_parquet(folder, parquet, zone):
    """Ids and numbers are as Insyn writes them: the bench's files hold no others."""
    shutil.rmtree(parquet, ignore_errors=True)
    os.makedirs(parquet)
    database = duckdb.connect()
    database.execute("set threads = 2; set TimeZone = 'UTC'")
    for table, columns in CONTEXT.items():
        columns = columns.split() + [name for name in ("valid_from", "valid_to") if name not in columns.split()]
        path = os.path.join(folder, "context", f"{table}.csv")
        there = []
        if os.path.exists(path):
            with open(path, encoding="utf-8", newline="") as file:
                there = next(csv.reader(file))

        def value(column):
            of, kind = f'"{column}"', type_of(column)
            if column not in there:
                return f"cast(null as {kind}) as {of}"
            # A date is its local day: from its first instant, or to its last one.
            whole = f"timezone('{zone.key}', cast({of} as timestamp))"
            if column in ENDS:
                whole = f"timezone('{zone.key}', cast({of} as timestamp) + interval '1 day') - interval '1 microsecond'"
            if kind == "timestamptz":
                return f"case when length({of}) = 10 then {whole} else cast({of} as timestamptz) end as {of}"
            return f"cast({of} as {kind}) as {of}"

        source = f"read_csv('{path}', all_varchar = true, header = true, nullstr = '')" if there else "(select 1) where false"
        query = f"select {', '.join(map(value, columns))} from {source}"
        database.execute(f"copy ({query}) to '{parquet}/{table}.parquet' (format parquet, compression zstd)")


def type_of(column):
    if column in TIMES | ENDS:
        return "timestamptz"
    return "date" if column in DATES else "boolean" if column in FLAGS else "varchar"


class Run:
    def __init__(self, folder, rules, parquet, zone, day, intrusive):
        self.folder, self.parquet, self.zone, self.day = folder, parquet, zone, day
        midnight = lambda day: dt.datetime.combine(day, dt.time(), zone).astimezone(dt.timezone.utc)
        self.midnight = midnight
        self.period = (midnight(day), midnight(day + dt.timedelta(days=1)))
        held_back = lambda rule: rule.get("intrusive") and not intrusive or rule["status"] == "deprecated"
        self.rules = [rule for rule in read(os.path.join(rules, "pack")) if not held_back(rule)]
        self.explanations = [rule for rule in read(os.path.join(rules, "explanations")) if not held_back(rule)]
        # What parts took, in seconds; what explanations took; what each rule took and named.
        self.spent, self.explained, self.found = {}, {}, {}
        self.too_large = set()

    def ask(self, query):
        return self.database.execute(query)

    def table(self, name, query, kept="temp"):
        self.ask(f"create or replace {kept} table {name} as {query}")

    def open(self):
        # On disk: large tables are compressed there, and need not all be in memory. With 4 GB that is faster for DuckDB.
        self.database = duckdb.connect(os.path.join(self.parquet, "rules.db"))
        self.ask("set threads = 2; set memory_limit = '4GB'; set TimeZone = 'UTC'")
        self.ask(f"set temp_directory = '{self.parquet}/spill'; set preserve_insertion_order = false")
        # As DataFusion has it: `/` of whole numbers is one, and nothing is more than anything.
        self.ask("set integer_division = true; set default_null_order = 'nulls_last_on_asc_first_on_desc'")
        for macro in MACROS.format(zone=self.zone.key).split(";\n"):
            self.ask(macro)

    # What rules read.

    def lay(self):
        begun = time.perf_counter()
        self.people()
        self.context()
        self.units()
        self.accesses()
        self.spent["laying ms"] = time.perf_counter() - begun

    def people(self):
        context = lambda table: f"read_parquet('{self.parquet}/{table}.parquet')"
        # A number leads to the one that took its place last, as far as that goes and not round in a circle.
        self.table(
            "numbers",
            f"""with recursive newer as (
                  select other_id as number, arg_max(subject_id, coalesce(valid_from, timestamptz '-infinity')) as next
                  from {context("identities")} where subject_id <> other_id group by other_id
                ),
                led as (
                  select number, next, 1 as step from newer
                  union all
                  select l.number, n.next, l.step + 1 from led l join newer n on n.number = l.next
                  where n.next <> l.number and l.step < 16
                )
                select number, arg_max(next, step) as current from led group by number""",
        )
        known = self.ask("select count(*) from numbers").fetchone()[0]
        current = "coalesce((select n.current from numbers n where n.number = id), id)" if known else "id"
        self.ask(f"create or replace temp macro subject_key(id) as {current}")
        self.table(
            "persons",
            f"""select user_id, arg_max(person_id, (coalesce(valid_to, timestamptz 'infinity'),
                  coalesce(employed_from, timestamptz '-infinity'))) as person_id
                from {context("staff")} where person_id is not null group by user_id""",
        )
        self.table(
            "holdings",
            f"""select account_id, source, user_id, coalesce(valid_from, timestamptz '-infinity') as since,
                  coalesce(valid_to, timestamptz 'infinity') as until
                from {context("accounts")}""",
        )
        several = """select count(*) from holdings a join holdings b on a.account_id = b.account_id and a.since < b.until
                       and b.since < a.until and (a.source is null or b.source is null or a.source = b.source)"""
        self.knows_accounts = self.ask("select count(*) from holdings").fetchone()[0] > 0
        if self.ask(several).fetchone()[0] != self.ask("select count(*) from holdings").fetchone()[0]:
            sys.exit("an account that two have at one time is not resolved here as Insyn does")
        self.table(
            "behind",
            f"""select upper(account_id) as account, min(user_id) as user_id from {context("accounts")}
                group by upper(account_id) having count(distinct user_id) = 1""",
        )

    def acting(self, columns, source, where):
        """Rows of a table of accesses, with who is behind the account as `actor_id`."""
        rows = f"(select * from {source} e where {where}) e"
        if not self.knows_accounts:
            return f"select {columns}, e.user_id as actor_id from {rows}"
        return f"""select {columns}, coalesce(h.user_id, e.user_id) as actor_id from {rows}
                   left join holdings h on h.account_id = e.user_id and (h.source is null or h.source = e.source)
                     and e.occurred_at >= h.since and e.occurred_at <= h.until"""

    def context(self):
        for table, columns in CONTEXT.items():
            behind = BEHIND.get(table, [])
            shown = [f"coalesce({name}_of.user_id, w.{name}) as {name}" for name in behind]
            keys = [f"subject_key(w.{column}) as {key}" for key, column in KEYS.get(table, {}).items()]
            joins = [f"left join behind {name}_of on {name}_of.account = upper(w.{name})" for name in behind]
            without = f" exclude ({', '.join(behind)})" if behind else ""
            self.table(
                table,
                f"select {', '.join([f'w.*{without}', *shown, *keys])} "
                f"from read_parquet('{self.parquet}/{table}.parquet') w {' '.join(joins)}",
                kept="",
            )
        self.rows = {table: self.ask(f"select count(*) from {table}").fetchone()[0] for table in CONTEXT}
        lacking = [path for path, *_ in self.files("lacking")]
        texts = ", ".join(f"cast(null as varchar) as {name}" for name in ("source", "file_id", "export_file_id"))
        nothing = f"select {texts}, cast(0 as bigint) as file_offset where false"
        self.table("lacking", f"select * from read_parquet({lacking})" if lacking else nothing)

    def units(self):
        # A unit, all above it, and the parts right below it.
        self.table(
            "unit_reach",
            """with recursive parents as (
                 select care_unit_id as unit, any_value(parent_unit_id) as parent from units
                 where parent_unit_id is not null and parent_unit_id <> care_unit_id group by care_unit_id
               ),
               known as (
                 select care_unit_id as unit from units union select parent from parents
                 union select care_unit_id from care_relations where care_unit_id is not null
                 union select care_unit_id from assignments where care_unit_id is not null
               ),
               above as (
                 select unit, unit as near from known
                 union
                 select a.unit, p.parent from above a join parents p on p.unit = a.near
               )
               select unit as care_unit_id, near as near_unit_id from above
               union
               select parent, unit from parents""",
        )
        self.table(
            "assigned",
            """select a.user_id, a.care_unit_id, u.near_unit_id, a.valid_from, a.valid_to
               from assignments a join unit_reach u on u.care_unit_id = a.care_unit_id""",
        )

    def files(self, table):
        """Each file of a table with its rows and its last access, as the Delta log has them."""
        root = os.path.join(self.folder, "lake", table)
        if not os.path.exists(os.path.join(root, "_delta_log")):
            return []
        added = DeltaTable(root).get_add_actions(flatten=True)
        columns = [added[name].to_pylist() for name in ("path", "num_records", "max.occurred_at") if name in added.schema.names]
        return [(os.path.join(root, path), *of) for path, *of in zip(*columns)]

    def accesses(self):
        paths = lambda files: [path for path, *_ in files]
        events, by_user = self.files("access_events"), self.files("user_accesses")
        self.ask(f"create temp view access_events as select * from read_parquet({paths(events)})")
        # A few columns of each row in order of users are as good for what users did before, where they are of all that came
        # before the day.
        later = [file for file in events if file[2] >= self.period[0]]
        if by_user and sum(rows for _, rows, _ in events) - sum(rows for _, rows, _ in later) == sum(rows for _, rows, _ in by_user):
            columns = "user_id, source, care_unit_id, subject_id, occurred_at"
            parts = " union all ".join(f"select {columns} from read_parquet({paths(files)})" for files in (by_user, later) if files)
        else:
            parts = "select * from access_events"
        self.ask(f"create temp view user_accesses as {parts}")
        texts = "\n".join(text for rule in self.rules + self.explanations for text in texts_of(rule))
        words = set(re.findall(r"\w+", texts.lower()))
        events = [row[0] for row in self.ask("describe access_events").fetchall()]
        columns = [name for name in events if name != "record" and (name in ALWAYS or name in words)]
        shown = ", ".join(f"e.{name}" for name in columns)
        own = "e.source <> 'insyn'"
        acting = self.acting(shown, "access_events", f"{own} and ({self.sight()})")
        self.table(
            "accesses",
            f"""select a.*, coalesce(p.person_id, a.user_person_id) as person_id, subject_key(a.subject_id) as subject_key
                from ({acting}) a left join persons p on p.user_id = a.actor_id""",
            kept="",
        )
        self.ask(f"create temp view looks as select * from accesses where {IS_LOOK}")

    def sight(self):
        """The day, and around it what rules say that they look at; an hour more for those which do not say what they read there."""
        within = lambda since, until: f"e.occurred_at >= {instant(since)} and e.occurred_at < {instant(until)}"
        since, until = self.period
        parts, whole = [], [since, until]
        for rule in self.rules + self.explanations:
            around = duration(rule.get("looks_around", "0 minutes"))
            back = max(around, duration(rule.get("looks_back", "0 minutes")))
            reads = rule.get("reads")
            # What it reads of the day before is of these sources only.
            if rule["id"] == "missing-numbers":
                reads = "source in $sources"
            if not back:
                continue
            if reads is None:
                whole = [min(whole[0], since - back), max(whole[1], until + around)]
            else:
                parts.append(f"({within(since - back, until + around)} and ({filled(reads, rule, self.period)}))")
        return " or ".join([f"({within(*whole)})", *parts])

    # What explains a look.

    def explain(self):
        begun = time.perf_counter()
        self.ask(
            "create table explained (segment bigint, seq int, explanation varchar, explains varchar, by_user boolean, "
            "made_at timestamptz)"
        )
        self.explanations = [rule for rule in self.explanations if all(self.rows[table] for table in rule.get("needs", []))]
        for rule in self.explanations:
            if not asks_history(rule):
                self.add(rule)
        self.narrow("looks")
        self.record_history()
        for rule in self.explanations:
            if asks_history(rule):
                self.add(rule)
        self.narrow("unexplained")
        self.spent["explaining ms"] = time.perf_counter() - begun

    def narrow(self, looks):
        """Leaves those of `looks` for which nothing that is enough is known."""
        since, until = map(instant, self.period)
        self.table(
            "unexplained",
            f"""select l.* from {looks} l
                left join (select distinct segment, seq from explained where explains <> 'provider' and not by_user) e
                  on e.segment = l.segment and e.seq = l.seq
                where e.segment is null and l.occurred_at >= {since} and l.occurred_at < {until}""",
        )

    def add(self, rule):
        begun = time.perf_counter()
        since, until = map(instant, self.period)
        self.ask(
            f"insert into explained select segment, seq, '{rule['id']}', '{rule['explains']}', coalesce(by_user, true), made_at "
            f"from ({filled(rule['sql'], rule, self.period)}\n) x where occurred_at >= {since} and occurred_at < {until}"
        )
        self.explained[rule["id"]] = (time.perf_counter() - begun) * 1000

    def record_history(self):
        self.table(
            "asked",
            """select distinct a.subject_key, coalesce(u.near_unit_id, a.care_unit_id) as unit
               from (select subject_key, care_unit_id from unexplained
                     union select a.subject_key, r.care_unit_id from unexplained a
                     join care_relations r on r.subject_key = a.subject_key and r.created_by = a.actor_id) a
               left join unit_reach u on u.care_unit_id = a.care_unit_id where a.care_unit_id is not null""",
        )
        since, until = self.period[0] - dt.timedelta(days=31), self.period[1] + dt.timedelta(days=15)
        looks = self.acting(
            "subject_key(e.subject_id) as subject_key, e.care_unit_id, e.user_kind, e.outcome, e.occurred_at, e.action",
            "access_events",
            # As of users: these persons, under any of their numbers.
            f"""e.source <> 'insyn' and e.occurred_at >= {instant(since)} and e.occurred_at < {instant(until)} and e.subject_id in (
                  select subject_key from asked union all select n.number from numbers n join asked a on a.subject_key = n.current
                )""",
        )
        self.table(
            "record_history",
            f"""select l.subject_key, l.care_unit_id, l.actor_id, local_date(l.occurred_at) as day,
                  bool_or(coalesce(l.action in ('C', 'U'), false)) as wrote
                from ({looks}) l semi join asked k on k.subject_key = l.subject_key and k.unit = l.care_unit_id
                where {IS_LOOK} group by all""",
        )

    # What rules name.

    def judge(self):
        since, until = map(instant, self.period)
        loaded_at = self.loaded_at()
        for rule in self.rules:
            begun = time.perf_counter()
            lacks = [table for table in rule.get("needs", []) if not self.rows[table]]
            one_of = rule.get("needs_one_of", [])
            if lacks or one_of and not any(self.rows[table] for table in one_of):
                print(f"NOT RUN: {rule['id']} needs {', '.join(lacks or one_of)}", flush=True)
                continue
            window = self.window(rule["window"])
            age = rule.get("max_age_days")
            if age is not None and window[0] > loaded_at + dt.timedelta(days=age):
                print(f"NOT RUN: {rule['id']}: the context is too old", flush=True)
                continue
            named = named_by(rule)
            try:
                self.look_back(rule)
                self.ask("drop view if exists judged")
                # All that it gives, with its sentences: they are part of the answer.
                self.table(
                    "hits",
                    f"select * from ({filled(rule['sql'], rule, self.period)}\n) x "
                    f"where occurred_at >= {since} and occurred_at < {until}",
                )
                self.ask(f"create temp view judged as select x.* from hits x {self.covered(rule, window)}")
                waits = self.waits(rule)
                self.table(named, f"select distinct source, event_id from judged where not ({waits})")
                accesses = self.ask(f"select count(*) from {named}").fetchone()[0]
                waiting = self.ask(f"select count(*) from judged where {waits}").fetchone()[0]
            except duckdb.Error as error:
                print(f"NOT RUN: {rule['id']}: {str(error).splitlines()[0]}", flush=True)
                # What does not fit in its memory is no other answer.
                self.too_large.update([rule["id"]] if isinstance(error, duckdb.OutOfMemoryException) else [])
                continue
            self.found[rule["id"]] = ((time.perf_counter() - begun) * 1000, accesses, waiting)

    def look_back(self, rule):
        texts = " ".join(texts_of(rule))
        if "source_hours" in texts:
            since, until = self.period[0] - dt.timedelta(days=37), self.period[1] + dt.timedelta(days=1)
            self.table(
                "source_hours",
                f"""select source, date_trunc('hour', occurred_at) as hour, count(*) as events, max(controller_id) as controller_id
                    from access_events
                    where source <> 'insyn' and occurred_at >= {instant(since)} and occurred_at < {instant(until)}
                    group by 1, 2""",
            )
        columns = {name: of for name, of in COUNTED_BY.items() if re.search(rf"\b{name}\b", texts)}
        for step in rule.get("history", []):
            self.table("actors", f"select distinct actor_id from ({filled(step['of'], rule, self.period)}\n) x")
            day = dt.timedelta(days=1)
            since, until = self.period[0] - duration(step["back"]) - day, self.period[1] + day
            rows = self.acting(
                "e.user_id, e.source, e.care_unit_id, e.subject_id, e.occurred_at",
                "user_accesses",
                # Said of the file's own column, so that no more of the files need be read.
                f"""e.source <> 'insyn' and e.occurred_at >= {instant(since)} and e.occurred_at < {instant(until)} and e.user_id in (
                      select actor_id from actors
                      union all select h.account_id from holdings h join actors a on a.actor_id = h.user_id
                    )""",
            )
            if "user_records" in texts:
                self.table(
                    "user_records",
                    f"""select actor_id, local_date(occurred_at) as day, count(distinct subject_key(subject_id)) as records
                        from ({rows}) r semi join actors using (actor_id) where subject_id is not null group by all""",
                )
            if "user_history" not in texts:
                continue
            made = "".join(f", {of} as {name}" for name, of in columns.items())
            self.table(
                "user_history",
                f"""select actor_id, local_date(occurred_at) as day{made}, count(*) as n
                    from ({rows}) r semi join actors using (actor_id) group by all""",
            )

    def window(self, size):
        first = {
            "day": self.day,
            "week": self.day - dt.timedelta(days=self.day.weekday()),
            "month": self.day.replace(day=1),
        }[size]
        after = {
            "day": first + dt.timedelta(days=1),
            "week": first + dt.timedelta(days=7),
            "month": (first + dt.timedelta(days=31)).replace(day=1),
        }[size]
        return self.midnight(first), self.midnight(after)

    def covered(self, rule, window):
        """Only hits at units of which the table has rows in the rule's window."""
        table = rule.get("covered_by")
        if table is None:
            return ""
        begins, ends = ("starts_at", "ends_at") if table == "schedule" else ("valid_from", "valid_to")
        self.table(
            "covered",
            f"""with own as (
                  select distinct care_unit_id as unit from {table} where care_unit_id is not null
                  and ({begins} is null or {begins} < {instant(window[1])}) and ({ends} is null or {ends} >= {instant(window[0])})
                )
                select unit from own union select care_unit_id from unit_reach where near_unit_id in (select unit from own)""",
        )
        return (
            "where x.care_unit_id in (select unit from covered) or x.care_unit_id is null and x.actor_id in "
            "(select user_id from assigned where care_unit_id in (select unit from covered))"
        )

    def waits(self, rule):
        """Whether a row of `judged` waits for what may still come."""
        wait = rule.get("settles_after")
        if wait is None or rule.get("kind") not in ("absence", "source"):
            return "false"
        if wait.startswith("$"):
            wait = rule["parameters"][wait[1:]]["default"]
        self.table(
            "read_to",
            f"select source, max(occurred_at) as until from access_events where occurred_at >= {instant(self.period[0])} group by source",
        )
        # What a source does not say is known when some other one has been read so far.
        of = "select max(until) from read_to" + ("" if rule["kind"] == "source" else " r where r.source = judged.source")
        return f"coalesce(({of}) < occurred_at + interval '{duration(wait) // dt.timedelta(minutes=1)} minutes', true)"

    def loaded_at(self):
        loads = os.path.join(self.folder, "lake/context")
        newest = max(name for name in os.listdir(loads) if os.path.exists(os.path.join(loads, name, "manifest.json")))
        with open(os.path.join(loads, newest, "manifest.json"), encoding="utf-8") as file:
            manifest = json.load(file)
        if manifest.get("history", {}).get("tables") and any(of.get("gone") for of in manifest["history"]["tables"]):
            sys.exit("the context was loaded more than once: what held when is more than its CSV says")
        return dt.datetime.fromtimestamp(manifest["loaded_at"] / 1e6, dt.timezone.utc)

    # What Insyn found.

    def compare(self):
        self.state = sqlite3.connect(f"file:{self.folder}/state.db?mode=ro", uri=True)
        (record,) = self.state.execute("select body from runs order by started_at desc limit 1").fetchone()
        runs = {run["rule_id"]: run for run in json.loads(record)["rules"]}
        # All are compared, whatever one says.
        return all([*self.compare_explanations(), *self.compare_rules(runs)])

    def compare_explanations(self):
        """How the looks of each unit stand; and where it is known how many each explanation by itself has a reason for, that."""
        ours = self.ask(
            f"""with reasons as (
                  select segment, seq, bool_or(not by_user) as good from explained where explains <> 'provider' group by segment, seq
                )
                select source, coalesce(care_unit_id, ''), coalesce(controller_id, ''),
                  count(*), count(*) filter (good), count(*) filter (not good)
                from looks l left join reasons r on r.segment = l.segment and r.seq = l.seq
                where occurred_at >= {instant(self.period[0])} and occurred_at < {instant(self.period[1])} group by all"""
        ).fetchall()
        theirs = self.state.execute(
            "select source, care_unit_id, controller_id, looks, explained, only_by_user from explained_days where day = ?",
            [self.day.isoformat()],
        ).fetchall()
        looks, explained = (sum(row[at] for row in ours) for at in (3, 4))
        same = set(ours) == set(theirs)
        said = "the same" if same else f"DIFFERS: {sum(row[4] for row in theirs)} of {sum(row[3] for row in theirs)}"
        print(f"explained, by unit||{explained} of {looks}|||{said}")
        yield same
        known, alone = {}, os.path.join(self.folder, "explanations.ndjson")
        if os.path.exists(alone):
            with open(alone, encoding="utf-8") as file:
                known = {row["explanation"]: row for row in map(json.loads, file)}
            # By itself each is asked about all looks.
            since, until = map(instant, self.period)
            self.table("unexplained", f"select * from looks where occurred_at >= {since} and occurred_at < {until}")
            self.record_history()
        for rule in self.explanations:
            milliseconds = self.explained[rule["id"]]
            if known and asks_history(rule):
                self.ask(f"delete from explained where explanation = '{rule['id']}'")
                self.add(rule)
            found = self.ask(
                f"""select count(*), count(*) filter (own) from (
                      select bool_and(by_user) as own from explained where explanation = '{rule["id"]}' group by segment, seq
                    )"""
            ).fetchone()
            said = "not asked"
            if known:
                row = known.get(rule["id"], {"looks": None, "by_user": None})
                same = (row["looks"], row["by_user"]) == found
                said = "the same" if same else f"DIFFERS: {row['looks']}, {row['by_user']} by the user; here {found[1]}"
                yield same
            print(f"explanation {rule['id']}|{milliseconds:.0f}|{found[0]}|||{said}")

    def compare_rules(self, runs):
        """Each rule beside what Insyn kept of its last run: all accesses of its findings on the day, and how many rows wait."""
        theirs = {rule["id"]: set() for rule in self.rules}
        for rule, user, evidence in self.state.execute("select rule_id, user_id, evidence from findings"):
            events = json.loads(evidence)["events"]
            # What is about a source rests on no access.
            if not events and user.startswith("source:"):
                theirs.setdefault(rule, set()).add((user, None))
            for event in events:
                at = dt.datetime.fromisoformat(event["occurred_at"])
                if self.period[0] <= at < self.period[1]:
                    theirs.setdefault(rule, set()).add((event["source"], event["event_id"]))
        for rule in self.rules:
            name, run = rule["id"], runs.get(rule["id"], {"state": "not there", "waiting": 0, "milliseconds": 0})
            if name not in self.found:
                neither = run["state"] == "not_evaluated"
                said = "not judged there either" if neither else f"DIFFERS: {run['state']} there"
                if name in self.too_large:
                    said = "not run: too large"
                print(f"{name}||||{run['milliseconds']}|{said}")
                yield neither or name in self.too_large
                continue
            milliseconds, accesses, waiting = self.found[name]
            named = self.ask(f"select source, event_id from {named_by(rule)}").fetchall()
            ours = {(f"source:{source}", None) if rule.get("kind") == "source" else (source, event) for source, event in named}
            same, said = (ours, waiting) == (theirs[name], run["waiting"]) and run["state"] != "failed", "the same"
            if same and run["state"] == "not_evaluated":
                # Numbers that are missing are asked for only of sources that count their records: there are none.
                said = "nothing to judge there, and nothing here"
            elif not same:
                few = lambda these: ", ".join(f"{source} {event}" for source, event in sorted(these)[:3])
                said = (
                    f"DIFFERS: {run['state']}, {len(theirs[name])} accesses, {run['waiting']} waiting; "
                    f"only here {len(ours - theirs[name])} ({few(ours - theirs[name])}), "
                    f"only there {len(theirs[name] - ours)} ({few(theirs[name] - ours)})"
                )
            print(f"{name}|{milliseconds:.0f}|{accesses}|{waiting}|{run['milliseconds']}|{said}")
            yield same


def named_by(rule):
    return "named_" + rule["id"].replace("-", "_")


def asks_history(rule):
    return re.search(r"\b(unexplained|record_history)\b", rule["sql"]) is not None


def read(folder):
    found = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".toml"):
            with open(os.path.join(folder, name), "rb") as file:
                found.append(tomllib.load(file))
    return found


def texts_of(rule):
    return [rule["sql"], rule.get("reads", ""), *(step["of"] for step in rule.get("history", []))]


def duration(text):
    number, unit = text.split()
    return dt.timedelta(**{unit.rstrip("s") + "s": int(number)})


def instant(at):
    return f"timestamptz '{at:%Y-%m-%d %H:%M:%S}+00'"


def filled(sql, rule, period):
    """The SQL with its parameters filled in, as DuckDB says it."""

    def literal(found):
        name = found.group(1)
        if name in ("period_from", "period_to"):
            return instant(period[name == "period_to"])
        return value_of(rule["parameters"][name]["default"])

    def said(code):
        for pattern, otherwise in REWRITES:
            code = pattern.sub(otherwise, code)
        return re.sub(r"\$([a-z]\w*)", literal, code)

    parts = TEXTS.split(ARROW_CAST.sub(r"cast(\1 as timestamptz)", sql))
    return "".join(part if n % 2 else said(part) for n, part in enumerate(parts))


def value_of(value):
    quoted = lambda text: "'" + text.replace("'", "''") + "'"
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return f"({value})"
        case list():
            return f"({', '.join(map(quoted, value or ['']))})"
        case str() if re.fullmatch(r"[0-9]+ (minute|hour|day)s?", value):
            return f"interval '{value}'"
        case _:
            return quoted(value)


if __name__ == "__main__":
    main()
