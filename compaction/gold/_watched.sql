-- source:  watched
-- grain:   one event of silver, repeats left out, of a session with events on a wanted date; up to 7 days around it
-- purpose: how long was watched from each event on; what playback and session_facts are summed from.
-- reads:   silver -7d..7d linked by session_id, repeats -7d..7d linked by session_id
-- columns:
--   event_date, event_timestamp, session_id, title_id, device_type, country, region, event_type, duration_s   as silver's
--   viewer              text that is the same for the same user_id and profile_id, and for no others
--   date_before         date of the session's event before, null for the first one
--   next_date           date of its next one, null for the last one
--   state_date          date of its last event up to here that isn't SEEK
--   watch_us            microseconds watched, see below
--
-- Watch time is the sum, within a session, of the time from each event while playing to the next one, at most twice the
-- heartbeat interval; it goes to the date, hour, title and device of the event that starts the gap, also over midnight.
-- Playing: after PLAY_START, RESUME and HEARTBEAT; after SEEK if the event before was; not after PAUSE and PLAY_STOP. The
-- last event of a session starts no gap. Events are ordered by event_timestamp, then by position.
-- A session's events are looked for up to 7 days around a date, which is what a date depends on: a stray event of a clock
-- that is days off starts a gap like any other.
-- Times are taken as microseconds: DuckDB's calendar, which knows time zones, takes ninety times as long for a difference.
with wanted_sessions as (
    select distinct session_id from silver where event_date in (select event_date from wanted)
),

of_sessions as materialized (
    select
        event_date, event_timestamp, session_id, concat(length(user_id), ':', user_id, profile_id) as viewer, title_id,
        device_type, country, region, event_type, duration_s, topic, topic_id, kafka_partition, kafka_offset
    from silver
    where event_date is not null and session_id in (select session_id from wanted_sessions)
),

events as (
    select *
    from of_sessions
    where
        not exists (
            select 1
            from repeats
            where
                repeats.kafka_offset = of_sessions.kafka_offset
                and repeats.kafka_partition = of_sessions.kafka_partition
                and repeats.topic_id = of_sessions.topic_id
                and repeats.topic = of_sessions.topic
        )
),

followed as (
    select
        event_date, event_timestamp, session_id, viewer, title_id, device_type, country, region, event_type, duration_s,
        lag(event_date) over session_order as date_before,
        lead(event_timestamp) over session_order as next_timestamp,
        lead(event_date) over session_order as next_date,
        last_value(case when event_type <> 'SEEK' then event_type end ignore nulls) over session_order as state,
        last_value(case when event_type <> 'SEEK' then event_date end ignore nulls) over session_order as state_date
    from events
    window session_order as (
        partition by session_id
        order by event_timestamp, kafka_offset, kafka_partition, topic, topic_id
    )
)

select
    event_date, event_timestamp, session_id, viewer, title_id, device_type, country, region, event_type, duration_s,
    date_before, next_date, state_date,
    case
        when
            state in ('PLAY_START', 'RESUME', 'HEARTBEAT')
            and date_diff('day', state_date, event_date) <= 7
            and date_diff('day', event_date, next_date) <= 7
            then least(epoch_us(next_timestamp) - epoch_us(event_timestamp), watch_gap_cap_us)
        else 0
    end as watch_us
from followed
cross join constants
