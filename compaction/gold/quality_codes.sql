-- table:   quality_codes
-- grain:   date × code × outcome
-- purpose: what was wrong, code by code: warnings of rows that were kept, by event date, and reasons of records that were
--          refused, by the date on which they came in. Codes of rules begin with `rule:`.
-- partition: event_date
-- reads:   silver 0d..0d, quarantine 0d..0d
-- columns:
--   event_date     date    the date (UTC)
--   code           text    warning or reason, such as unknown_title or rule:client_clock_ahead
--   outcome        text    warned: the row is in silver; quarantined: the record was refused
--   rows           bigint  rows with the code; a row may have several codes
--   share          double  of silver's rows of the date, or of the records refused on it
with warned as (
    select event_date, unnest(warnings) as code from silver where event_date is not null
),

kept as (
    select event_date, count(*) as all_rows from silver where event_date is not null group by event_date
),

refused as (
    select ingest_date as event_date, unnest(reasons) as code from quarantine
),

all_refused as (
    select ingest_date as event_date, count(*) as all_rows from quarantine group by ingest_date
)

select
    warned.event_date, warned.code, 'warned' as outcome, count(*) as rows,
    cast(count(*) as double) / max(kept.all_rows) as share
from warned
inner join kept on warned.event_date = kept.event_date
group by warned.event_date, warned.code
union all
select
    refused.event_date, refused.code, 'quarantined' as outcome, count(*) as rows,
    cast(count(*) as double) / max(all_refused.all_rows) as share
from refused
inner join all_refused on refused.event_date = all_refused.event_date
group by refused.event_date, refused.code
