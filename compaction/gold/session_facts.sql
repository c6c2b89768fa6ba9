-- table:   session_facts
-- grain:   session, on the date of its first event
-- purpose: one row a session: when it began, how long was watched, on what, and how often it was interrupted. A session
--          begins on a date where it had no event on the 7 dates before, and reaches 7 dates on.
-- partition: event_date
-- reads:   watched 0d..0d
-- columns:
--   event_date     date        date of the first event (UTC)
--   session_id     text        the session
--   started_at     timestamptz first event
--   ended_at       timestamptz last event
--   title_id       text        title of the first event
--   titles         bigint      distinct titles
--   device_type    text        of the first event; null: none was sent
--   country        text        of the first event; null: none was sent
--   events         bigint      events of any type
--   plays          bigint      PLAY_START events
--   pauses         bigint      PAUSE events
--   seeks          bigint      SEEK events
--   watch_seconds  double      seconds watched, by the rules of the source watched
--   completion     double      watch_seconds ÷ duration of the title; null with several titles and for series
with begun as (
    select session_id, event_date as begin_date
    from watched
    where
        event_date in (select event_date from wanted)
        and (date_before is null or date_diff('day', date_before, event_date) > 7)
),

of_session as (
    select
        begun.begin_date, watched.session_id, event_timestamp, event_type, title_id, device_type, country, duration_s,
        date_before is null or date_before < begin_date as is_first,
        case
            when state_date >= begin_date and date_diff('day', begin_date, next_date) <= 7 then watch_us
            else 0
        end as watch_us
    from watched
    inner join begun
        on watched.session_id = begun.session_id and date_diff('day', begun.begin_date, event_date) between 0 and 7
)

select
    begin_date as event_date,
    session_id,
    min(event_timestamp) as started_at,
    max(event_timestamp) as ended_at,
    max(case when is_first then title_id end) as title_id,
    count(distinct title_id) as titles,
    max(case when is_first then device_type end) as device_type,
    max(case when is_first then country end) as country,
    count(*) as events,
    count(*) filter (where event_type = 'PLAY_START') as plays,
    count(*) filter (where event_type = 'PAUSE') as pauses,
    count(*) filter (where event_type = 'SEEK') as seeks,
    coalesce(sum(watch_us), 0) / 1000000.0 as watch_seconds,
    case when count(distinct title_id) = 1
        then cast(sum(watch_us) as double) / nullif(cast(round(max(duration_s) * 1000000) as bigint), 0)
    end as completion
from of_session
group by begin_date, session_id
