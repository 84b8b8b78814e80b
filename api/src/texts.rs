//! Every text of the pages, in both languages, in one table: a key without its translation does not compile.

macro_rules! texts {
    ($($key:ident: $sv:literal, $en:literal;)*) => {
        /// The texts of one language.
        pub(crate) struct Texts { $(pub(crate) $key: &'static str,)* }

        pub(crate) static SV: Texts = Texts { $($key: $sv,)* };
        pub(crate) static EN: Texts = Texts { $($key: $en,)* };

        /// Key, Swedish, English: for the test that holds them together.
        #[cfg(test)]
        pub(crate) const ALL: &[(&str, &str, &str)] = &[$((stringify!($key), $sv, $en),)*];
    };
}

texts! {
    // Every page
    skip_to_content: "Hoppa till innehållet", "Skip to content";
    nav_main: "Huvudmeny", "Main menu";
    nav_start: "Start", "Start";
    nav_findings: "Fynd", "Findings";
    nav_rules: "Regler", "Rules";
    nav_runs: "Körningar", "Runs";
    sign_out: "Logga ut", "Sign out";
    search_label: "Vem har öppnat journalen?", "Who looked in this record?";
    search_placeholder: "ÅÅÅÅMMDD-NNNN eller användar-id", "YYYYMMDD-NNNN or user id";
    search_record: "Sök journal", "Search record";
    search_user: "Sök användare", "Search user";
    foot_zone: "Tider i", "Times in";
    foot_logged: "Allt du öppnar här loggas.", "Everything you open here is logged.";
    pages: "Sidor", "Pages";
    first_page: "Första sidan", "First page";
    next_page: "Nästa sida", "Next page";
    to_start: "Till startsidan", "To the start page";
    all: "Alla", "All";
    filter: "Visa", "Show";
    clear: "Rensa", "Clear";
    unknown: "Uppgift saknas", "Not stated";
    nobody: "Ingen person angiven", "No person stated";
    several: "Flera personer", "Several people";

    // Signing in
    sign_in_title: "Logga in", "Sign in";
    sign_in_lead: "Insyn visar vem som har öppnat en journal eller akt, och varför.", "Insyn shows who has looked in a record, and why.";
    sign_in: "Logga in", "Sign in";
    login: "Användarnamn", "Login";
    password: "Lösenord", "Password";
    code: "Engångskod", "One-time code";
    code_short: "Kod nu", "Code now";
    code_help: "Sex siffror från din autentiseringsapp.", "Six digits from your authenticator app.";
    sign_in_wrong: "Fel användarnamn, lösenord eller kod. En kod gäller bara en gång.", "Wrong login, password or code. A code works only once.";
    sign_in_wait: "För många försök. Vänta en stund och försök igen.", "Too many attempts. Wait a while and try again.";
    signed_out: "Du är utloggad.", "You have signed out.";
    demo_badge: "Demo", "Demo";
    demo_title: "Påhittade konton", "Made-up accounts";
    demo_lead: "Allt i den här världen är påhittat: personer, journaler och loggar. Logga in som någon av dem:", "Everything in this world is made up: people, records and logs. Sign in as one of them:";
    demo_who: "Vem", "Who";
    demo_code_note: "Koden byts var trettionde sekund och gäller en gång. Ladda om sidan för en ny.", "The code changes every thirty seconds and works once. Reload the page for a new one.";
    enrol_title: "Slå på engångskoder", "Turn on one-time codes";
    enrol_lead: "Innan du kan fortsätta behöver kontot en andra faktor. Läs av bilden med en autentiseringsapp, eller skriv in nyckeln, och ange koden som visas.", "Before you can go on, the account needs a second factor. Scan the picture with an authenticator app, or type the key, and enter the code that it shows.";
    enrol_key: "Nyckel", "Key";
    enrol_picture: "QR-kod med nyckeln", "QR code with the key";
    enrol_confirm: "Bekräfta", "Confirm";
    enrol_wrong: "Koden stämde inte. Läs av den nya bilden och försök igen.", "The code was not right. Scan the new picture and try again.";
    enrol_done: "Engångskoder är påslagna. Logga in igen.", "One-time codes are on. Sign in again.";

    // Start
    start_title: "Läget nu", "The state of things";
    live_on: "Uppdateras löpande", "Updating by itself";
    live_off: "Uppdateras inte", "Not updating";
    live_stop: "Stoppa", "Stop";
    live_start: "Uppdatera löpande", "Update by itself";
    as_of: "kl.", "at";
    figures_title: "Siffror", "Figures";
    figure_day: "åtkomster senaste dygnet", "accesses in the last 24 hours";
    figure_day_note: "av {people} personers uppgifter", "to {people} people's records";
    figure_month: "åtkomster på 30 dagar", "accesses in 30 days";
    figure_month_note: "av {users} användare", "by {users} users";
    figure_open: "fynd väntar på bedömning", "findings wait to be judged";
    figure_open_note: "av {all} totalt", "of {all} in all";
    figure_explained: "av åtkomsterna är förklarade", "of the accesses are explained";
    figure_explained_note: "av {looks} på 30 dagar; {unexplained} saknar känd förklaring", "of {looks} in 30 days; {unexplained} have no known explanation";
    explained_link: "Per månad, källa och enhet", "By month, source and unit";
    explained_title: "Förklarade åtkomster", "Explained accesses";
    explained_lead: "Hur stor del av åtkomsterna till personers uppgifter som har en förklaring i verksamhetens egna data. Att en förklaring saknas är inget fel i sig: mycket som är rätt skrivs aldrig ned.", "How much of the accesses to people's records has an explanation in the organisation's own data. That one is missing is no fault in itself: much that is right is never written down.";
    explained_none: "Ingen körning har räknat än.", "No run has counted yet.";
    explained_by_others: "Förklarade", "Explained";
    explained_by_user: "Bara genom användaren själv", "Only by the user";
    explained_by_nothing: "Utan känd förklaring", "No known explanation";
    explained_unknown: "Kan inte avgöras", "Cannot be known";
    month: "Månad", "Month";

    // Decisions that cover later findings
    findings_covered: "Visa även de som tidigare beslut täcker", "Show those that earlier decisions cover too";
    suppressions_title: "Beslut som täcker senare fynd", "Decisions that cover later findings";
    suppressions_lead: "Vad de täcker hittas och räknas ändå, vart tionde fynd granskas ändå, och någon annan än den som beslutade går igenom vart och ett inom trettio dagar. Annars kommer fynden tillbaka i kön.", "What they cover is found and counted all the same, every tenth finding is looked at all the same, and somebody else than who decided goes through each within thirty days. Else the findings come back into the queue.";
    suppressions_none: "Inget beslut täcker senare fynd.", "No decision covers later findings.";
    suppression_person: "{who} i uppgifter om {whose}", "{who} in the record of {whose}";
    suppression_unit: "{rule}: {unit}", "{rule}: {unit}";
    suppression_awaits: "Väntar på en andra person", "Waits for a second person";
    suppression_holds: "Gäller", "Holds";
    suppression_expired: "Tiden har gått ut", "Expired";
    suppression_ended: "Avslutat", "Ended";
    suppression_lapsed: "Gick inte igenom i tid", "Not reviewed in time";
    suppression_made: "Beslutat av", "Decided by";
    suppression_until: "gäller till", "holds until";
    suppression_finding: "Fyndet", "The finding";
    suppression_reviewed: "Genomgånget av", "Reviewed by";
    suppression_counts: "{covered} senare fynd hålls utanför kön, {sampled} granskas ändå.", "{covered} later findings are kept out of the queue, {sampled} are looked at all the same.";
    suppression_keep: "Låt gälla", "Let it hold";
    suppression_end: "Avsluta", "End it";
    suppression_refused: "Skriv vad genomgången bygger på. Ett beslut som har slutat gälla kan inte ändras.", "Say what the review rests on. A decision that has ended cannot be changed.";
    cover_title: "Låt beslutet täcka senare fynd", "Let the decision cover later findings";
    cover_lead: "Åtkomster som liknar dessa blir fortfarande fynd och räknas, men hamnar inte i kön. Någon annan går igenom beslutet inom trettio dagar.", "Accesses like these still make findings and are counted, but do not reach the queue. Somebody else reviews the decision within thirty days.";
    cover_what: "Vad täcks", "What is covered";
    cover_person: "Samma användare, person och enhet", "The same user, person and unit";
    cover_unit: "Samma regel och enhet", "The same rule and unit";
    cover_months: "Månader (1–12)", "Months (1–12)";
    cover_because: "Varför är de befogade", "Why they are justified";
    cover: "Täck senare fynd", "Cover later findings";
    cover_missing: "Välj vad som täcks, antal månader från 1 till 12, och skriv varför.", "Choose what is covered, a number of months from 1 to 12, and say why.";
    covered_notice: "Beslutet täcker senare fynd tills någon annan har gått igenom det.", "The decision covers later findings until somebody else has reviewed it.";
    history_covers: "Beslutet täcker senare fynd", "The decision covers later findings";
    history_reviewed: "Genomgånget av en andra person", "Reviewed by a second person";
    history_covered: "Täcks av ett tidigare beslut", "Covered by an earlier decision";
    history_uncovered: "Kvar i kön", "In the queue";
    looks: "Åtkomster", "Accesses";
    levels_title: "Öppna fynd efter nivå", "Open findings by level";
    all_findings: "Alla fynd", "All findings";
    top_findings: "Att titta på först", "To look at first";
    no_findings: "Inga fynd än.", "No findings yet.";
    no_findings_filter: "Inga fynd med det urvalet.", "No findings with that choice.";
    sources_title: "Loggkällor", "Log sources";
    no_sources: "Inga källor är inställda.", "No sources are configured.";
    source: "Källa", "Source";
    state: "Tillstånd", "State";
    last_event: "Senaste händelse", "Latest event";
    events: "Händelser", "Events";
    behind: "Efter", "Behind";
    quarantined: "Karantän", "Quarantine";
    gaps: "Luckor", "Gaps";
    latest_runs: "Senaste körningar", "Latest runs";
    all_runs: "Alla körningar", "All runs";
    state_ok: "I takt", "Up to date";
    state_behind: "Efter", "Behind";
    state_quiet: "Tyst", "Quiet";
    state_error: "Fel", "Error";
    state_never: "Aldrig läst", "Never read";

    // One source
    events_hour: "Händelser senaste hela timmen", "Events in the last whole hour";
    usual_hour: "Brukar vara {n} den timmen i veckan", "Usually {n} at that hour of the week";
    usual_unknown: "Vad som är vanligt är inte känt än", "What is usual is not known yet";
    quiet_note: "Nästan inget har kommit där det brukar komma händelser. En tyst logg ser likadan ut som en lugn: ta reda på vilket.", "Nearly nothing has come where there usually are events. A silent log looks like a calm one: find out which it is.";
    quarantined_note: "Poster som inte gick att läsa", "Records that could not be read";
    gaps_note: "Bytes som inte gick att få", "Bytes that could not be had";
    exports_title: "Utdrag och vilka dagar de har med", "Exports and the days they state";
    exports_note: "Det som flera utdrag har med för samma tid räknas en gång. Saknas: rader som andra utdrag har med för samma tid men inte det här.", "What several exports state of the same time counts once. Lacking: rows that other exports state of the same time and this one does not.";
    export_days: "Dagar", "Days";
    export_rows: "Rader", "Rows";
    export_stored: "Nya", "New";
    export_lacking: "Saknas", "Lacking";
    export_read: "Läst", "Read";
    settled_note: "Av {all}; de andra är förklarade eller lagade", "Of {all}; the others are explained or mended";
    item_open: "Öppen", "Open";
    item_explained: "Förklarad", "Explained";
    item_mended: "Lagad", "Mended";
    amendments_title: "Vad som är ändrat i efterhand", "What was changed afterwards";
    amended: "Ändrat", "Changed";
    amended_by: "Av", "By";
    amended_why: "Varför", "Why";
    amended_again: "Läst på nytt: {removed} rader ersatta av {added}, {mended} poster ur karantän, {quarantined} till karantän", "Read again: {removed} rows replaced by {added}, {mended} records out of quarantine, {quarantined} into it";
    amended_explain: "{explained} förklarade", "{explained} explained";
    amended_retained: "Gallrat: {removed} rader och {items} poster i karantän och luckor, vars tid var över", "Removed: {removed} rows, and {items} items of quarantine and gaps, whose time was over";
    amended_returned: "{mended} luckor fyllda: det som saknades kom", "{mended} gaps filled: what was missing came";
    coverage_title: "Finns det som lagen frågar efter?", "Is what the law asks for there?";
    coverage_lead: "Andel av åtkomsterna de senaste {days} dagarna med ett användbart värde från loggposten själv, för varje uppgift som {act} frågar efter.", "The share of accesses in the last {days} days with a usable value from the log record itself, for each field that {act} asks for.";
    coverage_none: "Inga åtkomster de senaste dagarna.", "No accesses in the last days.";
    coverage_note: "Ett värde från inställningarna, ett värde som är detsamma hela dagen och ett id som ingen har räknas inte som att uppgiften finns.", "A value from the configuration, a value that is the same all day, and an id that nobody has do not count as being there.";
    coverage_field: "Uppgift", "Field";
    coverage_there: "Finns", "There";
    coverage_instead: "I stället", "Instead";
    coverage_days: "Dag för dag", "Day by day";
    instead_constant: "från inställning", "from configuration";
    instead_one_value: "samma hela dagen", "the same all day";
    instead_unresolved: "okänt id", "unknown id";
    instead_doubtful: "osäker tid", "doubtful time";
    instead_missing: "saknas", "missing";
    odd_title: "Egna id, nummer och klocka", "Own ids, numbers and clock";
    odd_repeated: "{n} av {all} poster de senaste två dygnen har ett id som en annan post också har. Alla är sparade: lika rader är bevis.", "{n} of {all} records of the last two days have an id that another record has too. All are kept: identical rows are evidence.";
    odd_ahead: "{n} händelser låg mer än en minut framåt i tiden när de lästes, som mest {far}.", "{n} events lay more than a minute ahead in time when they were read, at most {far}.";
    odd_missing: "{n} nummer av källans egen räkning saknas den senaste veckan, till exempel {first} till {last}. Poster i karantän kan ha dem; annars har de aldrig kommit hit.", "{n} numbers of the source's own counting are missing in the last week, {first} to {last} for example. Records in quarantine may have them; otherwise they never came here.";
    odd_none: "Inget id upprepas bland {all} poster de senaste två dygnen, och ingen händelse ligger framåt i tiden.", "No id is repeated among {all} records of the last two days, and no event lies ahead in time.";
    reasons_title: "Varför poster ligger i karantän", "Why records are in quarantine";
    fault: "Fel", "Fault";
    records: "Poster", "Records";
    noticed: "Upptäckt", "Noticed";
    file: "Fil", "File";
    bytes: "Bytes", "Bytes";
    copies_title: "Filer med samma innehåll", "Files with the same content";
    copies_note: "Var och en står som kopia = original. Källans inställning copies avgör om de läses.", "Each stands as copy = original. The source's setting copies decides whether they are read.";

    // Runs
    runs_title: "Körningar", "Runs";
    runs_lead: "Vad som kördes, och vad som inte kunde bedömas och varför. \"Ej bedömd\" betyder inte att inget hände.", "What ran, and what could not be judged and why. \"Not evaluated\" does not mean that nothing happened.";
    no_runs: "Inga körningar än.", "No runs yet.";
    rule: "Regel", "Rule";
    result: "Resultat", "Result";
    started: "Startade", "Started";
    window: "Period", "Period";
    findings: "Fynd", "Findings";
    took: "Tid", "Took";
    everything: "Allt", "Everything";
    run_done: "Bedömd", "Evaluated";
    run_not_evaluated: "Ej bedömd", "Not evaluated";
    run_partly: "Delvis bedömd", "Partly evaluated";
    run_failed: "Misslyckades", "Failed";

    // Findings
    findings_title: "Fynd", "Findings";
    findings_lead: "Åtkomster som en regel har pekat ut. Ett fynd säger vad som sågs. Om åtkomsten var befogad avgör människor.", "Accesses that a rule has pointed out. A finding says what was seen. Whether the access was justified is for people to decide.";
    finding_caution: "Fyndet säger vad som sågs i loggen, inte att åtkomsten var obehörig. Behörig är den som deltar i vården eller av annat skäl behöver uppgifterna för sitt arbete.", "The finding says what was seen in the log, not that the access was unjustified. A look is justified for those who take part in the care, or need the information for their work for another reason.";
    level: "Nivå", "Level";
    status: "Status", "Status";
    score: "Poäng", "Score";
    score_of: "av 100 poäng", "of 100 points";
    who: "Vem", "Who";
    whose: "Vems", "Whose";
    where_from: "Varifrån", "From where";
    when: "När", "When";
    controller: "Personuppgiftsansvarig", "Controller";
    finding_id: "Fyndets id", "Finding id";
    why_title: "Varför det syns här", "Why it is here";
    timeline_title: "Vad som hände", "What happened";
    facts_title: "Vem, vems, varifrån", "Who, whose, from where";
    see_user: "Användarens åtkomster", "The user's accesses";
    see_record: "Vem mer har öppnat journalen?", "Who else looked in this record?";
    protected: "Skyddad identitet", "Protected identity";
    about_rule: "Regeln", "The rule";
    version: "version", "version";
    settles: "Sena uppgifter kan ännu förklara detta, till och med {day}.", "Late records may still explain this, until {day}.";
    decide_title: "Din bedömning", "Your judgement";
    decide_lead: "Bedömningen sparas med ditt namn och går inte att ta bort.", "The judgement is kept with your name and cannot be removed.";
    decide: "Spara bedömning", "Save judgement";
    outcome: "Utfall", "Outcome";
    comment: "Motivering", "Grounds";
    comment_help: "Vad du utgick från, och vem du frågade.", "What you went by, and whom you asked.";
    decided_notice: "Bedömningen är sparad.", "The judgement is saved.";
    decide_missing: "Välj ett utfall och skriv en motivering.", "Choose an outcome and write your grounds.";
    history_title: "Historik", "History";
    why_not_own: "Fyndet gäller dina egna åtkomster. Någon annan bedömer det.", "The finding is about your own accesses. Somebody else judges it.";
    why_not_unit: "Fyndet hör till en enhet som du inte svarar för.", "The finding belongs to a unit that you do not answer for.";
    why_not_manager: "Fyndet gäller någon som leder din enhet. En samordnare ger det till en granskare vid namn.", "The finding is about somebody who leads your unit. A coordinator gives it to a reviewer by name.";
    decide_confirmed: "Bekräftat obefogad kan inte beslutas här: det krävs två personer och ett eget ärende. Välj ”misstänkt” och gå vidare med ärendet enligt er rutin.", "“Confirmed” cannot be decided here: it takes two people and a case of its own. Choose “suspected” and go on with the case by your routine.";
    status_new: "Nytt", "New";
    status_assigned: "Tilldelat", "Assigned";
    status_asked: "Frågat", "Asked";
    status_decided: "Bedömt", "Judged";
    status_closed: "Avslutat", "Closed";
    level_informational: "Upplysning", "Informational";
    level_low: "Låg", "Low";
    level_medium: "Medel", "Medium";
    level_high: "Hög", "High";
    level_critical: "Kritisk", "Critical";
    outcome_none: "Ej bedömt", "Not judged";
    outcome_authorised: "Befogad", "Justified";
    outcome_authorised_wrong_routine: "Befogad, men fel rutin", "Justified, but by the wrong routine";
    outcome_mistaken_opening: "Öppnad av misstag", "Opened by mistake";
    outcome_cannot_tell: "Kan inte avgöras", "Cannot be told";
    outcome_suspected: "Misstänkt obefogad", "Suspected to be unjustified";
    outcome_confirmed: "Bekräftat obefogad", "Confirmed as unjustified";
    history_made: "Fyndet gjordes", "The finding was made";
    history_joined: "Nya åtkomster lades till", "New accesses joined";
    history_assigned: "Tilldelades", "Assigned";
    history_asked: "Användaren tillfrågades", "The user was asked";
    history_decided: "Bedömdes", "Judged";
    history_closed: "Avslutades", "Closed";
    history_settled: "Förklarades av uppgifter som kom sent", "Explained by records that came late";
    by_insyn: "Insyn", "Insyn";

    // Accesses
    reason_title: "Varför vill du se detta?", "Why do you want to see this?";
    reason_lead: "Ange ett skäl eller ett ärendenummer. Det loggas tillsammans med ditt namn och vems uppgifter du fick se.", "State a reason or a case number. It is logged together with your name and whose records you were shown.";
    reason_record: "Du är på väg att öppna loggen för en persons journal.", "You are about to open the log of a person's record.";
    reason_user: "Du är på väg att öppna en användares åtkomster.", "You are about to open a user's accesses.";
    reason: "Skäl", "Reason";
    reason_help: "Till exempel: patienten har begärt loggutdrag.", "For example: the patient has asked for a log extract.";
    reason_missing: "Ange ett skäl eller ett ärendenummer.", "State a reason or a case number.";
    case: "Ärende", "Case";
    show_accesses: "Visa åtkomster", "Show accesses";
    your_reason: "Ditt skäl", "Your reason";
    record_title: "Vem har öppnat journalen?", "Who looked in this record?";
    user_title: "Vad har användaren öppnat?", "What did this user open?";
    around_finding: "Visar tiden kring fyndet, {from} till {to}.", "Shows the time around the finding, {from} to {to}.";
    own_units_only: "Visar åtkomster från de enheter som du svarar för.", "Shows accesses from the units that you answer for.";
    joined_accounts: "{asked} och {used} är samma person, enligt kontotabellen.", "{asked} and {used} are the same person, by the table of accounts.";
    joined_identities: "Numren {asked} och {used} hör till samma person.", "The numbers {asked} and {used} belong to the same person.";
    summary: "Sammanfattning", "Summary";
    rows: "Åtkomster", "Accesses";
    visits: "Besök", "Visits";
    visits_one: "1 besök", "1 visit";
    visits_n: "{n} besök", "{n} visits";
    events_one: "1 åtkomst", "1 access";
    events_n: "{n} åtkomster", "{n} accesses";
    findings_one: "1 fynd", "1 finding";
    findings_n: "{n} fynd", "{n} findings";
    people_users: "Användare", "Users";
    people_subjects: "Personer", "People";
    first: "Första", "First";
    last: "Senaste", "Latest";
    from: "Från och med", "From";
    to: "Till och med", "To";
    own_too: "Även åtkomster genom Insyn", "Also accesses through Insyn";
    who_column: "Användare", "User";
    whose_column: "Person", "Person";
    people_looked: "De som öppnade", "Those who looked";
    user_days: "Dag för dag, de senaste", "Day by day, the latest";
    user_day: "Dag", "Day";
    people_opened: "Vems journaler", "Whose records";
    people_more: "De {n} med flest besök av {all}.", "The {n} with most visits of {all}.";
    visits_title: "Besök och händelser", "Visits and events";
    why: "Varför", "Why";
    why_unexplained: "Ingen känd förklaring", "No known explanation";
    why_only_by_user: "Bara det som användaren själv kan ha gjort", "Only what the user may have done themself";
    unexplained_one: "1 besök utan känd förklaring", "1 visit with no known explanation";
    unexplained_n: "{n} besök utan känd förklaring", "{n} visits with no known explanation";
    why_by_user: "egen uppgift", "the user's own";
    why_uncovered: "För vissa besök finns inget underlag för enheten eller tiden: där sägs inget om förklaring saknas.", "Of some visits there is no data for the unit or the time: there it is not said that an explanation is missing.";
    why_missing: "Det som förklarar är inte helt: {what} saknas. Det som står utan förklaring kan ha en.", "What explains is not whole: {what} is missing. What stands without an explanation may have one.";
    shown_n: "{n} åtkomster på den här sidan. Ett besök är en följd med mindre än 30 minuters uppehåll.", "{n} accesses on this page. A visit is a series with pauses of less than 30 minutes.";
    no_rows: "Inga åtkomster i loggen.", "No accesses in the log.";
    time: "Tid", "Time";
    what: "Vad", "What";
    unit: "Enhet", "Unit";
    purpose: "Ändamål", "Purpose";
    emergency: "Nödöppning", "Emergency opening";
    time_ambiguous: "Osäker tid", "Uncertain time";
    outcome_minor: "Nekad", "Refused";
    outcome_serious: "Misslyckad", "Failed";
    handle_gone: "Länken gäller inte längre. Sök på nytt.", "The link no longer holds. Search again.";
    search_empty: "Skriv ett personnummer eller ett användar-id.", "Write a personal number or a user id.";

    // Rules
    rules_title: "Regler", "Rules";
    rules_lead: "Vad som letas efter, vad det vilar på och hur det kan slå fel.", "What is looked for, what it rests on, and how it errs.";
    maturity: "Mognad", "Maturity";
    needs: "Behöver", "Needs";
    needs_nothing: "Bara loggen", "Only the log";
    params: "Inställningar", "Parameters";
    sql_title: "Frågan i SQL", "The query in SQL";
    rule_findings: "Regelns fynd", "The rule's findings";
    rule_schedule: "När den körs av sig själv", "When it runs by itself";
    shadow_title: "Vad den skulle ha funnit", "What it would have found";
    shadow_lead: "Regeln körs i skuggan: den räknas, men inget den finner når någon.", "The rule runs in the shadow: it is counted, and nothing that it finds reaches anybody.";
    shadow_none: "Inget ännu.", "Nothing yet.";
    shadow_week: "Vecka från", "Week from";
    shadow_findings: "Fynd", "Findings";
    rule_description: "Vad den letar efter", "What it looks for";
    rule_ground: "Vad den vilar på", "What it rests on";
    rule_errs: "Hur den kan slå fel", "How it errs";
    rule_runbook: "Så bedömer du", "How to judge it";
    shares_title: "Förklarade åtkomster", "Explained accesses";
    shares_month: "Per månad", "By month";
    shares_source: "Per källa, 30 dagar", "By source, 30 days";
    shares_unit: "Enheter med flest utan känd förklaring, 30 dagar", "Units with most that have no known explanation, 30 days";
    shares_note: "{unexplained} av {looks} utan känd förklaring", "{unexplained} of {looks} with no known explanation";
    visit_title: "Ett besök", "A visit";
    session_title: "En inloggning", "One time signed in";
    unit_title: "Åtkomster från en enhet", "Accesses from a unit";
    both_title: "De som har öppnat båda", "Those who looked in both";
    both_people: "De som har öppnat båda", "Those who looked in both";
    both_form_label: "Vilka har öppnat också den här personens journal?", "Who looked in this person's record too?";
    both_form_submit: "Visa vilka", "Show who";
    reason_trace: "Här visas vad som gjordes, av vilka och i vems journaler.", "This shows what was done, by whom, and in whose records.";
    reason_both: "Här visas de som har öppnat båda journalerna, och vad de gjorde i dem.", "This shows who looked in both records, and what they did in them.";
    repeats: "Upprepade id", "Repeated ids";
    repeats_many: "för många", "too many";
    trace_shown: "{n} av {all} åtkomster står på den här sidan, i tidsordning.", "{n} of {all} accesses stand on this page, in order of time.";
    visit_gap: "Paus som avslutar ett besök", "A pause that ends a visit";
    only_emergency: "Bara nödöppningar", "Only emergency openings";
    to_visit: "Bara besöket", "The visit alone";
    to_session: "Hela inloggningen", "The whole time signed in";
    downloads: "Spara alla rader", "Keep all rows";
    downloads_note: "Filen innehåller personuppgifter, och att du hämtar den loggas.", "The file holds personal data, and that you fetch it is logged.";
    form_csv: "CSV", "CSV";
    form_ndjson: "NDJSON", "NDJSON";
    form_arrow: "Arrow", "Arrow";
    form_parquet: "Parquet", "Parquet";
    context_title: "Underlag för förklaringar och regler", "Context for explanations and rules";
    context_lead: "Tabeller som säger vilka som arbetar var och vilka relationer som finns. En enhet utan underlag blir \"ej bedömd\": varken fynd eller frikänd.", "Tables that say who works where and which relations there are. A unit without them is \"not evaluated\": neither found nor cleared.";
    context_tables: "Tabellerna", "The tables";
    context_table: "Tabell", "Table";
    context_age: "Ålder", "Age";
    context_rows: "Rader", "Rows";
    context_units_n: "Enheter", "Units";
    context_needed: "Krävs av", "Needed by";
    context_not_loaded: "Inte läst", "Not loaded";
    context_none: "Inget underlag", "Nothing known";
    context_no_period: "utan tider", "without times";
    context_from: "från {from}, tills vidare", "from {from} on";
    context_faults: "Rader som säger emot sig själva eller varandra", "Rows that contradict themselves or each other";
    context_faults_lead: "De är lästa. Den som lämnar tabellerna kan rätta dem efter raderna i filen.", "They are loaded. Whoever exports the tables can mend them by the lines of the file.";
    context_end_before_start: "{columns} ligger före början: {n}", "{columns} is before the start: {n}";
    context_overlap: "samma {columns} sägs vara två saker samtidigt: {n}", "the same {columns} is said to be two things at one time: {n}";
    context_unknown_id: "{columns} finns inte i {expected}: {n}", "{columns} is not in {expected}: {n}";
    context_circle: "{columns} leder tillbaka till sig själv: {n}", "{columns} leads back to itself: {n}";
    context_not_compared: "för många för att jämföras efter {columns}: {n}", "too many to be compared by {columns}: {n}";
    context_lines: "rad {lines}", "line {lines}";
    row_one: "1 rad", "1 row";
    row_n: "{n} rader", "{n} rows";
    context_units: "Enhet för enhet", "Unit by unit";
    context_units_first: "Enhet för enhet, {n} av {all}", "Unit by unit, {n} of {all}";
    context_no_units: "Ingen tabell nämner någon enhet.", "No table names a unit.";
    rules_one: "1 regel", "1 rule";
    rules_n: "{n} regler", "{n} rules";
    evaluated_link: "Vad som kunde bedömas, regel för regel och dag för dag", "What could be judged, rule by rule and day by day";
    evaluated_title: "Vad som kunde bedömas", "What could be judged";
    evaluated_lead: "En enhet utan underlag är varken frikänd eller utpekad: där kunde reglerna inte bedöma något. Här står var, vilka dagar och varför. En senare körning ersätter vad en tidigare sade om samma dag.", "A unit without context is neither cleared nor named: there the rules could judge nothing. Here stands where, on which days, and why. A later run replaces what an earlier one said of the same day.";
    evaluated_places: "Enhet för enhet", "Unit by unit";
    evaluated_note: "Kunde bedömas: av alla bedömningar som reglerna skulle göra, en av varje regel för varje åtkomst, den andel som de kunde göra.", "Could be judged: of all judgements that the rules were to make, one of each rule on each access, the share that they could make.";
    evaluated_more: "De {n} av {all} där minst kunde bedömas.", "The {n} of {all} where least could be judged.";
    evaluated_everywhere: "Regler som inte kunde bedöma något alls står med sina skäl under Regel för regel, och inte vid varje enhet.", "Rules that could judge nothing at all stand with their reasons under Rule by rule, and not by each unit.";
    evaluated_none: "Ingen körning har bedömt de här dagarna än.", "No run has judged these days yet.";
    evaluated_day: "{day}: {n} av {all} regler", "{day}: {n} of {all} rules";
    evaluated_not_yet: "{day}: inte bedömd än", "{day}: not judged yet";
    evaluated_share: "Kunde bedömas", "Could be judged";
    evaluated_rules: "Regel för regel", "Rule by rule";
    quality_link: "Så bedöms det som reglerna hittar", "How what the rules find is judged";
    quality_title: "Hur reglerna träffar", "How the rules do";
    quality_lead: "Hur fynden de senaste {months} månaderna har bedömts, regel för regel, och vad som har mätts. Det handlar om reglerna: ingen som arbetar här jämförs med någon annan.", "How the findings of the last {months} months were judged, rule by rule, and what was measured. It is about the rules: nobody who works here is compared with anybody.";
    quality_rules: "Reglerna", "The rules";
    quality_judged: "Bedömda", "Judged";
    quality_suspected: "Misstänkta eller bekräftade", "Suspected or confirmed";
    quality_justified: "Befogade", "Justified";
    quality_other: "Felöppning eller kan inte avgöras", "Mistaken or cannot tell";
    quality_left: "Obedömda", "Not judged";
    quality_settled: "Förklarade i efterhand", "Explained later";
    quality_covered: "Täckta av beslut", "Covered by decisions";
    quality_lift: "Mot slumpen", "Over chance";
    quality_explained: "Andel med förklaring", "Share with a reason";
    quality_lift_note: "Mot slumpen: hur många gånger oftare än i en påhittad logg, där varje åtkomst gäller någon slumpvis vald, regeln pekar ut någon. Nära 1 säger den inget i sig, och om regler som bara ser till användaren eller bara till journalen säger talet inget. Andel med förklaring: hur mycket av det den pekar ut som har en förklaring som användaren inte själv kan ha skapat.", "Over chance: how many times oftener than in a made-up log, where each access is to somebody drawn at random, the rule names somebody. Near 1 it tells nothing by itself, and of rules that look at the user alone or the record alone the number says nothing. Share with a reason: how much of what it names has a reason that the user could not have made.";
    quality_measured: "Mätt {at} av {by} över {period}.", "Measured {at} by {by} over {period}.";
    quality_everything: "allt som är sparat", "all that is stored";
    quality_not_measured: "Inget är mätt än: insyn rules lift mäter.", "Nothing is measured yet: insyn rules lift does.";
    record_judged_title: "Hur fynden har bedömts, månad för månad", "How its findings were judged, month by month";
    record_measured_title: "Vad som har mätts", "What was measured";
    measured_at: "Mätt", "Measured";
    explaining_title: "Förklaringarna", "The explanations";
    explaining_summary: "{explained} av åtkomsterna har en förklaring som användaren inte själv kan ha skapat, {by_user} bara en som hen kan ha skapat. I en påhittad logg hade {by_chance} en förklaring.", "{explained} of the accesses have a reason that the user could not have made, {by_user} only one that they could have. In a made-up log {by_chance} would have a reason.";
    explaining_note: "Andelar av alla åtkomster. Träffsäkerhet: av det som förklaringen förklarar i den riktiga och den påhittade loggen, andelen i den riktiga; 50 % är inte bättre än slumpen.", "Shares of all accesses. Precision: of what the explanation explains in the real and the made-up log, the part in the real one; 50% is no better than chance.";
    explaining_not_measured: "Inget är mätt än: insyn rules explanations mäter.", "Nothing is measured yet: insyn rules explanations does.";
    explanation: "Förklaring", "Explanation";
    explains: "Förklarar", "Explains";
    explains_person: "Personen", "The person";
    explains_unit: "Enheten", "The unit";
    explains_provider: "Vårdgivaren", "The provider";
    explaining_support: "Stöd", "Support";
    explaining_alone: "Ensam om det", "It alone";
    explaining_by_user: "Kan vara skapad av användaren", "Could be the user's own";
    explaining_chance: "I påhittad logg", "In the made-up log";
    explaining_precision: "Träffsäkerhet", "Precision";
    yes: "ja", "yes";
    no: "nej", "no";
    in_days: "dygn", "days";
    in_hours: "timmar", "hours";
    in_minutes: "minuter", "minutes";
    time_unit: "Enhet för tiden", "Unit of time";
    trial_form_title: "Prova en annan inställning", "Try another setting";
    trial_form_lead: "Räknar vad regeln skulle ha hittat under en period, bredvid dagens inställning. Bara antal: ingen flaggas, och inget sparas bland fynden.", "Counts what the rule would have found in a period, beside today's setting. Numbers only: nobody is flagged, and nothing is kept among the findings.";
    trial_bounds: "{name}: från {min} till {max}; från början {default}", "{name}: from {min} to {max}; {default} to begin with";
    trial_default: "{name}: från början {default}", "{name}: {default} to begin with";
    trial_list: "{name}: skilj åt med komma; från början {default}", "{name}: part by commas; {default} to begin with";
    trial_bad_value: "{name}: värdet går inte att använda. {bounds}", "{name}: the value cannot be used. {bounds}";
    trial_bad_period: "Perioden går inte att använda: den ska sluta efter att den börjar.", "The period cannot be used: it has to end after it begins.";
    trial_too_many: "Flera provräkningar väntar redan på sin tur. Försök igen om en stund.", "Several trials wait for their turn already. Try again in a while.";
    trial_start: "Räkna", "Count";
    trials_title: "Provräkningar det senaste dygnet", "Trials of the last day";
    trial_title: "Provräkning: {rule}", "Trial: {rule}";
    trial_lead: "Vad regeln skulle ha hittat, räknat på loggen som den är nu. Bara antal: ingen är flaggad, och inget är sparat bland fynden.", "What the rule would have found, counted over the log as it is now. Numbers only: nobody is flagged, and nothing is kept among the findings.";
    trial_asked: "{by}, {at}", "{by}, {at}";
    trial_waiting: "Väntar på sin tur", "Waiting for its turn";
    trial_running: "Räknar", "Counting";
    trial_done: "Klar", "Done";
    trial_failed: "Avbruten", "Stopped";
    trial_running_lead: "En provräkning görs i taget. Sidan hämtar sig själv; det går bra att lämna den och komma tillbaka.", "One trial is judged at a time. The page renews itself; you may leave it and come back.";
    trial_failed_why: "Provräkningen kom inte till ett slut: {why}", "The trial came to no end: {why}";
    trial_partly: "Allt kunde inte bedömas: {why}", "Not all could be judged: {why}";
    trial_changes: "Vad som provas", "What is tried";
    trial_same: "Inget är ändrat: det här är dagens inställning.", "Nothing is changed: this is today's setting.";
    trial_same_short: "dagens inställning", "today's setting";
    trial_today: "I dag", "Today";
    trial_tried: "Provad", "Tried";
    trial_found_today: "fynd med dagens inställning", "findings by today's setting";
    trial_found_tried: "fynd med den som provas", "findings by the one that is tried";
    trial_a_week: "{n} i veckan", "{n} a week";
    trial_only_tried: "tillkommer", "are new";
    trial_only_tried_note: "bara den som provas hittar dem", "only the one that is tried finds them";
    trial_only_today: "försvinner", "are gone";
    trial_only_today_note: "bara dagens hittar dem", "only today's finds them";
    trial_by_level: "Per nivå", "By level";
    trial_by_week: "Per vecka", "By week";
    trial_week: "Vecka från", "Week from";
    trial_by_unit: "Per enhet", "By unit";
    trial_by_unit_first: "Per enhet, de {n} med flest", "By unit, the {n} with most";
    trial_nothing: "Ingen av inställningarna hittar något i perioden.", "Neither setting finds anything in the period.";
    trial_adopt_title: "Börja använda inställningen", "Take the setting into use";
    trial_adopt_lead: "Samordnaren bestämmer inställningar inom det som den personuppgiftsansvariga har beslutat. Den som sköter driften lägger filen i mappen för egna regler ([rules] dir), och den gäller när insyn serve har startats om.", "The coordinator chooses settings within what the controller has decided. Those who run the system put the file into the folder of own rules ([rules] dir), and it holds once insyn serve has been started anew.";
    status_experimental: "På prov", "Experimental";
    status_stable: "Stabil", "Stable";
    status_shadow: "I skuggan", "In the shadow";
    status_deprecated: "Utgående", "Deprecated";

    // Roles
    role_dso: "Dataskyddsombud", "Data protection officer";
    role_coordinator: "Samordnare", "Coordinator";
    role_reviewer: "Granskare", "Reviewer";
    role_investigator: "Utredare", "Investigator";
    role_auditor: "Revisor", "Auditor";
    role_operator: "Drift", "Operator";
    role_service: "Program", "Program";

    // Lengths of time and sizes
    seconds: "{n} s", "{n} s";
    minutes: "{n} min", "{n} min";
    hours: "{n} tim", "{n} h";
    days: "{n} dygn", "{n} days";
    none_behind: "–", "–";

    // Faults, as a page says them
    error_bad_request: "Det gick inte att förstå", "That could not be understood";
    error_unauthenticated: "Logga in först", "Sign in first";
    error_forbidden: "Det får du inte se", "You may not see this";
    error_not_found: "Finns inte", "Not found";
    error_method: "Så går det inte att göra", "That cannot be done";
    error_too_large: "För mycket på en gång", "Too much at once";
    error_conflict: "Det har ändrats under tiden", "It has changed meanwhile";
    error_internal: "Något gick fel", "Something went wrong";
    error_unavailable: "Går inte just nu", "Not possible just now";
    detail_forbidden: "Din roll ger inte tillgång till den här sidan.", "Your role does not give access to this page.";
    detail_not_found: "Sidan eller uppgiften finns inte, eller så får du inte se den.", "The page or the item does not exist, or you may not see it.";
    detail_csrf: "Formuläret var för gammalt eller kom från en annan webbplats. Ladda om sidan och försök igen.", "The form was too old or came from another site. Reload the page and try again.";
    detail_internal: "Felet är loggat. Försök igen, och säg till den som sköter driften om det händer igen.", "The fault has been logged. Try again, and tell those who run the system if it happens again.";
    detail_own_log: "Åtkomsten kunde inte loggas, och därför visas ingenting.", "The look could not be logged, and therefore nothing is shown.";
}

/// Puts `values` in the places that a text names in braces.
pub(crate) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn both_languages_have_every_text_with_the_same_places_in_it() {
        let places = |text: &str| -> BTreeSet<String> {
            text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).map(str::to_owned).collect()
        };
        for (key, sv, en) in ALL {
            assert!(!sv.trim().is_empty() && !en.trim().is_empty(), "{key} lacks a language");
            assert_eq!(places(sv), places(en), "{key}");
        }
        let differing = ALL.iter().filter(|(_, sv, en)| sv != en).count();
        assert!(differing * 10 > ALL.len() * 8, "only {differing} of {} texts are translated", ALL.len());
    }

    #[test]
    fn nothing_calls_an_access_unlawful() {
        for (key, sv, en) in ALL {
            for word in ["olaglig", "dataintrång", "brott", "unlawful", "illegal", "breach", "crime"] {
                assert!(
                    !sv.to_lowercase().contains(word) && !en.to_lowercase().contains(word),
                    "{key}: {word}"
                );
            }
        }
    }

    #[test]
    fn places_are_filled() {
        assert_eq!(fill("{n} av {all}", &[("n", "3"), ("all", "9")]), "3 av 9");
    }
}
