-- table:   plan of a repair
-- grain:   one row of the null partition; with --implausible also one whose date can't be right
-- purpose: the event time that each row without a usable one is to get, and where it was found.
-- reads:   the table of events
-- columns:
--   place               the row's position, or its file and number, for people
--   event_time          repaired event time, UTC; null where no time is usable, or the row is held
--   event_date          its date
--   event_date_source   event_time: the column of that role; payload: read from a field of the raw event; broker: the
--                       broker's time
--   found_in            the field and how it was read, for people: `event_ts in milliseconds`
--   why_not             why there is none: `held` (its repair was undone), `no usable time`
--   event_time_before, event_date_before   what the row has now
--   raw                 the event as it was sent
--   _file, _row         where the row is
--
-- Names between $ stand for columns of the table, and null where it has none; $times$ for one expression for each source
-- of the rules, $after$ and $ahead$ for their margins. At most one unit of a number can be plausible, since the units are
-- a factor of 1000 apart.
with columns as (
    select
        $place$ as place,
        $event_time$ as event_time_before,
        $event_date$ as event_date_before,
        $raw$ as raw,
        cast($event_time$ as varchar) as own_text,
        cast($sent$ as varchar) as sent_text,
        $broker_time$ as broker_timestamp,
        $ingest_time$ as ingest_timestamp,
        coalesce($broker_time$, $ingest_time$, $now$) + $ahead$ as latest,
        $repair_id$ as repair_id,
        _file, _row
    from events
),

unusable as (
    select
        *,
        case when json_valid(raw) then raw end as document,
        coalesce(starts_with(repair_id, 'held:'), false) as is_held
    from columns
    where event_date_before is null or $is_implausible$
),

read as (
    select *, case when not is_held then coalesce($times$) end as found
    from unusable
)

select
    place,
    found.at as event_time,
    cast(found.at as date) as event_date,
    found.source as event_date_source,
    found.found_in as found_in,
    case when is_held then 'held' when found is null then 'no usable time' end as why_not,
    event_time_before, event_date_before,
    raw, _file, _row
from read
