-- table:   session_facts
-- grain:   session, on the date of its first event
-- purpose: one row a session: when it began, how long was watched, on what, and how often it was interrupted. A session
--          begins on a date where it had no event on the 7 dates before, and reaches 7 dates on.
-- partition: event_date
-- reads:   silver -7d..7d linked by session_id, repeats -7d..7d linked by session_id
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
--   watch_seconds  double      seconds watched, by the rules of the source playback
--   completion     double      watch_seconds ÷ duration of the title; null with several titles and for series
with session_dates as (
    select session_id, event_date, lag(event_date) over (partition by session_id order by event_date) as date_before
    from (
        select distinct session_id, event_date
        from silver
        where session_id in (select session_id from silver where event_date in (select event_date from wanted))
    ) as dates
    where event_date is not null
),

begun as (
    select session_id, event_date as begin_date
    from session_dates
    where
        event_date in (select event_date from wanted)
        and (date_before is null or date_diff('day', date_before, event_date) > 7)
),

followed as (
    select
        begun.session_id, begun.begin_date, silver.event_timestamp, silver.event_type, silver.title_id,
        silver.device_type, silver.country, silver.duration_s,
        lead(silver.event_timestamp) over session_order as next_timestamp,
        last_value(case when silver.event_type <> 'SEEK' then silver.event_type end ignore nulls)
            over session_order as state,
        row_number() over session_order as place
    from silver
    inner join begun
        on silver.session_id = begun.session_id and date_diff('day', begun.begin_date, silver.event_date) between 0 and 7
    where
        not exists (
            select 1
            from repeats
            where
                repeats.kafka_offset = silver.kafka_offset
                and repeats.kafka_partition = silver.kafka_partition
                and repeats.topic_id = silver.topic_id
                and repeats.topic = silver.topic
        )
    window session_order as (
        partition by begun.session_id, begun.begin_date
        order by
            silver.event_timestamp, silver.kafka_offset, silver.kafka_partition, silver.topic, silver.topic_id
    )
),

watched as (
    select
        *,
        case
            when state in ('PLAY_START', 'RESUME', 'HEARTBEAT') and next_timestamp is not null
                then least(epoch_us(next_timestamp) - epoch_us(event_timestamp), watch_gap_cap_us)
            else 0
        end as watch_us
    from followed
    cross join constants
)

select
    begin_date as event_date,
    session_id,
    min(event_timestamp) as started_at,
    max(event_timestamp) as ended_at,
    max(case when place = 1 then title_id end) as title_id,
    count(distinct title_id) as titles,
    max(case when place = 1 then device_type end) as device_type,
    max(case when place = 1 then country end) as country,
    count(*) as events,
    count(*) filter (where event_type = 'PLAY_START') as plays,
    count(*) filter (where event_type = 'PAUSE') as pauses,
    count(*) filter (where event_type = 'SEEK') as seeks,
    coalesce(sum(watch_us), 0) / 1000000.0 as watch_seconds,
    case when count(distinct title_id) = 1
        then cast(sum(watch_us) as double) / nullif(cast(round(max(duration_s) * 1000000) as bigint), 0)
    end as completion
from watched
group by begin_date, session_id
