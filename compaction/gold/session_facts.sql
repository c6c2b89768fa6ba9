-- table:   session_facts
-- grain:   session, on the date of its first event
-- purpose: one row a session: when it began, how long was watched, on what, and how often it was interrupted. A session
--          begins where it had no event for 7 days, and reaches 7 days.
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
with wanted_sessions as (
    select distinct session_id from silver where event_date in (select event_date from wanted)
),

events as (
    select
        *,
        lag(event_date) over session_order as date_before
    from silver
    where
        event_date is not null
        and session_id in (select session_id from wanted_sessions)
        and not exists (
            select 1
            from repeats
            where
                repeats.kafka_offset = silver.kafka_offset
                and repeats.kafka_partition = silver.kafka_partition
                and repeats.topic_id = silver.topic_id
                and repeats.topic = silver.topic
        )
    window session_order as (
        partition by session_id
        order by event_timestamp, kafka_offset, kafka_partition, topic, topic_id
    )
),

begun as (
    select
        *,
        max(case when date_before is null or date_diff('day', date_before, event_date) > 7 then event_date end)
            over (
                partition by session_id
                order by event_timestamp, kafka_offset, kafka_partition, topic, topic_id
            ) as begin_date
    from events
),

followed as (
    select
        *,
        lead(event_timestamp) over session_order as next_timestamp,
        last_value(case when event_type <> 'SEEK' then event_type end ignore nulls) over session_order as state,
        row_number() over session_order as place
    from begun
    where date_diff('day', begin_date, event_date) <= 7 and begin_date in (select event_date from wanted)
    window session_order as (
        partition by session_id, begin_date
        order by event_timestamp, kafka_offset, kafka_partition, topic, topic_id
    )
),

watched as (
    select
        *,
        case
            when state in ('PLAY_START', 'RESUME', 'HEARTBEAT') and next_timestamp is not null
                then least(date_diff('microsecond', event_timestamp, next_timestamp), watch_gap_cap_us)
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
